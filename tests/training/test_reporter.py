"""What is told of a training while it goes on; TensorBoard itself reads what was written, where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest

from calomlp.cli import run
from calomlp.errors import CheckpointWritten, OutputError
from calomlp.run import Interrupt
from calomlp.training.checkpoint import Watch
from calomlp.training.reporter import reporter
from calomlp.training.train import train
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import linear_showers, quietly
from tests.training.test_train import Make, Trigger

EPOCHS = [
    {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "validation_loss": 2 / epoch,
        "validation_resolution": 0.1,
        "learning_rate": 1e-3,
    }
    for epoch in (1, 2, 3)
]
MODULE = "torch.utils.tensorboard"


class Writer:
    """Stands for the writer of TensorBoard."""

    made: list[Writer]

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        self.flushed = 0
        self.closed = False
        Writer.made.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None:
        self.flushed += 1


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    Writer.made = []
    module = ModuleType(MODULE)
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    return Writer.made


def test_every_epoch_is_told_once_and_at_once(writers: list[Writer], tmp_path: Path) -> None:
    with reporter(tensorboard=tmp_path) as tell:
        assert not writers  # what fails before its first epoch leaves nothing
        for number in (2, 3):  # a run that goes on from its first epoch
            tell(EPOCHS[:number])
            (writer,) = writers
            assert [step for name, _, step in writer.scalars if name == "loss/training"] == [1, 2, 3][:number]
        assert (writer.flushed, writer.closed) == (2, False)
    assert (writer.flushed, writer.closed) == (2, True)
    assert (writer.folder, writer.purge_step) == (str(tmp_path), 0)
    assert writer.scalars[:4] == [
        ("loss/training", 1.0, 1),
        ("loss/validation", 2.0, 1),
        ("resolution/validation", 0.1, 1),
        ("learning_rate", 1e-3, 1),
    ]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with reporter(tmp_path / "nosuch" / "h") as tell, pytest.raises(OutputError, match=r"h: epochs cannot be written"):
        tell(EPOCHS)


def test_a_package_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], electrons: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    assert run(["train", str(electrons), "-o", str(tmp_path / "m"), "--tensorboard", str(tmp_path / "runs")]) == 7
    told = "error: --tensorboard needs a package that is not installed: pip install 'calomlp[tensorboard]'"
    assert told in capfd.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_folder_is_not_mixed_up_with_another_run(
    writers: list[Writer], capfd: pytest.CaptureFixture[str], electrons: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "events").write_text("precious")
    command = ["train", str(electrons), "--epochs", "2", "-o", str(tmp_path / "m"), "--tensorboard"]
    assert run([*command, str(tmp_path / "runs")]) == 2
    assert "is not empty: choose another for --tensorboard, or give --force" in capfd.readouterr().err
    assert run([*command, str(tmp_path / "runs"), "--force"]) == 0
    assert run([*command, str(tmp_path / "new" / "runs"), "--force"]) == 0
    assert [len(writer.scalars) for writer in writers] == [8, 8]
    assert (tmp_path / "runs" / "events").read_text() == "precious"


def test_tensorboard_reads_each_epoch_once_after_an_interruption(make_root: Make, tmp_path: Path) -> None:
    accumulator: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    source, folder = make_root(linear_showers(2000)), tmp_path / "runs"

    def trained(interrupt: Interrupt) -> Sequence[dict[str, float]]:
        watch, settings = Watch(interrupt, tmp_path / "c"), TrainingSettings(hidden="16", epochs=4)
        with reporter(tensorboard=folder) as tell:
            return train([source], settings, quietly(interrupt=interrupt), watch=watch, tell=tell).history

    with pytest.raises(CheckpointWritten):
        trained(Trigger(60))
    history = trained(Interrupt())
    read: Callable[..., Any] = accumulator.EventAccumulator
    found = read(str(folder))
    found.Reload()
    for name, key in (("loss/training", "train_loss"), ("learning_rate", "learning_rate")):
        events = found.Scalars(name)
        assert [event.step for event in events] == [1, 2, 3, 4]
        assert [event.value for event in events] == pytest.approx([entry[key] for entry in history])
