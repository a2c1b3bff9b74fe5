"""What a training would do, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calomlp.plotting.page import facts
from calomlp.plotting.quantity import count
from calomlp.units import format_duration, format_size, listed

if TYPE_CHECKING:
    from calomlp.training.rehearsal import Rehearsal

_NAMES = 4


def rehearsal_page(found: Rehearsal) -> str:
    """Return a line for each thing that is known before a training begins."""
    sides = ", ".join(f"{count(events)} {side}" for side, events in found.events.items())
    reading = format_duration(found.reading_seconds)
    where = "on disk" if found.on_disk else "in memory"
    fewer = "; fewer if --patience ends them" if found.patience < found.epochs else ""
    members = f" in {found.members} networks" if found.members > 1 else ""
    return facts(
        [
            ("files", f"{found.files}, with {count(found.read)} events"),
            ("events", sides),
            ("left out", "; ".join(found.left_out)),
            ("features", f"{listed(found.features, _NAMES)}; {count(found.columns)} columns"),
            ("network", f"{count(len(found.inputs))} inputs, {count(found.parameters)} parameters{members}"),
            ("inputs", listed(found.inputs, _NAMES)),
            ("steps", f"{count(found.batch_size)} events in each, {count(found.steps_per_epoch)} in an epoch"),
            ("epochs", f"{count(found.epochs)}, which are {count(found.steps)} steps{fewer}"),
            ("learning rate", f"{found.learning_rate:.3g} at most: {found.rule}"),
            ("schedule", f"{found.schedule}, of {found.optimiser}"),
            ("threads", f"{found.threads}"),
            ("memory", f"{format_size(found.bytes)} for events and inputs, {where}"),
            ("time", f"about {format_duration(found.training_seconds)}, after {reading} for reading"),
        ]
    )
