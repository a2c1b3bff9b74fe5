"""A detector is data: groups of layers made of slices, what they answer to showers, and how they are read out."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from calomlp.simulation.matter import Medium, Plate, effective_medium
from calomlp.units import Quantity

ELECTROMAGNETIC = ("e-", "e+", "gamma")
MUONS = ("mu-", "mu+")
HADRONS = ("pi-", "pi+", "p")
"""Legal where every group of layers declares e/h and c_had."""

SILICON_LANDAU = 0.9
"""Relative width of the loss in one crossing of 300-500 um of silicon, which adds to the sampling term."""


@dataclass(frozen=True)
class Response:
    """Response of one group of layers to showers and single particles.

    Args:
        c_em: Sampling fluctuation of electromagnetic deposits, sigma/E = c_em/sqrt(E/GeV): a measured number, or the
            name of a formula in :data:`SAMPLING_FORMULAS` that derives it from the slices.
        c_em_absorber: Depth of the absorber plate [X0] for which ``c_em`` and ``c_had`` were measured; they are scaled
            by the square root of the depth of the actual plate. None: they hold as they stand.
        c_had: The same fluctuation of other deposits; None where hadrons are not simulated.
        e_over_h: Ratio of the responses to electromagnetic and to other energy; None where hadrons are not simulated.
        mip_peak: Most probable over mean signal of a minimum ionising particle in the active slices of one layer.
        kappa: Quantum of the fluctuating energy sharing between the layers of a homogeneous medium [GeV].
    """

    c_em: float | str = "del-peso-ros"
    c_em_absorber: float | None = None
    c_had: float | None = None
    e_over_h: float | None = None
    mip_peak: float = 0.8
    kappa: float = 0.0


@dataclass(frozen=True)
class Readout:
    """Effects of the readout, in this order; a MIP is its most probable signal in a layer.

    Args:
        calibration_smear: Spread of the cells' calibration constants, which belong to the detector, not to a run.
        non_uniformity: Spread of the response from event to event, common to all cells.
        photo_electrons: Mean number per GeV or per MIP; None: no photo-statistics.
        excess_noise: Factor of the variance of the photo-electrons.
        saturation: Pixels of a silicon photomultiplier (needs ``photo_electrons``), or the largest signal, in MIP or
            GeV, that a cell can hold; None: no limit.
        saturation_error: Relative error of the number of pixels that the correction for saturation assumes.
        noise: Of one cell, in MIP or GeV.
        coherent_noise: Noise of one cell that all cells of a layer share, in MIP or GeV.
        threshold: Cells below it are not read out, in MIP or GeV; None: every cell is.
        dead_cells: Share of the cells that never answer, the same ones in all runs.
        summed_cells: Number of cells whose noise enters the energy of a layer where cells are not simulated.
    """

    calibration_smear: float = 0.0
    non_uniformity: float = 0.0
    photo_electrons: Quantity | None = None
    excess_noise: float = 1.0
    saturation: Quantity | None = None
    saturation_error: float = 0.0
    noise: Quantity | None = None
    coherent_noise: Quantity | None = None
    threshold: Quantity | None = None
    dead_cells: float = 0.0
    summed_cells: int = 1


@dataclass(frozen=True)
class LayerGroup:
    """Identical layers, one behind the other.

    Args:
        name: For tables, messages and paths of settings.
        slices: The plates of one layer, in the order of the beam.
        repeat: Number of layers.
        response: To showers.
        readout: Of the cells.
        layers_per_readout: This many neighbouring layers share one readout channel in depth.
        cells: Cells along x and along y, centred on the beam; None: the layers are infinitely wide and have no cells.
        cell_size: Side of the square cells [cm].
    """

    name: str
    slices: tuple[Plate, ...]
    repeat: int
    response: Response
    readout: Readout
    layers_per_readout: int = 1
    cells: int | None = None
    cell_size: float = math.inf

    @property
    def medium(self) -> Medium:
        """Average over one layer."""
        return effective_medium(self.slices)

    @property
    def n_readouts(self) -> int:
        """Number of readout layers."""
        return self.repeat // self.layers_per_readout

    @property
    def homogeneous(self) -> bool:
        """Whether everything is active."""
        return all(piece.active for piece in self.slices)

    @property
    def absorber(self) -> Plate | None:
        """The passive slice with the largest mass, None in a homogeneous section."""
        return max((piece for piece in self.slices if not piece.active), key=lambda piece: piece.mass, default=None)

    @property
    def half_width(self) -> float:
        """Distance from the beam to the sides of the layers [cm]."""
        return math.inf if self.cells is None else 0.5 * self.cells * self.cell_size

    @property
    def sampling_frequency(self) -> float:
        """Fs, the number of layers per radiation length; infinite in a homogeneous section."""
        return math.inf if self.homogeneous else self.medium.radiation_length / self.medium.thickness

    @property
    def e_over_mip(self) -> float:
        """e/mip = 1/(1 + 0.007 (Z_passive - Z_active)) (Grindhammer & Peters, hep-ex/0001020).

        Z_passive is that of the absorber: thin boards and supports do not change the transition effect.
        """
        if self.absorber is None:
            return 1.0
        z_active = effective_medium([piece for piece in self.slices if piece.active]).Z
        return 1.0 / (1.0 + 0.007 * (self.absorber.material.Z - z_active))

    @property
    def mip_sampling_fraction(self) -> float:
        """Share of a minimum ionising particle's loss that is deposited in active slices."""
        return sum(piece.mip_loss for piece in self.slices if piece.active) / self.medium.mip_loss

    @property
    def mip_signal(self) -> float:
        """Mean signal of a minimum ionising particle in one readout layer, on the electron scale [GeV]."""
        return self.layers_per_readout * self.medium.mip_loss / self.e_over_mip

    @property
    def mip_spread(self) -> float:
        """Relative distance of the most probable signal below the mean one; smaller where a readout sums layers."""
        return (1.0 - self.response.mip_peak) / math.sqrt(self.layers_per_readout)

    @property
    def mip(self) -> float:
        """One MIP: the most probable signal of such a particle in one readout layer [GeV]."""
        return (1.0 - self.mip_spread) * self.mip_signal

    @property
    def c_em(self) -> float:
        """Electromagnetic sampling constant of these layers [sqrt(GeV)]."""
        if isinstance(self.response.c_em, str):
            return 0.0 if self.homogeneous else SAMPLING_FORMULAS[self.response.c_em](self)
        return self.response.c_em * self._absorber_scale

    @property
    def c_had(self) -> float:
        """Sampling constant of deposits that are not electromagnetic [sqrt(GeV)]; 0 where hadrons are not simulated."""
        return (self.response.c_had or 0.0) * self._absorber_scale

    @property
    def _absorber_scale(self) -> float:
        # The variance of a sampled deposit grows like the thickness of the absorber between two active layers
        # (Del Peso & Ros, NIM A276 (1989) 456), so thick plates fluctuate more.
        if self.absorber is None or self.response.c_em_absorber is None:
            return 1.0
        return math.sqrt(self.absorber.depth / self.response.c_em_absorber)

    def energy(self, quantity: Quantity | None) -> float:
        """Convert an energy or a number of MIP to GeV on the electron scale; None is 0."""
        if quantity is None:
            return 0.0
        return quantity.value * (self.mip if quantity.unit == "MIP" else 1.0)

    @property
    def photo_electrons_per_gev(self) -> float:
        """Photo-electrons per GeV on the electron scale; infinite without photo-statistics."""
        quantity = self.readout.photo_electrons
        if quantity is None:
            return math.inf
        return quantity.value / (self.mip if quantity.unit == "/MIP" else 1.0)

    def constants(self) -> dict[str, Any]:
        """Return what follows from the slices, for tables and provenance; depths are per layer."""
        medium = self.medium
        return {
            "name": self.name,
            "n_readouts": self.n_readouts,
            **_constants(medium),
            "depth_per_layer_x0": medium.depth_in_radiation_lengths,
            "depth_per_layer_lambda": medium.depth_in_interaction_lengths,
            "sampling_frequency": None if self.homogeneous else self.sampling_frequency,
            "e_over_mip": self.e_over_mip,
            "mip_sampling_fraction": self.mip_sampling_fraction,
            "mip_loss_per_layer_gev": medium.mip_loss,
            "mip_gev": self.mip,
            "c_em": self.c_em,
            "c_had": self.c_had or None,
            "noise_gev": self.energy(self.readout.noise),
            "threshold_gev": self.energy(self.readout.threshold),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the table of these layers in a TOML file, defaults spelled out; JSON-serialisable."""
        cells = {} if self.cells is None else {"cells": self.cells, "cell_size": str(Quantity(self.cell_size, "cm"))}
        slices = {
            piece.name: {
                "material": piece.material.name,
                "thickness": str(Quantity(piece.thickness, "cm")),
                "active": piece.active,
            }
            for piece in self.slices
        }
        return {
            "name": self.name,
            "repeat": self.repeat,
            "layers_per_readout": self.layers_per_readout,
            **cells,
            **slices,
            "response": _as_table(self.response),
            "readout": _as_table(self.readout),
        }


@dataclass(frozen=True)
class Detector:
    """A calorimeter, seen along the beam."""

    name: str  # short name
    description: str  # one line
    sections: tuple[LayerGroup, ...]  # groups of layers in the order of the beam
    calibration_seed: int = 1  # seed of what is fixed for the detector: calibration constants and dead cells
    dead_layers: tuple[int, ...] = ()  # readout layers that never answer, counted from 0

    @property
    def n_layers(self) -> int:
        """Number of readout layers."""
        return sum(section.n_readouts for section in self.sections)

    @property
    def medium(self) -> Medium:
        """Average over the whole depth."""
        return effective_medium([piece for section in self.sections for piece in section.slices * section.repeat])

    @property
    def particles(self) -> tuple[str, ...]:
        """Particles that can be simulated."""
        hadrons = all(section.response.e_over_h and section.response.c_had for section in self.sections)
        return ELECTROMAGNETIC + MUONS + (HADRONS if hadrons else ())

    def constants(self) -> dict[str, Any]:
        """Return what follows from the description, JSON-serialisable: effective media, depths, sampling."""
        medium = self.medium
        return {
            "n_layers": self.n_layers,
            **_constants(medium),
            "depth_cm": medium.thickness,
            "depth_x0": medium.depth_in_radiation_lengths,
            "depth_lambda": medium.depth_in_interaction_lengths,
            "sections": [section.constants() for section in self.sections],
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the detector's TOML file, defaults spelled out; JSON-serialisable."""
        return {
            "name": self.name,
            "description": self.description,
            "calibration_seed": self.calibration_seed,
            "dead_layers": list(self.dead_layers),
            "layers": [section.as_dict() for section in self.sections],
        }


def del_peso_ros(section: LayerGroup) -> float:
    """Sampling constant a = 5 % (1 - f) d^((1 - f)/2), d the MIP loss per layer in MeV, f its share in active slices.

    Del Peso & Ros, NIM A276 (1989) 456, as quoted by Fabjan & Gianotti, RMP 75 (2003) 1243. It is the pure sampling
    part, good to 30 %. Silicon adds the width of the Landau distribution in each crossing.
    """
    f = section.mip_sampling_fraction
    a = 0.05 * (1.0 - f) * math.pow(1e3 * section.medium.mip_loss, 0.5 * (1.0 - f))
    silicon = all(piece.material.name == "Si" for piece in section.slices if piece.active)
    return a * math.sqrt(1.0 + SILICON_LANDAU**2) if silicon else a


def wigmans(section: LayerGroup) -> float:
    """Sampling constant a = 2.7 % sqrt(s/f), s the active thickness of a layer in mm, f the MIP sampling fraction.

    Livan & Wigmans; it absorbs typical effects of scintillators, good to 30 %.
    """
    active = 10.0 * sum(piece.thickness for piece in section.slices if piece.active)  # mm
    return 0.027 * math.sqrt(active / section.mip_sampling_fraction)


SAMPLING_FORMULAS = {"del-peso-ros": del_peso_ros, "wigmans": wigmans}


def _constants(medium: Medium) -> dict[str, float]:
    return {
        "radiation_length_cm": medium.radiation_length,
        "interaction_length_cm": medium.interaction_length,
        "moliere_radius_cm": medium.moliere_radius,
        "critical_energy_gev": medium.critical_energy,
        "Z": medium.Z,
        "A": medium.A,
    }


def _as_table(group: Response | Readout) -> dict[str, Any]:
    """Write fields as a TOML file has them, quantities with their units; what is None is left out."""
    units = {"c_em_absorber": "X0", "kappa": "GeV"}
    values = {item.name: getattr(group, item.name) for item in fields(group)}
    values |= {name: Quantity(values[name], unit) for name, unit in units.items() if values.get(name) is not None}
    return {
        name: str(value) if isinstance(value, Quantity) else value
        for name, value in values.items()
        if value is not None
    }
