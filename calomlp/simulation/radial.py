"""Radial profile of electromagnetic cascades, and its exact integral over rectangular cells.

G. Grindhammer and S. Peters, hep-ex/0001020: at the relative depth tau the energy is spread around the axis as the sum
of a core and a tail, both of the form 2 r R^2/(r^2 + R^2)^2, with radii that grow with tau.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from calomlp.simulation.profile import Media

MAX_TAU = 10.0
"""Relative depth beyond which the profile is not wide any more but wrong; hardly any energy is left there."""
MIN_CORE, MIN_TAIL = 0.02, 0.05
"""Smallest radii in units of R_M; the sampling corrections reach below them at the start of a cascade."""


@dataclass(frozen=True)
class Spread:
    """Sideways distribution of energy; the tensors have one shape.

    Args:
        core: Radius of the core, which holds half of its energy [cm].
        tail: The same of the tail.
        core_share: Share of the energy that is in the core.
    """

    core: Tensor
    tail: Tensor
    core_share: Tensor

    def at(self, steps: slice) -> Spread:
        """Distributions at some of the steps of depth, the last axis."""
        core = self.core[..., steps]
        tail = core if self.tail is self.core else self.tail[..., steps]
        return Spread(core, tail, self.core_share[..., steps])

    def in_cells(self, x_edges: Tensor, y_edges: Tensor) -> Tensor:
        """Share of the energy in each cell of a grid, [n_x, n_y, ...]; see :func:`cell_shares`."""
        core = cell_shares(self.core, x_edges, y_edges)
        if self.tail is self.core:
            return core
        tail = cell_shares(self.tail, x_edges, y_edges)
        return core.sub_(tail).mul_(self.core_share).add_(tail)


def radial_spread(energy: Tensor, tau: Tensor, media: Media) -> Spread:
    """Core and tail at the relative depth ``tau``.

    The constants were fitted to GEANT3 showers of 0.4-400 GeV; sampling corrections are added to the homogeneous values
    of the mean medium.

    Args:
        energy: Of each cascade [GeV], [..., 1].
        tau: Depth in units of the mean depth of its energy, [..., S].
        media: At these depths, [S].
    """
    tau = tau.clamp(max=MAX_TAU)
    log_energy = energy.log()
    Z, per_layer, transition = media.Z, media.layer_depth, media.transition
    core = tau * (0.1162 - 0.000381 * Z) + (0.0251 + 0.00319 * log_energy)
    from_knee = tau - 0.645
    tail = (from_knee * -2.59).exp_().add_((from_knee * (0.3585 + 0.0421 * log_energy)).exp_())
    tail *= 0.659 - 0.00309 * Z
    falling = (0.401 + 0.00187 * Z - tau) / (1.313 - 0.0686 * log_energy).clamp(min=0.3)
    core_share = falling.sub_(falling.exp()).exp_().mul_(2.632 - 0.00094 * Z)
    if bool(per_layer.any()):
        start = (-tau).exp_()
        core += start * (0.0397 * per_layer) - 0.0203 * transition
        tail -= start * (0.495 * per_layer) + 0.14 * transition
        from_peak = tau.sub_(1.0)
        peak = (from_peak * from_peak).neg_().exp_()
        core_share += transition * (0.348 - 0.642 * per_layer * peak)
    return Spread(
        core=core.clamp_(min=MIN_CORE).mul_(media.moliere_radius),
        tail=tail.clamp_(min=MIN_TAIL).mul_(media.moliere_radius),
        core_share=core_share.clamp_(0.0, 1.0),
    )


def cell_shares(radius: Tensor, x_edges: Tensor, y_edges: Tensor) -> Tensor:
    """Integrate the density R^2/(pi (x^2 + y^2 + R^2)^2) over the cells of a grid, exactly.

    With s = sqrt(x^2 + R^2) the primitive function is x/s [arctan(y2/s) - arctan(y1/s)]/(2 pi), plus the same with x
    and y exchanged. The difference of the arctangents is taken at once, as the angle of (s^2 + y1 y2, s (y2 - y1)).

    Args:
        radius: R [cm], [...].
        x_edges: Edges of the cells relative to the axis of the shower, ascending [cm], [n_x + 1, ...].
        y_edges: The same along y, [n_y + 1, ...].

    Returns:
        Shares, [n_x, n_y, ...], from 0 to 1; over an infinite plane they sum to 1.
    """
    squared = radius * radius
    shares = _sides(squared, x_edges, y_edges).diff(dim=0)
    shares += _sides(squared, y_edges, x_edges).diff(dim=0).transpose(0, 1)
    return shares.clamp_(0.0, 1.0)  # far from the axis, the difference of the sides is nothing but rounding


def _sides(squared: Tensor, edges: Tensor, others: Tensor) -> Tensor:
    low, high = others[None, :-1], others[None, 1:]  # [1, m, ...]
    s_squared = (squared + edges * edges)[:, None]  # [n + 1, 1, ...]
    s = s_squared.sqrt()
    angle = s * (high - low)  # [n + 1, m, ...]
    torch.atan2(angle, s_squared + low * high, out=angle)
    return angle.mul_((0.5 / math.pi * edges[:, None]) / s)
