"""What a prediction came to: what was written, and what has no energy or one that cannot be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from calomlp.data.tally import Tally

_MANY_OUTSIDE = 0.1
"""Of the events of the training, one in a thousand is outside of the domain."""


@dataclass
class Predicted:
    """What a prediction came to.

    Attributes:
        outputs: What was written.
        entries: Entries that were written.
        tally: Events that were read, those that do not pass the cut, and files that were left out.
        of_models: By the name of the model, bad values and the events that have no energy because of them.
        outside: By the name of the model, events that are measured, but unlike those of its training.
    """

    outputs: list[str] = field(default_factory=list)
    entries: int = 0
    tally: Tally = field(default_factory=Tally)
    of_models: dict[str, Tally] = field(default_factory=dict)
    outside: Counter[str] = field(default_factory=Counter)

    @classmethod
    def by(cls, models: Iterable[str]) -> Self:
        """Return what is known before the first event, of models by their names."""
        return cls(of_models={name: Tally() for name in models})

    def add(self, other: Predicted) -> None:
        """Add what another output came to."""
        self.outputs += other.outputs
        self.entries += other.entries
        self.tally.add(other.tally)
        for name, tally in other.of_models.items():
            self.of_models[name].add(tally)
        self.outside.update(other.outside)

    def counts(self, name: str) -> dict[str, int]:
        """Return how many events that pass the cut have no energy from a model, or one that cannot be trusted."""
        return {"not_measured": self.of_models[name].left_out, "outside_domain": self.outside[name]}

    def losses(self) -> Iterator[str]:
        """Say what was left out though the user did not ask for it, a sentence each."""
        for name, tally in self.of_models.items():
            of = f" of {name}" if name else ""
            if tally.left_out:
                yield f"{tally.left_out} events have a bad value, and NaN as energy{of}: {tally.culprits()}"
            if tally.replaced:
                yield f"{tally.replaced} events have a bad value, which counts as zero{of}: {tally.culprits()}"
        yield from self.tally.losses()

    def doubts(self) -> Iterator[str]:
        """Say which energies should not be trusted, a sentence for each model that has many of them."""
        for name, tally in self.of_models.items():
            measured, outside = self.tally.events - self.tally.cut - tally.left_out, self.outside[name]
            of = f" of {name}" if name else ""
            if outside > _MANY_OUTSIDE * measured:
                yield (
                    f"{outside} of {measured} measured events are unlike those of the training{of}, "
                    "calo_in_domain is false: are features in the units of the training?"
                )
