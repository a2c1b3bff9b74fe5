"""The regressor: one module from raw features to energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from calomlp.errors import ArtefactError
from calomlp.model.anchor import Anchor
from calomlp.model.corrections import Closure, Compensation
from calomlp.model.losses import GAUSSIAN, QUANTILES, Prediction
from calomlp.model.network import MLP, Architecture
from calomlp.model.region import Domain, Region, beam_energies, profile_of, training_range

_STANDARD_FLOOR = 1e-6
_FLOOR = 0.5  # of the lowest true energy
_LEAST = 0.25  # of the lowest beam energy: half of half of it, so far down the correction is good
_PART = 8_192
_DOMAIN_EVENTS = 50_000
WIDTH_LIMIT = 3.0
"""The network says how much wider or narrower an event is than others at its energy, at most by exp(3): no event can
collapse to a spread of nothing and rule the fit."""

SOFTPLUS_ONE = math.log(math.e - 1)


class Estimates(NamedTuple):
    """Estimates of the same events, in GeV, each of shape [events].

    Attributes:
        sum: The calibrated sum.
        anchor: The linear anchor.
        regressor: The regressor.
        compensated: Local software compensation; ``None`` without hits.
        below: Predicted distance to the true energy downwards, with a probability of 34 %; ``None`` if none is.
        above: The same upwards.
        in_domain: Whether the event is like those of the training.
    """

    sum: Tensor
    anchor: Tensor
    regressor: Tensor
    in_domain: Tensor
    compensated: Tensor | None = None
    below: Tensor | None = None
    above: Tensor | None = None


class Regressor(nn.Module):
    """Raw features in, energies out.

    With the target ``ratio`` the energy is ``anchor * exp(network)``: the network corrects the linear calibration, and
    far away from the training data the energy goes on like the line instead of saturating. The network sees quantities
    without a scale, the shares of the anchor and the other features, and the logarithm of the anchor. With ``direct``
    and ``log`` it sees the features themselves and its output is the energy or its logarithm.

    Beyond the region of the training, the network sees an event as it would be at its edge: see
    :class:`~calomlp.model.region.Region`.

    Noise can make an anchor small or negative. Where the network needs a share or a logarithm of it, the anchor is
    replaced by sqrt(anchor^2 + floor^2), or with a few beam energies, between which that would bend all shares, by its
    size, but not less than a least one; the energy itself is never clipped.
    """

    anchor_weights: Tensor
    sum_scale: Tensor
    floor: Tensor
    spread: Tensor
    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, architecture: Architecture, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        energies = list(architecture.energy_columns)
        others = [column for column in range(architecture.n_columns) if column not in energies]
        n_inputs = architecture.n_inputs
        self._energies, self._others = picker(energies), picker(others)
        self.register_buffer("anchor_weights", torch.ones(len(energies)))
        for name, value in (("sum_scale", 1.0), ("floor", 1.0), ("output_mean", 0.0), ("output_scale", 1.0)):
            self.register_buffer(name, torch.tensor(value))
        self.register_buffer("spread", torch.ones(3))
        self.register_buffer("input_mean", torch.zeros(n_inputs))
        self.register_buffer("input_scale", torch.ones(n_inputs))
        self.network = MLP(architecture, generator)
        self.region = Region(n_inputs) if architecture.target == "ratio" else None
        self._fades = True  # of a spectrum, steps need not compute what is one
        self.domain = Domain(n_inputs)
        self.closure = Closure() if architecture.closure else None
        self._spectrum = slice(*architecture.spectrum) if architecture.spectrum else None
        self.compensation = Compensation(self._spectrum.stop - self._spectrum.start) if self._spectrum else None

    def calibrate(self, anchor: Anchor, features: Tensor, true_energy: Tensor) -> None:
        """Set everything but the network's weights: anchor, scaler and scale of the output.

        Args:
            anchor: The fitted anchor.
            features: Training features, shape [events, columns].
            true_energy: In GeV, shape [events].
        """
        self.anchor_weights.copy_(torch.from_numpy(anchor.weights))
        self.sum_scale.fill_(anchor.sum_scale)
        beams = beam_energies(true_energy.numpy())
        lowest = float(true_energy.min())
        self.floor.fill_(0.0 if self.region is not None and len(beams) else _FLOOR * lowest)
        self.spread.copy_(torch.tensor(anchor.spread.squares))
        if self.region is not None:
            self._fades = len(beams) > 0
            if self._fades:
                self.region.fade(_LEAST * lowest, lowest, anchor.spread)
            self.fit_region(anchor, features, true_energy)
        centre, scale, largest = self._moments(features)
        self.input_mean.copy_(centre)
        varies = scale > _STANDARD_FLOOR * largest  # relative: a charge may be in coulomb
        if self.region is not None:
            varies[-1] &= not len(beams)
        self.input_scale.copy_(torch.where(varies, scale, torch.inf))  # what never varied in training says nothing
        if self.region is not None:
            few = features[:: math.ceil(len(features) / _DOMAIN_EVENTS)]
            self.region.limit(self.standardised(few, self.anchor(few)).numpy())
        if self.architecture.target != "ratio":
            wanted = true_energy.log() if self.architecture.target == "log" else true_energy
            mean = float(wanted.mean())
            width = float(wanted.std()) if len(wanted) > 1 else 0.0
            self.output_mean.fill_(mean)
            self.output_scale.fill_(max(width, _STANDARD_FLOOR * abs(mean)) or 1.0)

    def fit_region(self, anchor: Anchor, features: Tensor, true_energy: Tensor) -> None:
        """Set how the inputs go on with the energy, where the network is not to learn it.

        Args:
            anchor: The fitted anchor.
            features: Training features, shape [events, columns].
            true_energy: In GeV, shape [events].
        """
        if self.region is None:
            return
        beams = beam_energies(true_energy.numpy())
        low, high = training_range(anchor, true_energy)
        edges = None if len(beams) else (max(low, float(true_energy.min()) / 2), high)
        profile = profile_of(lambda x: self.raw_inputs(x, self.anchor(x)), features, true_energy, beams)
        self.region.fit(profile, edges)

    def compensate(self, features: Tensor, true_energy: Tensor, weight: Tensor) -> None:
        """Fit the software compensation to training features, shape [events, columns], if there are hits.

        Args:
            features: Shape [events, columns].
            true_energy: In GeV, shape [events].
            weight: Of the events, shape [events].
        """
        if self.compensation is not None:
            total = self.plain_sum(features)
            self.compensation.fit(features[:, self._spectrum], total, true_energy, self.sigma(total), weight)

    def enclose(self, anchor: Anchor, features: Tensor, true_energy: Tensor) -> None:
        """Set the domain to that of training features, shape [events, columns], and true energies, shape [events]."""
        few = features[:: math.ceil(len(features) / _DOMAIN_EVENTS)]
        self.domain.fit(self.standardised(few, self.anchor(few)), training_range(anchor, true_energy))

    def start_from(self, other: Regressor) -> None:
        """Take over network and scaler of a trained regressor; anchor and domain stay those of the new data.

        Raises:
            ArtefactError: If it is of another form.
        """
        ours, theirs = (replace(each.architecture, dropout=0.0, closure=False) for each in (self, other))
        if ours != theirs:
            raise ArtefactError(f"the model to start from is of another form: {theirs}, where {ours} is wanted")
        self.network.load_state_dict(other.network.state_dict())
        if self.region is not None and other.region is not None:
            self.region.load_state_dict(other.region.state_dict())
            self._fades = True
        for name in ("floor", "input_mean", "input_scale", "output_mean", "output_scale"):
            getattr(self, name).copy_(getattr(other, name))

    def _moments(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, standard deviation and largest size of the raw inputs, shape [inputs] each."""
        total, squares, largest = (torch.zeros_like(self.input_mean, dtype=torch.float64) for _ in range(3))
        centre = self._in_region(features[:1], self.anchor(features[:1]))[0].double()
        for part in features.split(_PART):  # type: ignore[no-untyped-call]
            inputs = self._in_region(part, self.anchor(part))
            largest = torch.maximum(largest, inputs.abs().amax(dim=0))
            deviation = inputs.double().sub_(centre)
            total += deviation.sum(dim=0)
            squares += torch.linalg.vecdot(deviation, deviation, dim=0)
        n = len(features)
        variance = (squares - total.square() / n).clamp(min=0) / max(n - 1, 1)
        return centre + total / n, variance.sqrt(), largest

    def plain_sum(self, features: Tensor) -> Tensor:
        """Return the calibrated sum of the energies [GeV], shape [events]."""
        return self.sum_scale * features[:, self._energies].sum(dim=1)

    def anchor(self, features: Tensor) -> Tensor:
        """Return the linear anchor [GeV], shape [events]."""
        return features[:, self._energies] @ self.anchor_weights

    def raw_inputs(self, features: Tensor, anchor: Tensor) -> Tensor:
        """Return what the network sees, before it is standardised, shape [events, inputs]."""
        if self.architecture.target != "ratio":
            return features
        size = self._size(anchor)
        seen = [features[:, self._others], size.log()[:, None]]
        if self.architecture.shares:
            seen.insert(0, features[:, self._energies] * (self.sum_scale / size)[:, None])
        return torch.cat(seen, dim=1)

    def _size(self, anchor: Tensor) -> Tensor:
        """Return what stands for an anchor [GeV] that may be zero or negative, shape [events]."""
        size = torch.sqrt(anchor**2 + self.floor**2)
        return size if self.region is None else torch.maximum(size, self.region.least)

    def _in_region(self, features: Tensor, anchor: Tensor) -> Tensor:
        """Return the raw inputs as they would be in the region of the training, shape [events, inputs]."""
        raw = self.raw_inputs(features, anchor)
        return raw if self.region is None else self.region(raw, raw[:, -1:])

    def standardised(self, features: Tensor, anchor: Tensor) -> Tensor:
        """Return these inputs in units of their standard deviation from the mean, shape [events, inputs]."""
        return torch.sub(self._in_region(features, anchor), self.input_mean).div_(self.input_scale)

    def inputs(self, features: Tensor, anchor: Tensor) -> Tensor:
        """Return the inputs of the network, shape [events, inputs]: standardised, and within their limits."""
        return self._seen(self.standardised(features, anchor))

    def _seen(self, inputs: Tensor) -> Tensor:
        """Return standardised inputs as the network sees them, shape [events, inputs]."""
        return inputs if self.region is None else self.region.clip(inputs)

    def input_names(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return what messages call the inputs of the network.

        Args:
            columns: Names of the columns of the feature matrix.
        """
        if self.architecture.target != "ratio":
            return tuple(columns)
        energies = self.architecture.energy_columns
        shares = (f"share of {columns[column]}" for column in energies if self.architecture.shares)
        others = (name for column, name in enumerate(columns) if column not in energies)
        return (*shares, *others, "logarithm of the anchor")

    def sigma(self, anchor: Tensor) -> Tensor:
        """Return the spread [GeV] that is expected at an anchor [GeV], shape [events]."""
        size = anchor.abs()
        return torch.sqrt(self.spread[0] * size + self.spread[1] + self.spread[2] * size * size)

    def predict(self, output: Tensor, anchor: Tensor, sigma: Tensor) -> Prediction:
        """Turn the network's outputs into what they say.

        Args:
            output: Shape [events, outputs], or [members, events, outputs] for each network by itself.
            anchor: In GeV, shape [events].
            sigma: Spread expected at the anchor [GeV], shape [events].
        """
        first, *others = output.unbind(dim=-1)
        match self.architecture.target:
            case "ratio":
                if self.region is not None and self._fades:
                    first = first * self.region.faded(self._size(anchor).log())
                energy = anchor * torch.exp(first)
            case "log":
                energy = torch.exp(self.output_mean + self.output_scale * first)
            case _:
                energy = self.output_mean + self.output_scale * first
        if self.architecture.head == GAUSSIAN:
            width = sigma * torch.exp(others[0].clamp(-WIDTH_LIMIT, WIDTH_LIMIT))
            return Prediction(energy, width, width)
        if self.architecture.head == QUANTILES:
            below, above = (sigma * F.softplus(other + SOFTPLUS_ONE) for other in others)
            return Prediction(energy, below, above)
        return Prediction(energy)

    def forward(self, features: Tensor) -> Tensor:
        """Return the energy [GeV], shape [events], from raw features, shape [events, columns]."""
        anchor = self.anchor(features)
        output = self.network(self.inputs(features, anchor))
        return self._average(output, anchor).energy

    def _average(self, output: Tensor, anchor: Tensor) -> Prediction:
        """Return what all members say together; what they disagree about adds to the predicted spread."""
        sigma = self.sigma(anchor)
        energy, below, above = self.predict(output.mean(dim=0), anchor, sigma)
        if below is not None:
            each = self.predict(output, anchor, sigma)
            disagreement = each.energy.var(dim=0, correction=0)
            below, above = (
                torch.sqrt(width.square().mean(dim=0) + disagreement)
                for width in (each.below, each.above)
                if width is not None
            )
        if self.closure is None:
            return Prediction(energy, below, above)
        factor = self.closure(energy)
        widths = (None if width is None else width * factor for width in (below, above))
        return Prediction(energy * factor, *widths)

    @torch.inference_mode()
    def energies(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return nothing but the regressor's energies [GeV], shape [events]."""
        x = torch.from_numpy(features).to(self.anchor_weights.device)
        pieces = [self(x[start : start + _PART]) for start in range(0, len(x), _PART)]  # which caches like
        energies: NDArray[np.float32] = torch.cat([x.new_empty(0), *pieces]).cpu().numpy()
        return energies

    @torch.inference_mode()
    def estimates(self, features: NDArray[np.float32]) -> Estimates:
        """Return the regressor's energies and those of its baselines, shape [events] each."""
        x = torch.from_numpy(features).to(self.anchor_weights.device)
        pieces = zip(*map(self._estimates, x.split(_PART)), strict=True)  # type: ignore[no-untyped-call]
        return Estimates._make(None if parts[0] is None else torch.cat(parts) for parts in pieces)

    def _estimates(self, x: Tensor) -> Estimates:
        """Return the same of as many events as caches like: what a network remembers of one takes kilobytes."""
        anchor = self.anchor(x)
        inputs = self.standardised(x, anchor)
        energy, below, above = self._average(self.network(self._seen(inputs)), anchor)
        total = self.plain_sum(x)
        compensated = None if self.compensation is None else self.compensation(x[:, self._spectrum], total)
        return Estimates(total, anchor, energy, self.domain(inputs, anchor), compensated, below, above)

    @torch.inference_mode()
    def expected_spread(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the spread [GeV] that is expected at the anchors of events, shape [events]."""
        x = torch.from_numpy(features).to(self.anchor_weights.device)
        return self.sigma(self.anchor(x)).cpu().double().numpy()


def picker(columns: list[int]) -> slice | list[int]:
    """Return what picks columns of a matrix: of neighbours a slice, which copies nothing."""
    start, stop = (columns[0], columns[0] + len(columns)) if columns else (0, 0)
    return slice(start, stop) if columns == list(range(start, stop)) else columns
