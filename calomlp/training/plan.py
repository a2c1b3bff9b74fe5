"""Numbers of a training from its settings: batch, epochs, learning rate, threads.

What the user leaves open is chosen by rules of the sample's size, never by timing: the same command gives the same
bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from calomlp.errors import UsageError
from calomlp.processes import ALONE, Processes
from calomlp.settings import check_choice, declared
from calomlp.training.training_settings import TrainingSettings

WHOLE_SET = "gd"
"""Optimiser that takes all events in one step."""

_STEPS = 2000
_MIN_EPOCHS = 5
_MAX_EPOCHS = 100
_BATCHES_PER_EPOCH = 64
_BATCH_RANGE = (64, 1024)
_LEARNING_RATE = {"adam": 5e-3, "adamw": 5e-3, "gd": 5e-3, "sgd": 2e-3, "momentum": 5e-4, "nesterov": 5e-4}
_REFERENCE_BATCH = 1024
_REFERENCE_PARAMETERS = 7000
_PARAMETERS_RANGE = (500, 500_000)
_PATIENCE = 20
_MAX_MEMBERS = 100
_ONE_THREAD_WORK = 2e8
"""Multiplications of a step below which a second thread costs more than it brings."""


@dataclass(frozen=True)
class Plan:
    """The numbers of a training run."""

    optimiser: str
    hidden: tuple[int, ...]  # width of each hidden layer
    batch_size: int  # events in a step
    epochs: int  # passes over the training sample, at most
    learning_rate: float  # the highest of the schedule
    rule: str  # how it came about
    schedule: str  # how it changes
    patience: int  # epochs without a better validation loss after which training stops
    threads: int  # CPU threads of each process
    processes: int  # how many share the events of a step
    parameters: int  # weights and biases of the network


def make_plan(
    settings: TrainingSettings,
    n_events: int,
    n_inputs: int,
    n_outputs: int = 1,
    members: int = 1,
    processes: Processes = ALONE,
) -> Plan:
    """Complete the settings for a sample.

    A batch is a power of two that divides the sample in some 64 steps, and not more than 1024 events. The epochs make
    at least 2000 steps. For the learning rate see :func:`automatic_rate`.

    Args:
        settings: What was asked for.
        n_events: Number of training events.
        n_inputs: Number of inputs of the network.
        n_outputs: Number of its outputs.
        members: Number of networks.
        processes: Those that share the events.

    Raises:
        UsageError: If a setting is not legal.
    """
    check_settings(settings)
    hidden = parse_hidden(settings.hidden)
    batch_size = n_events if settings.optimiser == WHOLE_SET else settings.batch_size or _batch_size(n_events)
    epochs = settings.epochs or min(max(math.ceil(_STEPS * batch_size / n_events), _MIN_EPOCHS), _MAX_EPOCHS)
    widths = [n_inputs, *hidden, n_outputs]
    parameters = members * sum((a + 1) * b for a, b in pairwise(widths))
    small = batch_size * parameters < _ONE_THREAD_WORK * processes.size
    threads = settings.threads or (1 if small else processes.cores)
    patience = settings.patience or (_PATIENCE if settings.schedule in ("constant", "plateau") else epochs)
    rate, rule = settings.learning_rate, "as asked for"
    if rate is None:
        rate, rule = automatic_rate(settings.optimiser, batch_size, parameters // members)
    return Plan(
        settings.optimiser,
        hidden,
        batch_size,
        epochs,
        rate,
        rule,
        settings.schedule,
        patience,
        threads,
        processes.size,
        parameters,
    )


def automatic_rate(optimiser: str, batch_size: int, parameters: int) -> tuple[float, str]:
    """Return the learning rate that fits an optimiser, a batch and a network, and say how it came about.

    It grows with the square root of the batch, up to 1024 events, because fewer events in a step make its direction
    less certain. With ``adam`` and ``adamw``, whose steps are about as long in every parameter and add up in every
    output, it falls with the cube root of the number of parameters: measured between 700 and 140 000 of them, on pions
    and on electrons; it stays what it is beyond 500 and 500 000.

    Args:
        optimiser: Its name.
        batch_size: Events in a step.
        parameters: Weights and biases of one network.
    """
    base = _LEARNING_RATE[optimiser]
    rate = base * min(1.0, math.sqrt(batch_size / _REFERENCE_BATCH))
    rule = f"{base:g} for {optimiser}"
    if batch_size < _REFERENCE_BATCH:
        rule += f", times the square root of batch {batch_size} / {_REFERENCE_BATCH}"
    if optimiser in ("adam", "adamw"):
        low, high = _PARAMETERS_RANGE
        counted = min(max(parameters, low), high)
        rate *= (_REFERENCE_PARAMETERS / counted) ** (1 / 3)
        rule += f", times the cube root of {_REFERENCE_PARAMETERS} / {counted} parameters"
    return rate, rule


def check_settings(settings: TrainingSettings) -> None:
    """Refuse settings that are not legal, before any file is opened.

    Raises:
        UsageError: With what would be legal.
    """
    for name, declaration in declared(TrainingSettings).items():
        if declaration.choices:
            check_choice(name, getattr(settings, name), declaration.choices)
    for name in ("batch_size", "epochs", "patience", "epsilon", "weight_decay", "l1", "threads", "seed"):
        if not (math.isfinite(value := getattr(settings, name)) and value >= 0):
            raise UsageError(f"{name} {value} is not legal: it must be zero or above")
    _check_optimisation(settings)
    if not 0 <= settings.ensemble <= _MAX_MEMBERS:
        raise UsageError(f"ensemble {settings.ensemble} is not legal: from 1 to {_MAX_MEMBERS} networks, or 0")
    if settings.loss == "log" and settings.regress == "direct":
        raise UsageError(
            "loss 'log' needs energies above zero, which regress 'direct' does not promise: use --regress log"
        )
    if not parse_hidden(settings.hidden) and settings.dropout:
        raise UsageError("dropout silences hidden units, and hidden 'none' has no such: leave one of them out")


def _check_optimisation(settings: TrainingSettings) -> None:
    """Refuse what is not legal among the numbers of the optimisation that are not simply zero or above."""
    for name in ("dropout", "average"):
        if not 0 <= (share := getattr(settings, name)) < 1:
            raise UsageError(f"{name} {share} is not legal: it must be at least 0 and below 1")
    for name, legal in (("learning_rate", "numbers above zero, or auto"), ("stop_after", "times above zero")):
        value = getattr(settings, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} {value} is not legal: legal are {legal}")
    if settings.optimiser == WHOLE_SET and settings.batch_size:
        raise UsageError(f"optimiser {settings.optimiser!r} takes all events in one step: leave --batch-size out")


def parse_hidden(text: str) -> tuple[int, ...]:
    """Read the widths of the hidden layers, ``64,64`` or ``none``.

    Raises:
        UsageError: If these are not whole numbers above zero.
    """
    if text.strip().lower() == "none":
        return ()
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if not widths or min(widths) < 1:
        raise UsageError(f"hidden {text!r} is not legal: widths such as 64,64, or 'none'")
    return widths


def _batch_size(n_events: int) -> int:
    low, high = _BATCH_RANGE
    fitting: int = 2 ** round(math.log2(max(n_events / _BATCHES_PER_EPOCH, 1)))
    return min(max(fitting, low), high)
