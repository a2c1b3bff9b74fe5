"""The input that made a loss non-finite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from calomlp.model.losses import LOSSES
from calomlp.model.regressor import Regressor
from calomlp.processes import Processes
from calomlp.training.events import Events

HARMLESS = 30.0
"""An input that is no more standard deviations from its mean than this has never made a loss overflow."""


def explain(
    regressor: Regressor, names: Sequence[str], parts: Iterable[Events], loss: str, rate: float, processes: Processes
) -> str:
    """Say why the loss of events is not finite, and what helps.

    Of the events, those are looked at whose own loss is not finite. The answer is an input that is far from its mean,
    or estimates that the loss cannot take, or else the weights. All processes give the same answer, that of the first
    which finds one among its events.

    Args:
        regressor: The regressor with the weights that the loss was computed with.
        names: What the inputs are called, shape [inputs].
        parts: The events, some at a time.
        loss: Name of the loss.
        rate: Learning rate of the last step; 0 if there was none.
        processes: Those that share the events.
    """
    culprits = processes.gather(_culprit(regressor, names, parts, loss, rate))
    return next(filter(None, culprits), None) or (
        "no input is an outlier, the weights have grown without limit: lower the learning rate with --lr, it was "
        f"{rate:.3g} in this step"
        if rate
        else "no input is an outlier: look at the true energies, and at --weight"
    )


@torch.no_grad()
def _culprit(regressor: Regressor, names: Sequence[str], parts: Iterable[Events], loss: str, rate: float) -> str | None:
    """Return what is wrong with the events, if anything is."""
    regressor.network.train(mode=False)
    for part in parts:
        prediction = regressor.predict(regressor.network(part.inputs), part.anchor, part.sigma)
        losses = part.weight * LOSSES[loss].per_event(prediction, part.true_energy, part.sigma)
        bad = ~losses.isfinite().all(dim=0)
        size = part.inputs[bad].abs().nan_to_num(nan=torch.inf, posinf=torch.inf)  # [events, inputs]
        if not len(size):
            continue
        if (largest := float(size.max())) > HARMLESS:
            event, column = divmod(int(size.argmax()), size.shape[1])
            value = part.inputs[bad][event, column] * regressor.input_scale[column] + regressor.input_mean[column]
            beyond = int((size[:, column] > HARMLESS).sum())
            return (
                f"input {names[column]} reaches {float(value):.4g}, {largest:.3g} standard deviations from its mean, "
                f"and is beyond {HARMLESS:g} in {beyond} of {len(part)} events: leave these out with --cut"
                f"{', or lower the learning rate with --lr' if rate else ''}"
            )
        lowest = prediction.energy.amin(dim=0)
        if loss == "log" and (below := int((lowest <= 0).sum())):
            return (
                f"the loss 'log' takes estimates above zero only, and {below} of {len(part)} events have others, down "
                f"to {float(lowest.min()):.3g} GeV: leave them out with --cut, or choose another loss"
            )
    return None
