"""The detector as the showers see it: steps of depth, media and constants as tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from calomlp.simulation.detector import Detector, LayerGroup
from calomlp.simulation.profile import Media

MAX_STEP = 1.3
"""Longest step of depth [X0]; thicker readout layers are simulated in several, because showers widen inside them."""

NODE_DISTANCE = 2
"""Steps between the depths at which the sideways profile is evaluated where cells are not simulated. A distance of 2
moves the lateral leakage by some 0.05 % of the energy at 10 GeV, by 0.1 % at 1 GeV and twice that near the sides."""

WIDE = 1e5
"""Half width [cm] of layers that have no cells and therefore no sides."""


@dataclass(frozen=True)
class Layers:
    """A detector of S steps in depth, which form L readout layers in N sections; depths are along its normal."""

    x0_edges: Tensor  # depth of the step boundaries in radiation lengths, [S + 1]
    lambda_edges: Tensor  # the same in interaction lengths, [S + 1]
    mip_edges: Tensor  # energy that a minimum ionising particle loses before each boundary [GeV], [S + 1]
    middle: Tensor  # distance of each step's middle from the front [cm], [S]
    half_width: Tensor  # distance of the sides from the beam [cm], [S]
    interaction_length: Tensor  # lambda_I [cm], [S]
    h_over_e: Tensor  # response to energy that is not electromagnetic, 0 where hadrons are not simulated, [S]
    to_readout: Tensor  # 1 where a step belongs to a readout layer, 0 elsewhere, [S, L]
    mip_signal: Tensor  # mean signal of a minimum ionising particle, on the electron scale [GeV], [L]
    mip_spread: Tensor  # width of its Moyal distribution relative to the mean, [L]
    em_variance: Tensor  # variance of the sampling of electromagnetic deposits, c_em^2 [GeV], [L]
    hadronic_variance: Tensor  # the same of other deposits, [L]
    kappa: Tensor  # quantum of the energy sharing between homogeneous layers [GeV], 0 in sampling layers, [L]
    spots: Tensor  # energy spots of a 1 GeV cascade in a homogeneous layer, 0 in sampling layers, [L]
    section_front: Tensor  # index of the boundary at each section's front, [N]
    section_slopes: Tensor  # radiation lengths and MIP loss [GeV] per interaction length, [N, 2]
    section_media: Media  # for the profiles, [N]
    nodes: Tensor  # steps at which the sideways profile is evaluated, [K]
    from_nodes: Tensor  # weights that interpolate from these steps to all, linearly inside each section, [K, S]
    media: Media  # for the profiles at the nodes, [K]

    @classmethod
    def of(cls, detector: Detector, device: torch.device | str = "cpu", *, node_distance: int = 1) -> Layers:
        """Lay out a detector; the sums are in double precision, for deep stacks.

        Args:
            detector: What to lay out.
            device: Where the tensors are.
            node_distance: Steps between the depths at which the sideways profile is evaluated; 1 for cells.
        """
        sections, placed = detector.sections, spans(detector)
        steps = [span.steps.stop - span.steps.start for span in placed]
        device = torch.device(device)

        def each_step(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64).repeat_interleave(torch.tensor(steps))

        def each_layer(values: list[float]) -> Tensor:
            counts = torch.tensor([section.n_readouts for section in sections])
            return torch.tensor(values, device=device).repeat_interleave(counts.to(device))

        media = [section.medium for section in sections]
        share = [section.repeat / n for section, n in zip(sections, steps, strict=True)]  # layers in a step
        thickness = each_step([s * medium.thickness for s, medium in zip(share, media, strict=True)])
        loss = each_step([s * medium.mip_loss for s, medium in zip(share, media, strict=True)])
        edges = {
            "x0_edges": thickness / each_step([medium.radiation_length for medium in media]),
            "lambda_edges": thickness / each_step([medium.interaction_length for medium in media]),
            "mip_edges": loss,
        }
        of_layer = torch.cat([torch.full((s.n_readouts,), steps_per_readout(s)) for s in sections])
        layer = torch.arange(detector.n_layers).repeat_interleave(of_layer)
        index = torch.arange(len(sections)).repeat_interleave(torch.tensor(steps)).to(device)
        section_media = Media.of(sections, device)
        nodes, from_nodes = _nodes(steps, node_distance)
        single = {
            "middle": thickness.cumsum(0) - 0.5 * thickness,
            "half_width": each_step([min(section.half_width, WIDE) for section in sections]),
            "interaction_length": each_step([medium.interaction_length for medium in media]),
            "h_over_e": each_step([1.0 / (section.response.e_over_h or math.inf) for section in sections]),
            "from_nodes": from_nodes,
            "to_readout": torch.nn.functional.one_hot(layer, detector.n_layers),
            **{name: torch.cat((step.new_zeros(1), step.cumsum(0))) for name, step in edges.items()},
        }
        return cls(
            **{name: values.to(device, torch.float32) for name, values in single.items()},
            mip_signal=each_layer([section.mip_signal for section in sections]),
            mip_spread=each_layer([section.mip_spread for section in sections]),
            em_variance=each_layer([section.c_em**2 for section in sections]),
            hadronic_variance=each_layer([section.c_had**2 for section in sections]),
            kappa=each_layer([section.response.kappa for section in sections]),
            spots=each_layer(
                [93.0 * math.log(section.medium.Z) if section.homogeneous else 0.0 for section in sections]
            ),
            section_front=torch.tensor([span.steps.start for span in placed], device=device),
            section_slopes=torch.tensor(
                [
                    (
                        medium.interaction_length / medium.radiation_length,
                        medium.mip_loss * medium.interaction_length / medium.thickness,
                    )
                    for medium in media
                ],
                device=device,
            ),
            section_media=section_media,
            nodes=nodes.to(device),
            media=section_media.at(index[nodes]),
        )

    def section_at(self, depth: Tensor) -> Tensor:
        """Index of the section at a depth [lambda_I]; the last one goes on behind the calorimeter."""
        return torch.searchsorted(self.lambda_edges[self.section_front[1:]], depth.contiguous(), right=True)

    def locate(self, depth: Tensor, section: Tensor) -> tuple[Tensor, Tensor]:
        """Convert a depth [lambda_I] in a section into radiation lengths and MIP loss [GeV] before it."""
        front = self.section_front[section]
        inside = depth - self.lambda_edges[front]
        x0_per_lambda, mip_per_lambda = self.section_slopes[section].unbind(dim=-1)
        return self.x0_edges[front] + x0_per_lambda * inside, self.mip_edges[front] + mip_per_lambda * inside


def _nodes(steps: list[int], distance: int) -> tuple[Tensor, Tensor]:
    """Choose every ``distance``-th step of each section and its last one; weights of the interpolation to all steps."""
    nodes, blocks = [], []
    for first, n in zip([0, *accumulate(steps)], steps, strict=False):
        chosen = sorted({*range(0, n, distance), n - 1})
        nodes += [first + i for i in chosen]
        blocks.append(torch.from_numpy(np.stack([np.interp(range(n), chosen, row) for row in np.eye(len(chosen))])))
    return torch.tensor(nodes), torch.block_diag(*blocks)  # type: ignore[no-untyped-call]


class Span(NamedTuple):
    """Place of a section among the steps and the readout layers of its detector."""

    section: LayerGroup
    steps: slice
    layers: slice


def spans(detector: Detector) -> list[Span]:
    """Place the sections of a detector one behind the other."""
    spans_, step, layer = [], 0, 0
    for section in detector.sections:
        n_steps = section.n_readouts * steps_per_readout(section)
        spans_.append(Span(section, slice(step, step + n_steps), slice(layer, layer + section.n_readouts)))
        step, layer = step + n_steps, layer + section.n_readouts
    return spans_


def steps_per_readout(section: LayerGroup) -> int:
    """Steps in which one readout layer of a section is simulated."""
    return math.ceil(section.layers_per_readout * section.medium.depth_in_radiation_lengths / MAX_STEP)
