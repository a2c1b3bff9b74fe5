"""The settings that made the numbers of a report, so that reports can be drawn against one of them."""

from __future__ import annotations

from typing import Any

from calomlp.data.origin import read_origin
from calomlp.data.sources import Source
from calomlp.documents import to_document
from calomlp.evaluation.options import SIMULATION, TRAINING
from calomlp.model.file import Model

_CHOSEN = ("epochs", "parameters", "batch_size", "learning_rate", "schedule")
"""What a training may choose itself, and records when it has."""

_DERIVED = ("constants", "version")
"""Of the simulation, what follows from the settings, and what is none."""


def settings_of(model: Model | None, source: Source) -> dict[str, Any]:
    """Return what the training and the simulation were asked for.

    Args:
        model: That was evaluated; without one there is no ``training``.
        source: The first file that was evaluated; if it does not say how it was simulated there is no ``simulation``.
    """
    found: dict[str, Any] = {}
    if model is not None:
        architecture = model.regressor.architecture
        found[TRAINING] = to_document(
            {
                **model.settings,
                **{name: model.summary[name] for name in _CHOSEN if name in model.summary},
                "ensemble": architecture.members,
                "inputs": architecture.n_inputs,
                "events": model.envelope.n_train,
            }
        )
    simulated = read_origin(source).get(SIMULATION)
    if isinstance(simulated, dict):
        found[SIMULATION] = {name: value for name, value in simulated.items() if name not in _DERIVED}
    return found
