"""The detector as the showers see it: depths, media and sampling constants as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from calomlp.simulation import draws
from calomlp.simulation.profile import Media, mean_profile

if TYPE_CHECKING:
    from calomlp.simulation.detector import Detector

REFERENCE_ENERGY = 10.0
"""Electron energy [GeV] at which the mean absorber thickness is taken, the middle of 1-100 GeV on a log scale."""


@dataclass(frozen=True)
class Layers:
    """Readout layers of a detector; L of them, in S sections.

    Args:
        x0_edges: Depth of the layer boundaries in radiation lengths, [L + 1].
        lambda_edges: The same in interaction lengths, [L + 1].
        mip_edges: Energy that a minimum ionising particle loses before each boundary [GeV], [L + 1].
        mip_signal: Mean signal of such a particle in each layer, on the electron scale [GeV], [L].
        mip_crossings: Number of active gaps that it crosses in each layer, [L].
        sampling_scale: Variance of the sampling fluctuations relative to the mean of the detector, [L].
        section_edges: Index of the boundary at each section's front, [S].
        section_slopes: Radiation lengths and MIP loss [GeV] per interaction length, [S, 2].
        media: For the electromagnetic profile, [S].
    """

    x0_edges: Tensor
    lambda_edges: Tensor
    mip_edges: Tensor
    mip_signal: Tensor
    mip_crossings: Tensor
    sampling_scale: Tensor
    section_edges: Tensor
    section_slopes: Tensor
    media: Media

    @classmethod
    def of(cls, detector: Detector) -> Layers:
        """Lay out a detector."""
        sections = detector.sections
        media = Media.of(sections)
        x0_edges = _edges(detector, [section.medium.depth_in_radiation_lengths for section in sections])
        n_readouts = torch.tensor([section.n_readouts for section in sections])
        slopes = [
            (
                section.medium.depth_in_radiation_lengths / section.medium.depth_in_interaction_lengths,
                section.medium.mip_loss / section.medium.depth_in_interaction_lengths,
            )
            for section in sections
        ]
        return cls(
            x0_edges=x0_edges,
            lambda_edges=_edges(detector, [section.medium.depth_in_interaction_lengths for section in sections]),
            mip_edges=_edges(detector, [section.medium.mip_loss for section in sections]),
            mip_signal=_per_layer(detector, [section.layers_per_readout * section.mip_signal for section in sections]),
            mip_crossings=_per_layer(detector, [float(section.layers_per_readout) for section in sections]),
            sampling_scale=_sampling_scale(detector, media, x0_edges),
            section_edges=n_readouts.cumsum(0) - n_readouts,
            section_slopes=torch.tensor(slopes),
            media=media,
        )

    def section_at(self, depth: Tensor) -> Tensor:
        """Index of the section at a depth [lambda_I]; the last one goes on behind the calorimeter."""
        return torch.searchsorted(self.lambda_edges[self.section_edges[1:]], depth, right=True)

    def locate(self, depth: Tensor, section: Tensor) -> tuple[Tensor, Tensor]:
        """Convert a depth [lambda_I] in a section into radiation lengths and MIP loss [GeV] before it."""
        front = self.section_edges[section]
        inside = depth - self.lambda_edges[front]
        x0_per_lambda, mip_per_lambda = self.section_slopes[section].unbind(dim=-1)
        return self.x0_edges[front] + x0_per_lambda * inside, self.mip_edges[front] + mip_per_lambda * inside

    def sample(self, deposit: Tensor, c: float, generator: torch.Generator) -> Tensor:
        """Draw the visible energy of deposits in layers, sigma = c sqrt(E/GeV) in the mean of the detector.

        A gamma distribution has positive values and adds up: draws per layer give the same fluctuation as one draw for
        their sum.

        Args:
            deposit: Mean visible energies [GeV], [n, L].
            c: Sampling constant [sqrt(GeV)].
            generator: Source of the random numbers.
        """
        scale = c * c * self.sampling_scale  # [L]
        return draws.gamma(deposit / scale, generator).mul_(scale)


def _per_layer(detector: Detector, values: list[float]) -> Tensor:
    """Repeat the values of sections for each of their readout layers, [L]."""
    n_readouts = torch.tensor([section.n_readouts for section in detector.sections])
    return torch.tensor(values).repeat_interleave(n_readouts)


def _edges(detector: Detector, steps: list[float]) -> Tensor:
    """Sum the layers' steps to boundaries, [L + 1]; double precision inside, for deep stacks."""
    sizes = [
        section.layers_per_readout * step
        for section, step in zip(detector.sections, steps, strict=True)
        for _ in range(section.n_readouts)
    ]
    return torch.tensor([0.0, *sizes], dtype=torch.float64).cumsum(0).float()


def _sampling_scale(detector: Detector, media: Media, x0_edges: Tensor) -> Tensor:
    """Absorber thickness of each layer over its energy-weighted mean, [L].

    The variance of the sampling fluctuation of a deposit is proportional to the absorber thickness at a fixed active
    layer (Del Peso & Ros, NIM A276 (1989) 456), so the thick rear layers of a graded stack fluctuate more. The
    photo-electrons of a homogeneous medium know no thickness.
    """
    if detector.homogeneous:
        return torch.ones(detector.n_layers)
    profile = mean_profile(torch.tensor(REFERENCE_ENERGY), media.at(0))
    share = profile.contained(x0_edges).diff()  # [L]
    absorbers = [section.absorber for section in detector.sections]
    thickness = _per_layer(detector, [absorber.depth for absorber in absorbers if absorber])
    return thickness * share.sum() / (thickness * share).sum()
