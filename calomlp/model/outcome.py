"""Outcome of a training, as models and reports record it in their ``summary``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from calomlp.data.sources import Tally
from calomlp.documents import from_document, to_document
from calomlp.model.spread import Spread

_OPTIONAL = ("learning_curve", "more_data", "worse", "overtraining", "overtrained")


class Overtraining(StrEnum):
    """Status of the verdict on overtraining."""

    NONE = "no sign of overtraining"
    PERHAPS = "perhaps overtrained"
    OVERTRAINED = "overtrained"


class WarningKind(StrEnum):
    """Subject of a warning about the training data."""

    DATA = "data"  # something among the values
    FEW_ENERGIES = "few energies"  # a network can learn them by heart
    TRUTH = "truth"  # features look like truth


@dataclass(frozen=True)
class DataWarning:
    """Something that looks wrong with the training data."""

    kind: WarningKind
    sentence: str


@dataclass(frozen=True)
class Performance:
    """Performance of a network on some events.

    Attributes:
        loss: The weighted mean loss.
        resolution: sigma_68 of the response E_reco/E_true over its median; if that is not above zero, as it is.
        pull: sigma_68 of (E_reco - E_true) in units of the spread that is expected at the anchor, which makes events of
            all energies alike.
        events: Number of events; 0 if that is not known.
    """

    loss: float = 0.0
    resolution: float = 0.0
    pull: float = 0.0
    events: int = 0


@dataclass(frozen=True)
class ClosureBin:
    """Median response of validation events in a bin of the true energy, before and after the closure correction."""

    energy: float  # mean true energy [GeV]
    before: float
    after: float


@dataclass(frozen=True)
class TrainingOutcome:
    """Outcome of a training; what an older version did not record has its default.

    Attributes:
        loss: Name of the loss.
        epochs: Number of epochs.
        best_epoch: The one whose weights were kept; 0 is the start.
        kept: Share of the correction that is kept.
        validation_loss: Of the weights that were kept.
        ended: Why the training ended.
        parameters: Number of weights and biases.
        batch_size: Events in a step.
        learning_rate: The highest.
        schedule: Of the learning rate.
        threads: CPU threads of each process.
        processes: That trained together.
        sum_scale: Factor of the calibrated sum.
        anchor_spread: Spread expected at the anchor.
        data: Events that were read, and what was left out.
        sides: Performance by ``training``, ``validation`` and ``test``.
        overtrained: Status of the verdict on overtraining; ``None`` if there is none.
        overtraining: The verdict, a sentence.
        learning_curve: Performance on validation events of trainings on more and more events.
        more_data: Whether more events would help, a sentence.
        worse: That the line or the sum is better, a sentence; empty if none is.
        closure: Effect of the closure correction.
        warnings: About the training data.
    """

    loss: str = ""
    epochs: int = 0
    best_epoch: int | None = None
    kept: float = 1.0
    validation_loss: float = 0.0
    ended: str = ""
    parameters: int = 0
    batch_size: int = 0
    learning_rate: float = 0.0
    schedule: str = ""
    threads: int = 0
    processes: int = 1
    sum_scale: float = 1.0
    anchor_spread: Spread = field(default_factory=lambda: Spread(0.0, 0.0, 0.0))
    data: Tally = field(default_factory=Tally)
    sides: Mapping[str, Performance] = field(default_factory=dict)
    overtrained: Overtraining | None = None
    overtraining: str = ""
    learning_curve: tuple[Performance, ...] = ()
    more_data: str = ""
    worse: str = ""
    closure: tuple[ClosureBin, ...] = ()
    warnings: tuple[DataWarning, ...] = ()

    @classmethod
    def read(cls, summary: Mapping[str, Any]) -> Self:
        """Read a ``summary``; keys that this version does not know are passed over.

        Raises:
            TypeError: Or ``ValueError`` or ``AttributeError``, if a value is of another kind than it should be.
        """
        if summary.get("overtraining") and "overtrained" not in summary:  # older versions recorded the sentence alone
            summary = {**summary, "overtrained": summary["overtraining"].partition(": ")[0]}
        outcome: Self = from_document(cls, summary)
        return outcome

    def document(self) -> dict[str, Any]:
        """Return the ``summary``; what there is not is left out."""
        return {name: value for name, value in to_document(self).items() if value or name not in _OPTIONAL}

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Sentences on the line, on overtraining and on more data, as far as there are any."""
        return tuple(filter(None, (self.worse, self.overtraining, self.more_data)))
