"""Epochs written while a training goes on: as lines of JSON, to TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from calomlp.errors import MissingDependencyError, OutputError
from calomlp.streams import atomic_path

Epochs = Sequence[Mapping[str, float]]
"""One entry for each complete epoch, as the model keeps them."""

Tell = Callable[[Epochs], None]
"""Takes all epochs so far, after each of them."""

_SCALARS = {
    "loss/training": "train_loss",
    "loss/validation": "validation_loss",
    "resolution/validation": "validation_resolution",
    "learning_rate": "learning_rate",
}


@contextmanager
def reporter(history: Path | None = None, tensorboard: Path | None = None) -> Iterator[Tell]:
    """Give a function that tells of epochs.

    A training that goes on tells of its first epochs again, so that nothing is there twice, and nothing is lost with
    what an earlier run had not written yet.

    Args:
        history: File for the epochs as lines of JSON, rewritten after each.
        tensorboard: Folder for TensorBoard.

    Raises:
        MissingDependencyError: If TensorBoard is wanted and not installed.
        OutputError: If either cannot be written.
    """
    with ExitStack() as stack:
        tellers = {} if history is None else {history: _lines(history)}
        if tensorboard is not None:
            tellers[tensorboard] = _tensorboard(tensorboard, stack)

        def tell(epochs: Epochs) -> None:
            for path, teller in tellers.items():
                try:
                    teller(epochs)
                except OSError as error:
                    raise OutputError(f"{path}: epochs cannot be written: {error.strerror or error}") from error

        yield tell


def _lines(path: Path) -> Tell:
    def tell(epochs: Epochs) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{json.dumps(epoch)}\n" for epoch in epochs), encoding="utf-8")

    return tell


def _tensorboard(folder: Path, stack: ExitStack) -> Tell:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingDependencyError(
            "--tensorboard needs a package that is not installed: pip install 'calomlp[tensorboard]'"
        ) from error
    writer: SummaryWriter | None = None
    told = 0

    def tell(epochs: Epochs) -> None:
        nonlocal writer, told
        if writer is None:  # it makes TensorBoard forget all that it has read of this folder
            writer = stack.enter_context(SummaryWriter(str(folder), purge_step=0))
        for epoch in epochs[told:]:
            for name, key in _SCALARS.items():
                writer.add_scalar(name, epoch[key], int(epoch["epoch"]))
        told = len(epochs)
        writer.flush()

    return tell
