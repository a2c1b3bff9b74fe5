"""What a block of particles leaves in the calorimeter, before the readout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Deposits:
    """Signals and truth of n events; energies in GeV.

    The four energies sum to the energy of the particle.

    Args:
        signal: Visible energy per layer on the electron scale, with sampling fluctuations, [n, n_layers].
        em_fraction: Electromagnetic share of the energy that the particle carries into its shower, [n].
        vertex_depth: Depth of the first inelastic interaction [lambda_I], [n]; 0 for electrons. It may lie behind the
            calorimeter.
        shower_max: Depth of the maximum of the most energetic electromagnetic cascade [X0], [n].
        em_energy: Electromagnetic energy deposited, [n].
        hadronic_energy: Visible part of the other energy deposited, including the ionisation before the vertex, [n].
        invisible_energy: Deposited but not visible: nuclear binding and what else a response below that of electrons
            means, [n]. On the electron scale a shower rich in ionisation may come out slightly negative.
        leakage: Energy that leaves through the rear, [n].
    """

    signal: Tensor
    em_fraction: Tensor
    vertex_depth: Tensor
    shower_max: Tensor
    em_energy: Tensor
    hadronic_energy: Tensor
    invisible_energy: Tensor
    leakage: Tensor
