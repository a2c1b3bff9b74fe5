"""Settings of a training; importing them imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from calomlp.data.flags import ON_BAD, REFUSE, DataSettings, data_setting
from calomlp.errors import UsageError
from calomlp.settings import setting
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
