"""Detectors are data: materials, layers made of slices, what they answer to showers, and how they are read out.

Density, Z, A, radiation length and nuclear interaction length of materials are those of the Geant4 NIST database
(https://geant4.web.cern.ch, "Geant4 Material Database"); Z and A of compounds are weighted with the mass fractions.
The energy loss of a minimum ionising particle is that of the Particle Data Group's tables of atomic and nuclear
properties (https://pdg.lbl.gov).

The rules of averaging are those of Grindhammer & Peters, hep-ex/0001020, section 2, as implemented in Geant4's sampling
medium: everything is weighted with mass fractions, depths in radiation lengths add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from calomlp.errors import UsageError, did_you_mean
from calomlp.units import Quantity

SCATTERING_ENERGY = 21.2e-3
"""E_s = sqrt(4 pi/alpha) m_e c2 [GeV], the scale of multiple scattering in the Moliere radius."""


@dataclass(frozen=True)
class Material:
    """One material."""

    name: str  # key in MATERIALS and in detector files
    density: float  # mass density [g/cm3]
    Z: float  # atomic number, mass-weighted mean for compounds
    A: float  # atomic mass [g/mol], mass-weighted mean for compounds
    radiation_length: float  # X0 [cm]
    interaction_length: float  # nuclear interaction length lambda_I [cm]
    mip_loss: float  # energy loss of a minimum ionising particle [MeV/cm]

    @property
    def critical_energy(self) -> float:
        """Ec [GeV] = 2.66 MeV (X0 Z/A)^1.1 with X0 in g/cm2 (Dovzhenko & Pomanskii).

        It is 5-15 % below the critical energy of Rossi's definition; the GFlash constants hold for this one only.
        """
        x0 = self.radiation_length * self.density  # g/cm2
        return 2.66e-3 * math.pow(x0 * self.Z / self.A, 1.1)


_TABLE = (
    # name, density, Z, A, X0 cm, lambda cm, MIP loss MeV/cm
    Material("Si", 2.330, 14, 28.09, 9.366, 45.66, 3.876),
    Material("Fe", 7.874, 26, 55.85, 1.7575, 16.99, 11.43),
    Material("steel", 8.000, 25.83, 55.44, 1.7381, 16.68, 11.6),  # G4_STAINLESS-STEEL: Fe 74, Cr 18, Ni 8
    Material("Cu", 8.960, 29, 63.55, 1.4356, 15.59, 12.57),
    Material("brass", 8.520, 34.14, 77.19, 1.3675, 16.95, 12.1),  # G4_BRASS: Cu 62, Zn 35, Pb 3
    Material("W", 19.30, 74, 183.84, 0.3504, 10.31, 22.10),
    Material("Pb", 11.35, 82, 207.22, 0.5613, 18.25, 12.74),
    Material("U", 18.95, 92, 238.03, 0.3166, 11.45, 20.48),
    Material("PbWO4", 8.280, 68.36, 170.88, 0.8925, 20.74, 10.2),
    Material("BGO", 7.130, 62.52, 155.39, 1.118, 22.71, 8.99),
    Material("CsI", 4.510, 54.02, 129.97, 1.8603, 39.31, 5.60),
    Material("NaI", 3.667, 46.56, 110.97, 2.5882, 42.91, 4.79),
    Material("lead-glass", 6.220, 64.31, 161.17, 1.2655, 25.74, 7.9),  # G4_GLASS_LEAD
    Material("polystyrene", 1.060, 5.61, 11.16, 41.31, 68.75, 2.05),
    Material("PVT", 1.032, 5.57, 11.07, 42.54, 69.97, 2.02),  # polyvinyltoluene, plastic scintillator
    Material("LAr", 1.396, 18, 39.95, 14.00, 85.71, 2.105),
    Material("LKr", 2.418, 36, 83.80, 4.703, 63.34, 3.28),
    Material("Al", 2.699, 13, 26.98, 8.896, 38.89, 4.36),
    Material("PCB", 1.7, 9, 18, 17.5, 48.0, 3.2),  # glass-fibre epoxy (G10), CMS test-beam composition; approximate
    Material("air", 1.205e-3, 7.37, 14.80, 30392.0, 71010.0, 2.18e-3),  # G4_AIR at 20 C, 1 atm; a gap widens R_M
)

MATERIALS: dict[str, Material] = {material.name: material for material in _TABLE}


def material(name: str, *, where: str = "material") -> Material:
    """Return the material called ``name``.

    Args:
        name: Key of :data:`MATERIALS`.
        where: Place of the name, for the error message.

    Raises:
        UsageError: There is no such material.
    """
    if name not in MATERIALS:
        raise UsageError(f"{where}: unknown material {name!r}; {did_you_mean(name, MATERIALS, limit=len(MATERIALS))}")
    return MATERIALS[name]


@dataclass(frozen=True)
class Plate:
    """A plate of one material, perpendicular to the beam.

    Args:
        name: Of the slice in its layer, such as ``absorber``.
        material: What it is made of.
        thickness: Along the beam [cm].
        active: Whether its energy deposits are read out.
    """

    name: str
    material: Material
    thickness: float
    active: bool = False

    @property
    def mass(self) -> float:
        """Areal mass density [g/cm2]."""
        return self.material.density * self.thickness

    @property
    def mip_loss(self) -> float:
        """Mean energy loss of a minimum ionising particle that crosses the plate [GeV]."""
        return 1e-3 * self.material.mip_loss * self.thickness

    @property
    def depth(self) -> float:
        """Thickness in radiation lengths."""
        return self.thickness / self.material.radiation_length


@dataclass(frozen=True)
class Medium:
    """Averages over a stack of slices."""

    thickness: float  # total thickness [cm]
    radiation_length: float  # X0 [cm]
    interaction_length: float  # lambda_I [cm]
    moliere_radius: float  # R_M [cm]
    critical_energy: float  # ec [GeV] in the convention of critical_energy
    Z: float  # mass-weighted atomic number
    A: float  # mass-weighted atomic mass [g/mol]
    mip_loss: float  # mean energy loss of a minimum ionising particle in the whole stack [GeV]

    @property
    def depth_in_radiation_lengths(self) -> float:
        """T = thickness/X0."""
        return self.thickness / self.radiation_length

    @property
    def depth_in_interaction_lengths(self) -> float:
        """S = thickness/lambda_I."""
        return self.thickness / self.interaction_length


def effective_medium(slices: Sequence[Plate]) -> Medium:
    """Average the slices of a structure into one medium.

    With mass fractions w_i: Z = sum w_i Z_i, A alike; 1/X0 = sum w_i/X0_i and Ec = X0 sum w_i Ec_i/X0_i with X0 in
    g/cm2; R_M = X0 E_s/Ec (Grindhammer & Peters, hep-ex/0001020). The interaction length adds as the radiation length.
    """
    thickness = sum(piece.thickness for piece in slices)
    mass = sum(piece.mass for piece in slices)
    depth = sum(piece.depth for piece in slices)
    # w_i/X0_i with X0 in g/cm2 is the slice's depth in X0 over the mass of the stack, so the masses cancel in Ec.
    critical_energy = sum(piece.depth * piece.material.critical_energy for piece in slices) / depth
    radiation_length = thickness / depth
    return Medium(
        thickness=thickness,
        radiation_length=radiation_length,
        interaction_length=thickness / sum(piece.thickness / piece.material.interaction_length for piece in slices),
        moliere_radius=radiation_length * SCATTERING_ENERGY / critical_energy,
        critical_energy=critical_energy,
        Z=sum(piece.mass * piece.material.Z for piece in slices) / mass,
        A=sum(piece.mass * piece.material.A for piece in slices) / mass,
        mip_loss=sum(piece.mip_loss for piece in slices),
    )


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
