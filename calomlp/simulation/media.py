"""Effective medium of a layered structure: the averages that shower parametrisations are written in.

The rules are those of Grindhammer & Peters, hep-ex/0001020, section 2, as implemented in Geant4's sampling medium:
everything is weighted with mass fractions, depths in radiation lengths add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calomlp.simulation.materials import Material

SCATTERING_ENERGY = 21.2e-3
"""E_s = sqrt(4 pi/alpha) m_e c2 [GeV], the scale of multiple scattering in the Moliere radius."""


@dataclass(frozen=True)
class Slice:
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
    """Averages over a stack of slices.

    Args:
        thickness: Total thickness [cm].
        radiation_length: X0 [cm].
        interaction_length: lambda_I [cm].
        moliere_radius: R_M [cm].
        critical_energy: Ec [GeV] in the convention of :attr:`Material.critical_energy`.
        Z: Mass-weighted atomic number.
        A: Mass-weighted atomic mass [g/mol].
        mip_loss: Mean energy loss of a minimum ionising particle in the whole stack [GeV].
    """

    thickness: float
    radiation_length: float
    interaction_length: float
    moliere_radius: float
    critical_energy: float
    Z: float
    A: float
    mip_loss: float

    @property
    def depth_in_radiation_lengths(self) -> float:
        """T = thickness/X0."""
        return self.thickness / self.radiation_length

    @property
    def depth_in_interaction_lengths(self) -> float:
        """S = thickness/lambda_I."""
        return self.thickness / self.interaction_length


def effective_medium(slices: Sequence[Slice]) -> Medium:
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
