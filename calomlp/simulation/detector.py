"""A detector is data: sections of slices, a readout and, where hadrons make sense, their constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from calomlp.simulation.media import Medium, Slice, effective_medium

ELECTRONS = ("e-", "e+")
"""Legal in every detector."""
HADRONS = ("pi-", "pi+")
"""Legal where the detector file declares them."""


@dataclass(frozen=True)
class Section:
    """Identical layers, one behind the other.

    Args:
        name: For tables and messages.
        slices: The plates of one layer, in the order of the beam.
        repeat: Number of layers.
        layers_per_readout: This many neighbouring layers share one readout channel in depth.
    """

    name: str
    slices: tuple[Slice, ...]
    repeat: int
    layers_per_readout: int = 1

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
    def absorber(self) -> Slice | None:
        """The passive slice with the largest mass, None in a homogeneous section."""
        return max((piece for piece in self.slices if not piece.active), key=lambda piece: piece.mass, default=None)

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
        """Mean signal of a minimum ionising particle in one layer, on the electron scale [GeV]."""
        return self.medium.mip_loss / self.e_over_mip

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
            "mip_signal_gev": self.mip_signal,
        }


@dataclass(frozen=True)
class Readout:
    """What turns deposits into signals.

    Args:
        c_em: Sampling or photo-electron fluctuation of electromagnetic deposits, sigma/E = c_em/sqrt(E/GeV).
        noise_mip: Noise of one cell, in units of the mean signal of a minimum ionising particle in one layer.
        noise_gev: Noise of one cell on the electron scale [GeV], added in quadrature to ``noise_mip``.
        cells_per_layer: Number of cells that are summed into one layer energy.
        calibration_smear: Spread of the layers' calibration constants.
        calibration_seed: Seed of these constants: they belong to the detector, and are the same in all of its runs.
        non_uniformity: Spread of the response from event to event, the constant term.
        kappa: Scale of the fluctuation of the energy sharing between layers of a homogeneous medium [GeV].
    """

    c_em: float
    noise_mip: float = 0.0
    noise_gev: float = 0.0
    cells_per_layer: int = 1
    calibration_smear: float = 0.0
    calibration_seed: int = 1
    non_uniformity: float = 0.0
    kappa: float = 0.0


@dataclass(frozen=True)
class Hadrons:
    """Constants of hadronic showers in one detector.

    Args:
        particles: Legal hadrons.
        e_over_h: Ratio of the responses to electromagnetic and to other energy.
        c_had: Sampling fluctuation of deposits that are not electromagnetic, sigma/E = c_had/sqrt(E/GeV).
        mip_peak: Most probable over mean signal of a minimum ionising particle in the active slice of one layer.
    """

    particles: tuple[str, ...]
    e_over_h: float
    c_had: float
    mip_peak: float


@dataclass(frozen=True)
class Detector:
    """A calorimeter, seen along the beam.

    Args:
        name: Short name.
        description: One line.
        sections: In the order of the beam.
        readout: From deposits to signals.
        hadrons: None where hadrons are not simulated.
    """

    name: str
    description: str
    sections: tuple[Section, ...]
    readout: Readout
    hadrons: Hadrons | None = None

    @property
    def n_layers(self) -> int:
        """Number of readout layers."""
        return sum(section.n_readouts for section in self.sections)

    @property
    def homogeneous(self) -> bool:
        """Whether everything is active."""
        return all(section.homogeneous for section in self.sections)

    @property
    def medium(self) -> Medium:
        """Average over the whole depth."""
        return effective_medium([piece for section in self.sections for piece in section.slices * section.repeat])

    @property
    def particles(self) -> tuple[str, ...]:
        """Particles that can be simulated."""
        return ELECTRONS + (self.hadrons.particles if self.hadrons else ())

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
        content: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "sections": [_section_as_dict(section) for section in self.sections],
            "readout": {
                "c_em": self.readout.c_em,
                "noise_mip": self.readout.noise_mip,
                "noise_gev": self.readout.noise_gev,
                "cells_per_layer": self.readout.cells_per_layer,
                "calibration_smear": self.readout.calibration_smear,
                "calibration_seed": self.readout.calibration_seed,
                "non_uniformity": self.readout.non_uniformity,
                "kappa_gev": self.readout.kappa,
            },
        }
        if self.hadrons:
            content["hadrons"] = {
                "particles": list(self.hadrons.particles),
                "e_over_h": self.hadrons.e_over_h,
                "c_had": self.hadrons.c_had,
                "mip_peak": self.hadrons.mip_peak,
            }
        return content


def _constants(medium: Medium) -> dict[str, float]:
    return {
        "radiation_length_cm": medium.radiation_length,
        "interaction_length_cm": medium.interaction_length,
        "moliere_radius_cm": medium.moliere_radius,
        "critical_energy_gev": medium.critical_energy,
        "Z": medium.Z,
        "A": medium.A,
    }


def _section_as_dict(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "repeat": section.repeat,
        "layers_per_readout": section.layers_per_readout,
        "slices": [
            {"material": piece.material.name, "thickness_mm": round(10 * piece.thickness, 9), "active": piece.active}
            for piece in section.slices
        ],
    }
