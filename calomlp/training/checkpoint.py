"""Checkpoints of a training, and when it stops: all of its state is in one file, from which it goes on."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from calomlp.data.dataset import Data
from calomlp.errors import ArtefactError, CheckpointWritten, Interrupted, OutputError, TrainingError
from calomlp.processes import Processes
from calomlp.provenance import canonical_json
from calomlp.run import Interrupt
from calomlp.streams import atomic_path, discard
from calomlp.training.loop import State

CHECKPOINT_SCHEMA = "calomlp.checkpoint/2"

_HEADER_KEY = "calomlp"
_SCALARS = ("epoch", "step", "loss_sum", "seconds", "best_loss", "best_epoch", "history")


@dataclass
class Watch:
    """Times at which a run stops and saves itself.

    Attributes:
        interrupt: Set by signals.
        checkpoint: Where the state is saved; ``None`` if nowhere.
        every: Seconds between checkpoints.
        max_time: Seconds after which the run stops with a checkpoint; ``None`` for no limit.
        last_good: Where the best model so far is written if the loss becomes non-finite; ``None`` if nowhere.
    """

    interrupt: Interrupt
    checkpoint: Path | None = None
    every: float = 600.0
    max_time: float | None = None
    last_good: Path | None = None

    def __post_init__(self) -> None:
        self._start = self._saved = time.monotonic()

    def events(self, rank: int) -> Path | None:
        """Where the events of a process stay that do not fit into memory, if the run is stopped."""
        return self.checkpoint and self.checkpoint.with_name(f"{self.checkpoint.name}.events{rank or ''}")

    @contextmanager
    def keeping(self, data: Data) -> Iterator[None]:
        """Keep the events beside the checkpoint if the run stops inside the block, and neither of them if it fails."""
        saved = self.events(data.processes.rank)
        try:
            yield
        except CheckpointWritten:
            if saved is not None:
                data.events.save(saved)
            raise
        except TrainingError:
            self.discard(data.processes.rank)
            raise

    def discard(self, rank: int) -> None:
        """Remove what a process would go on from."""
        for path in (None if rank else self.checkpoint, self.events(rank)):
            if path is not None:
                discard(path)

    def asked(self) -> bool:
        """Tell whether this process must stop."""
        return self._over() or self.interrupt.requested

    def after_step(self, state: State, mark: Mapping[str, Any], processes: Processes) -> None:
        """Save or stop if it is time to; the first process saves for all.

        Raises:
            CheckpointWritten: If the run stops and can go on later.
            Interrupted: If it stops and cannot.
        """
        if self.checkpoint is None:
            if state.stop:
                raise Interrupted(self.interrupt.signum or signal.SIGTERM)
            return
        now = time.monotonic()
        if not processes.rank and (state.stop or now - self._saved >= self.every):
            save_checkpoint(self.checkpoint, state, mark)
            self._saved = now
        if state.stop:
            processes.gather(None)  # it is written
            reason = "the time is over" if self._over() else "interrupted"
            raise CheckpointWritten(
                f"{reason} in epoch {state.epoch + 1}; {self.checkpoint} holds the state: run the same command again"
            )

    def _over(self) -> bool:
        return self.max_time is not None and time.monotonic() - self._start >= self.max_time


def save_checkpoint(path: Path, state: State, mark: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: The file.
        state: What to save.
        mark: Settings, versions and data by name; only a run with the same may go on from here.
    """
    tensors = {"moments": state.optimiser.moments}
    tensors |= {f"network.{name}": value for name, value in state.regressor.network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best_weights.items()}
    document = {
        "schema": CHECKPOINT_SCHEMA,
        "mark": mark,
        "steps": state.optimiser.steps,
        "rate": state.optimiser.rate,
        **{name: getattr(state, name) for name in _SCALARS},
    }
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(safetensors.torch.save(tensors, {_HEADER_KEY: canonical_json(document)}))
    except OSError as error:
        raise OutputError(f"{path}: this checkpoint cannot be written: {error.strerror or error}") from error


def load_checkpoint(path: Path, state: State, mark: Mapping[str, Any]) -> None:
    """Bring a freshly made state to where a checkpoint left it.

    Raises:
        ArtefactError: If the checkpoint is damaged, or belongs to another configuration or other data.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            document: dict[str, Any] = json.loads((file.metadata() or {})[_HEADER_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ArtefactError(f"{path}: this checkpoint is damaged; remove it to start afresh") from error
    if document.get("schema") != CHECKPOINT_SCHEMA:
        raise ArtefactError(f"{path}: this checkpoint is of another version; remove it to start afresh")
    if changes := _changes(document["mark"], json.loads(canonical_json(mark))):
        raise ArtefactError(
            f"{path}: this checkpoint is of another run: {', '.join(changes)}; go on with what it was, or remove the "
            "checkpoint to start afresh"
        )
    for name in _SCALARS:
        setattr(state, name, document[name])
    state.regressor.network.load_state_dict(_below("network.", tensors))
    state.best_weights = _below("best.", tensors)
    state.optimiser.moments.copy_(tensors["moments"])
    state.optimiser.steps, state.optimiser.rate = document["steps"], document["rate"]


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what was other than it is now; of lists, that they were."""
    was = {name: json.dumps(then.get(name)) for name in now if then.get(name) != now[name]}
    return [
        f"other {name}" if isinstance(now[name], list) else f"{name} {value} and not {json.dumps(now[name])}"
        for name, value in was.items()
    ]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
