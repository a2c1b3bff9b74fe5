"""Materials with their shower constants, and the effective medium of layers of them.

Density, Z, A, radiation length and nuclear interaction length are those of the Geant4 NIST database
(https://geant4.web.cern.ch, "Geant4 Material Database"); Z and A of compounds are weighted with the mass fractions.
The energy loss of a minimum ionising particle is that of the Particle Data Group's tables of atomic and nuclear
properties (https://pdg.lbl.gov).

The rules of averaging are those of Grindhammer & Peters, hep-ex/0001020, section 2, as implemented in Geant4's sampling
medium: everything is weighted with mass fractions, depths in radiation lengths add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calomlp.errors import UsageError, did_you_mean

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
