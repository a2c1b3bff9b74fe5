"""Settings of a training, and its numbers that follow from them; importing them imports nothing heavy.

What the user leaves open of batch, epochs, learning rate and threads is chosen by rules of the sample's size, never by
timing: the same command gives the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from calomlp.data.flags import ON_BAD, REFUSE, DataSettings, data_setting
from calomlp.errors import UsageError
from calomlp.processes import ALONE, Processes
from calomlp.settings import check_choice, declared, setting
from calomlp.units import parse_duration

NETWORK = "Network and loss"
OPTIMISATION = "Optimisation"
network_setting = partial(setting, panel=NETWORK)
training_setting = partial(setting, panel=OPTIMISATION)

REGRESS = ("ratio", "direct", "log")
LOSSES = ("huber", "chi2", "mse", "stochastic", "relative", "log", "mae", "log-cosh", "gaussian-nll", "quantiles")
WEIGHTINGS = ("auto", "none")
CLOSURES = ("auto", "none")
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "selu", "gelu", "silu", "softplus")
OPTIMISERS = ("gd", "sgd", "momentum", "nesterov", "adam", "adamw")
SCHEDULES = ("one-cycle", "cosine", "step", "plateau", "constant")


def parse_rate(text: str | float) -> float | None:
    """Read a learning rate: a number above zero, or ``auto``, which is ``None``.

    Raises:
        UsageError: If it is neither.
    """
    written = str(text).strip().lower()
    if written == "auto":
        return None
    try:
        rate = float(written)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise UsageError(f"learning rate {text!r} is not legal: legal are numbers above zero, or auto")
    return rate


@dataclass(frozen=True, kw_only=True)
class _TrainingSettings:
    target: str = data_setting("true_energy", "True energy: a branch or an expression.", "-t", metavar="EXPR")
    features: tuple[str, ...] = data_setting(
        (),
        "Features: branches or expressions; repeat the flag. Default: what the detector reads out, as inspect shows.",
        metavar="EXPR",
    )
    also: tuple[str, ...] = data_setting(
        (), "A branch or expression to add to the features; repeat the flag.", metavar="EXPR"
    )
    exclude: tuple[str, ...] = data_setting(
        (), "A branch that is not to be chosen, or a pattern: 'hcal_*'; repeat the flag.", metavar="NAME"
    )
    mip: float | None = data_setting(
        None,
        "Energy of a minimum ionising particle in a cell, in the unit of the hits. Default: from their spectrum.",
        metavar="E",
    )
    energies: tuple[str, ...] = data_setting(
        (),
        "Which features are energies, for the linear anchor; repeat the flag. Default: by their names.",
        metavar="EXPR",
    )
    cut: str | None = data_setting(None, "Use only events that meet this condition: 'n_hits > 10'.", metavar="EXPR")
    weight: str | None = data_setting(None, "Weight of an event: a branch or an expression.", metavar="EXPR")
    explode: str = data_setting(
        "", "Calibrate the objects of a collection one by one: Photon, for Photon_pt or Photon.pt.", metavar="NAME"
    )
    group_by: str = data_setting(
        "", "Entries that follow each other with the same value are one event: eventID.", metavar="BRANCH"
    )
    on_bad: str = data_setting(
        REFUSE,
        "A value that is missing or not finite: stop, leave the event out, or take zero; what is left out is counted.",
        choices=ON_BAD,
    )
    split: str = data_setting("0.7,0.1,0.2", "Shares of training, validation and test.", metavar="A,B,C")
    split_by: str | None = data_setting(
        None,
        "Keep events with equal values of this branch on one side; 'energy' stands for the true energy.",
        metavar="BRANCH",
    )

    regress: str = network_setting(
        "ratio",
        "What the network stands for: a factor on the linear anchor, the energy itself, or its logarithm.",
        choices=REGRESS,
    )
    loss: str = network_setting("huber", "Loss; the README says what each estimates.", choices=LOSSES)
    weighting: str = network_setting(
        "auto", "Spectrum that training sees: auto turns any into E^(-2/3).", choices=WEIGHTINGS
    )
    hidden: str = network_setting("64,64", "Width of each hidden layer; 'none' for a linear model.", metavar="N,N")
    activation: str = network_setting("silu", "Activation of the hidden layers.", choices=ACTIVATIONS)
    ensemble: int = network_setting(
        0, "Train so many networks at once, and average what they say; 0 is four for fewer than 65536 training events."
    )
    closure: str = network_setting(
        "auto",
        "Measure what bias is left after the training, and divide it out (numerical inversion).",
        choices=CLOSURES,
    )
    init: str | None = network_setting(
        None, "Model to start from: its features, network and scaler; only the anchor is new.", metavar="MODEL"
    )
    learning_curve: bool = network_setting(
        False, "Train on parts of the events, too, and say whether more data would help."
    )
    dropout: float = network_setting(0.0, "Probability that a hidden unit is silenced in training.")

    optimiser: str = training_setting("adamw", "Optimiser; gd takes the whole set in one step.", choices=OPTIMISERS)
    learning_rate: float | None = training_setting(
        None,
        "Highest learning rate; 'auto', the default, chooses it from optimiser, batch and network.",
        "--lr",
        parse=parse_rate,
        metavar="X",
    )
    schedule: str = training_setting("one-cycle", "How the learning rate changes.", choices=SCHEDULES)
    batch_size: int = training_setting(0, "Events in a step; 0 chooses it from the size of the sample.")
    epochs: int = training_setting(0, "Passes over the sample; 0 chooses enough for some 2000 steps.")
    patience: int = training_setting(
        0,
        "Stop after so many epochs without a better validation loss; 0 is 20 with the schedules constant and plateau, "
        "and never with one that has to run down. The best epoch is kept in any case.",
    )
    epsilon: float = training_setting(
        0.0, "Stop when the training loss changes by less than this from epoch to epoch; 0 never."
    )
    stop_after: float | None = training_setting(
        None,
        "Train no longer than this, such as 90s or 10m, and write the best so far; depends on the machine.",
        parse=parse_duration,
        metavar="TIME",
    )
    weight_decay: float = training_setting(0.0, "Pull of weights and biases towards zero, in proportion to them (L2).")
    l1: float = training_setting(0.0, "Pull of weights and biases towards zero, of constant size (L1).")
    average: float = training_setting(
        0.0, "Use the running mean of the weights, which keeps this share in a step: 0.99; 0 is off."
    )
    compile: bool = training_setting(
        False,
        "Compile the network first, which takes some seconds and a C++ compiler, and pays for long trainings of wide "
        "networks.",
    )
    seed: int = training_setting(1, "Seed of the split's hash, the initial weights and the order of events.")
    threads: int = training_setting(0, "CPU threads; 0 chooses them from the size of a step.")
    device: str = training_setting("cpu", "Where to compute: cpu, cuda, cuda:1.")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(DataSettings, _TrainingSettings):
    """Everything that decides what a training run ends with."""


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
