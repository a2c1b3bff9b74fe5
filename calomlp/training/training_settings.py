"""Settings of a training; importing them imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calomlp.data.flags import DATA, ON_BAD, REFUSE, DataSettings
from calomlp.errors import UsageError
from calomlp.settings import setting
from calomlp.units import parse_duration

NETWORK = "Network and loss"
OPTIMISATION = "Optimisation"

REGRESS = ("ratio", "direct", "log")
LOSSES = (
    "huber",
    "chi2",
    "mse",
    "stochastic",
    "relative",
    "log",
    "mae",
    "log-cosh",
    "gaussian-nll",
    "quantiles",
)
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
    target: str = setting("true_energy", "True energy: a branch or an expression.", "-t", panel=DATA, metavar="EXPR")
    features: tuple[str, ...] = setting(
        (),
        "Features: branches or expressions; repeat the flag. Default: what the detector reads out, as inspect shows.",
        panel=DATA,
        metavar="EXPR",
    )
    also: tuple[str, ...] = setting(
        (), "A branch or expression to add to the features; repeat the flag.", panel=DATA, metavar="EXPR"
    )
    exclude: tuple[str, ...] = setting(
        (), "A branch that is not to be chosen, or a pattern: 'hcal_*'; repeat the flag.", panel=DATA, metavar="NAME"
    )
    mip: float | None = setting(
        None,
        "Energy of a minimum ionising particle in a cell, in the unit of the hits. Default: from their spectrum.",
        panel=DATA,
        metavar="E",
    )
    energies: tuple[str, ...] = setting(
        (),
        "Which features are energies, for the linear anchor; repeat the flag. Default: by their names.",
        panel=DATA,
        metavar="EXPR",
    )
    cut: str | None = setting(
        None, "Use only events that meet this condition: 'n_hits > 10'.", metavar="EXPR", panel=DATA
    )
    weight: str | None = setting(None, "Weight of an event: a branch or an expression.", metavar="EXPR", panel=DATA)
    explode: str = setting(
        "",
        "Calibrate the objects of a collection one by one: Photon, for Photon_pt or Photon.pt.",
        panel=DATA,
        metavar="NAME",
    )
    group_by: str = setting(
        "", "Entries that follow each other with the same value are one event: eventID.", panel=DATA, metavar="BRANCH"
    )
    on_bad: str = setting(
        REFUSE,
        "A value that is missing or not finite: stop, leave the event out, or take zero; what is left out is counted.",
        choices=ON_BAD,
        panel=DATA,
    )
    split: str = setting("0.7,0.1,0.2", "Shares of training, validation and test.", metavar="A,B,C", panel=DATA)
    split_by: str | None = setting(
        None,
        "Keep events with equal values of this branch on one side; 'energy' stands for the true energy.",
        panel=DATA,
        metavar="BRANCH",
    )

    regress: str = setting(
        "ratio",
        "What the network stands for: a factor on the linear anchor, the energy itself, or its logarithm.",
        choices=REGRESS,
        panel=NETWORK,
    )
    loss: str = setting("huber", "Loss; the README says what each estimates.", choices=LOSSES, panel=NETWORK)
    weighting: str = setting(
        "auto", "Spectrum that training sees: auto turns any into E^(-2/3).", choices=WEIGHTINGS, panel=NETWORK
    )
    hidden: str = setting(
        "64,64", "Width of each hidden layer; 'none' for a linear model.", metavar="N,N", panel=NETWORK
    )
    activation: str = setting("silu", "Activation of the hidden layers.", choices=ACTIVATIONS, panel=NETWORK)
    ensemble: int = setting(
        0,
        "Train so many networks at once, and average what they say; 0 is four for fewer than 65536 training events.",
        panel=NETWORK,
    )
    closure: str = setting(
        "auto",
        "Measure what bias is left after the training, and divide it out (numerical inversion).",
        choices=CLOSURES,
        panel=NETWORK,
    )
    init: str | None = setting(
        None,
        "Model to start from: its features, network and scaler; only the anchor is new.",
        panel=NETWORK,
        metavar="MODEL",
    )
    learning_curve: bool = setting(
        False, "Train on parts of the events, too, and say whether more data would help.", panel=NETWORK
    )
    dropout: float = setting(0.0, "Probability that a hidden unit is silenced in training.", panel=NETWORK)

    optimiser: str = setting(
        "adamw", "Optimiser; gd takes the whole set in one step.", choices=OPTIMISERS, panel=OPTIMISATION
    )
    learning_rate: float | None = setting(
        None,
        "Highest learning rate; 'auto', the default, chooses it from optimiser, batch and network.",
        "--lr",
        parse=parse_rate,
        panel=OPTIMISATION,
        metavar="X",
    )
    schedule: str = setting("one-cycle", "How the learning rate changes.", choices=SCHEDULES, panel=OPTIMISATION)
    batch_size: int = setting(0, "Events in a step; 0 chooses it from the size of the sample.", panel=OPTIMISATION)
    epochs: int = setting(0, "Passes over the sample; 0 chooses enough for some 2000 steps.", panel=OPTIMISATION)
    patience: int = setting(
        0,
        "Stop after so many epochs without a better validation loss; 0 is 20 with the schedules constant and plateau, "
        "and never with one that has to run down. The best epoch is kept in any case.",
        panel=OPTIMISATION,
    )
    epsilon: float = setting(
        0.0, "Stop when the training loss changes by less than this from epoch to epoch; 0 never.", panel=OPTIMISATION
    )
    stop_after: float | None = setting(
        None,
        "Train no longer than this, such as 90s or 10m, and write the best so far; depends on the machine.",
        parse=parse_duration,
        panel=OPTIMISATION,
        metavar="TIME",
    )
    weight_decay: float = setting(
        0.0, "Pull of weights and biases towards zero, in proportion to them (L2).", panel=OPTIMISATION
    )
    l1: float = setting(0.0, "Pull of weights and biases towards zero, of constant size (L1).", panel=OPTIMISATION)
    average: float = setting(
        0.0,
        "Use the running mean of the weights, which keeps this share in a step: 0.99; 0 is off.",
        panel=OPTIMISATION,
    )
    compile: bool = setting(
        False,
        "Compile the network first, which takes some seconds and a C++ compiler, and pays for long trainings of wide "
        "networks.",
        panel=OPTIMISATION,
    )
    seed: int = setting(1, "Seed of the split's hash, the initial weights and the order of events.", panel=OPTIMISATION)
    threads: int = setting(0, "CPU threads; 0 chooses them from the size of a step.", panel=OPTIMISATION)
    device: str = setting("cpu", "Where to compute: cpu, cuda, cuda:1.", panel=OPTIMISATION)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(DataSettings, _TrainingSettings):
    """Everything that decides what a training run ends with."""
