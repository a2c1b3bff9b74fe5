"""Several processes: who they are, and that they do what one does. Most tests have threads in their place."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calomlp import group
from calomlp.data.sources import Source
from calomlp.errors import ArtefactError, CheckpointWritten, InputError, UsageError
from calomlp.model.file import Model, read_model, write_model
from calomlp.processes import Meeting, Processes, find_meeting
from calomlp.run import Interrupt
from calomlp.training import events, prepare
from calomlp.training.checkpoint import Watch
from calomlp.training.train import train
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import ROOM, Room, fitted, linear_showers, quietly, read
from tests.conftest import together as in_one_piece
from tests.processes import SRUN, ends, in_threads, srun, torchrun

Make = Callable[..., Source]

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "head", "MASTER_PORT": "29500"}
QUICK = TrainingSettings(features=("layer_energy",), hidden="16", epochs=3, threads=1)


def test_a_process_is_alone_unless_it_was_started_with_others() -> None:
    assert find_meeting({}) is None
    batch_script = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "1"}
    assert find_meeting(batch_script) is None
    assert find_meeting(SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}) is None
    assert find_meeting(TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}) is None


def test_what_the_launchers_say() -> None:
    assert find_meeting(TORCHRUN) == find_meeting(SRUN | TORCHRUN) == Meeting(1, 4, 0, "head", 29500)
    found = find_meeting(SRUN)
    assert found == Meeting(3, 4, 1, "node03", 20_000 + (101 * 1234567 + 2) % 12_768)
    assert find_meeting(SRUN | {"SLURM_PROCID": "0"}) == replace(found, rank=0)  # all meet at one place
    assert find_meeting(SRUN | {"MASTER_ADDR": "here", "MASTER_PORT": "7"}) == Meeting(3, 4, 1, "here", 7)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a", "a"), ("a,b", "a"), ("n[1,3]", "n1"), ("n[10-12]-ib", "n10-ib"), ("r[1-2]n[007-009],m", "r1n007")],
)
def test_the_first_of_the_nodes(nodes: str, first: str) -> None:
    found = find_meeting(SRUN | {"SLURM_STEP_NODELIST": nodes})
    assert found is not None
    assert found.host == first


@pytest.mark.parametrize("launcher", [TORCHRUN, SRUN])
def test_a_variable_that_is_missing_is_named(launcher: Mapping[str, str]) -> None:
    for name in launcher.keys() - {"SLURM_STEP_NUM_TASKS"}:
        with pytest.raises(UsageError, match=f"^{name} is not set, but .* is: start the command with"):
            find_meeting({key: value for key, value in launcher.items() if key != name})


@pytest.mark.parametrize(
    "wrong",
    [
        {"RANK": "4"},
        {"RANK": "-1"},
        {"WORLD_SIZE": "0"},
        {"WORLD_SIZE": "many"},
        {"MASTER_PORT": "70000"},
        {"RANK": ""},
    ],
)
def test_a_variable_that_makes_no_sense_is_named(wrong: dict[str, str]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"^{name} is '{value}': it must be a whole number from"):
        find_meeting(TORCHRUN | wrong)


def together(
    size: int,
    sources: Source | list[Source],
    settings: TrainingSettings = QUICK,
    room: Room = ROOM,
    watch: Callable[[int], Watch] = lambda _: Watch(Interrupt()),
) -> list[Model]:
    sources = [sources] if isinstance(sources, Source) else sources

    def work(processes: Processes) -> Model:
        own = watch(processes.rank)
        return train(sources, settings, quietly(room, own.interrupt, processes), watch=own)

    return in_threads(size, work)


def estimates(model: Model, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray = model.regressor.estimates(columns["layer_energy"]).regressor.numpy()
    return found


def weights(model: Model) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in model.regressor.state_dict().values()])


COLUMNS = linear_showers(4000)


@pytest.fixture
def showers(make_root: Make) -> Source:
    return make_root(COLUMNS)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        (2, QUICK),
        (3, replace(QUICK, ensemble=2, loss="gaussian-nll", average=0.9)),
        (2, replace(QUICK, optimiser="gd", learning_rate=0.01)),
        (2, replace(QUICK, regress="direct", loss="mse", weighting="none", l1=1e-4, batch_size=100)),
    ],
)
def test_several_do_what_one_does(showers: Source, size: int, settings: TrainingSettings) -> None:
    one = fitted(showers, settings)
    several = together(size, showers, settings)
    assert all(torch.equal(weights(model), weights(several[0])) for model in several)
    assert all(model.history == several[0].history and model.summary == several[0].summary for model in several)
    assert estimates(several[0], COLUMNS) == pytest.approx(estimates(one, COLUMNS), rel=1e-4)
    assert (several[0].envelope, several[0].files) == (one.envelope, one.files)
    for ours, theirs in zip(several[0].history, one.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    sides, expected = several[0].summary["sides"], one.summary["sides"]
    assert {name: side["events"] for name, side in sides.items()} == {
        name: side["events"] for name, side in expected.items()
    }
    assert several[0].summary["data"] == one.summary["data"]
    assert (several[0].summary["processes"], one.summary["processes"]) == (size, 1)


@pytest.mark.parametrize("size", [2, 3])
def test_large_samples_in_files(make_root: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Several files, small windows and parts, a sample of the calibration events, and the disk."""
    monkeypatch.setattr(events, "_MAX_WINDOW", 700)
    monkeypatch.setattr(events, "_BLOCK_BYTES", 512)
    monkeypatch.setattr(prepare, "CALIBRATION_EVENTS", 1000)
    sources = [make_root(linear_showers(1500, seed=seed), name=f"{seed}.root") for seed in range(3)]
    one = fitted(sources, QUICK)
    memory = together(size, sources)[0]
    disk = together(size, sources, room=Room(1000, tmp_path))[0]
    assert weights(memory).tolist() == weights(disk).tolist()
    assert estimates(memory, COLUMNS) == pytest.approx(estimates(one, COLUMNS), rel=1e-4)
    for name in ("anchor_weights", "input_mean", "input_scale"):
        assert torch.allclose(getattr(memory.regressor, name), getattr(one.regressor, name), rtol=1e-6), name
    assert memory.envelope == one.envelope


def test_few_energies(make_root: Make) -> None:
    columns = linear_showers(3000)
    columns["true_energy"] = np.geomspace(1, 64, 7, dtype=np.float32)[np.arange(3000) * 7 // 3000]
    source, settings = make_root(columns), replace(QUICK, split_by="energy")
    one, two = fitted(source, settings), together(2, source, settings)[0]
    assert two.recipe.split == one.recipe.split
    assert two.envelope == one.envelope
    with pytest.raises(InputError, match="more than 50 true energies cannot be split by energy"):
        together(2, make_root(COLUMNS, name="many.root"), settings)


def test_the_time_is_that_of_the_first(showers: Source) -> None:
    first, second = together(2, showers, replace(QUICK, epochs=100_000, stop_after=0.3))
    assert first.summary["ended"].startswith("the time is over")
    assert first.summary == second.summary
    assert torch.equal(weights(first), weights(second))


def test_parts_of_the_events(showers: Source) -> None:
    settings = replace(QUICK, learning_curve=True)
    one, two = fitted(showers, settings), together(2, showers, settings)[0]
    for ours, theirs in zip(two.summary["learning_curve"], one.summary["learning_curve"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_more_processes_than_a_side_has_batches_or_events(make_root: Make) -> None:
    """Some have nothing of a batch, and one nothing of a side."""
    source = make_root(linear_showers(240))
    settings = replace(QUICK, batch_size=8)
    one, several = fitted(source, settings), together(16, source, settings)[0]
    assert estimates(several, COLUMNS) == pytest.approx(estimates(one, COLUMNS), rel=1e-3)
    with pytest.raises(InputError, match="3 events are too few for 4 processes"):
        together(4, make_root(linear_showers(3), name="tiny.root"))


def test_processes_that_see_other_events_do_not_go_on(make_root: Make) -> None:
    files = [make_root(linear_showers(1000 + size), name=f"{size}.root") for size in (1, 2)]

    def work(processes: Processes) -> Model:
        source = [files[processes.rank]]
        return train(source, QUICK, quietly(processes=processes), watch=Watch(Interrupt()))

    with pytest.raises(InputError, match="have not read the same events"):
        in_threads(2, work)


class Trigger(Interrupt):
    """Asks for an end after a number of steps, as a signal would."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    @property
    def requested(self) -> bool:
        self.steps -= 1
        return self.steps < 0


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("settings", [QUICK, replace(QUICK, dropout=0.2)])
def test_all_stop_when_one_is_asked_to_and_go_on_to_the_same_bytes(
    showers: Source, tmp_path: Path, rank: int, settings: TrainingSettings
) -> None:
    checkpoint = tmp_path / "c"
    with pytest.raises(CheckpointWritten, match="run the same command again"):
        together(2, showers, settings, watch=lambda this: Watch(Trigger(17 if this == rank else 10**9), checkpoint))
    resumed = together(2, showers, settings, watch=lambda _: Watch(Interrupt(), checkpoint))
    write_model(tmp_path / "resumed", resumed[1])
    write_model(tmp_path / "whole", together(2, showers, settings)[0])
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_checkpoint_that_not_all_see(showers: Source, tmp_path: Path) -> None:
    with pytest.raises(CheckpointWritten):
        together(2, showers, watch=lambda _: Watch(Trigger(5), tmp_path / "0"))
    with pytest.raises(ArtefactError, match="not all processes see this checkpoint"):
        together(2, showers, watch=lambda rank: Watch(Interrupt(), tmp_path / str(rank)))


TRAIN = ("train", "electrons.root", "--threads", "1", "-o", "m.safetensors")


@pytest.fixture
def folder(tmp_path: Path, electrons: Path) -> Path:
    (tmp_path / "electrons.root").write_bytes(electrons.read_bytes())
    return tmp_path


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    while word not in (line := process.stderr.readline()):
        assert line, "the process ended too early"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


SUMS = """
import hashlib, os, torch
from calomlp.group import together
from calomlp.processes import find_meeting

with together(find_meeting(os.environ), "cpu") as processes:
    assert processes.gather(processes.rank) == list(range(processes.size)) == list(range(processes.local_size))
    for events in (1, 1000, 3_000_000):
        shares = [torch.randn(events, generator=torch.Generator().manual_seed(rank)) for rank in range(processes.size)]
        found = processes.sum(shares[processes.rank].clone())
        assert torch.allclose(found, sum(shares), atol=1e-5)
        print(hashlib.sha256(found.numpy().tobytes()).hexdigest())
"""


def test_sums_are_the_same_bits_in_all(tmp_path: Path) -> None:
    first, *others = ends(srun(tmp_path, 3, program=("-c", SUMS)))
    assert first[0] == 0, first[2]
    assert len(set(first[1].split())) == 3
    assert others == [first, first]


@pytest.mark.landing
def test_torchrun_makes_the_model_of_one_process(folder: Path) -> None:
    ((code, output, error),) = ends([torchrun(folder, *TRAIN, "--epochs", "2", "--history", "h.jsonl")])
    assert code == 0, error
    assert json.loads(output)["epochs"] == 2
    assert error.count("epoch 2/2: loss") == 1
    assert "calomlp train: 2 processes, each with about" in error
    assert names(folder) == {"electrons.root", "m.safetensors", "h.jsonl"}
    two = read_model(str(folder / "m.safetensors"), "m.safetensors")
    source = Source(str(folder / "electrons.root"), None, "electrons.root")
    one = fitted(source, TrainingSettings(epochs=2, threads=1))
    features = in_one_piece(read([source], one.recipe)).features
    found, expected = (model.regressor.estimates(features).regressor.numpy() for model in (two, one))
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_three_processes_of_srun_with_little_memory(make_root: Make, tmp_path: Path) -> None:
    columns = linear_showers(60_000)
    source = make_root(columns)
    command = ("train", "data.root", "--features", "layer_energy", "--epochs", "1", "--threads", "1", "-o", "m")
    first, *others = ends(srun(tmp_path, 3, *command, "--memory", "1MB", "--cache", "cache"))
    assert first[0] == 0, first[2]
    assert "do not fit into 1 MB of memory" in first[2]
    assert json.loads(first[1])["epochs"] == 1
    assert others == 2 * [(0, "", "")]
    assert names(tmp_path) == {"data.root", "m", "cache"}
    assert not names(tmp_path / "cache")
    one = fitted(source, TrainingSettings(features=("layer_energy",), epochs=1, threads=1))
    assert estimates(read_model(str(tmp_path / "m"), "m"), columns) == pytest.approx(estimates(one, columns), rel=1e-3)


@pytest.mark.landing
def test_a_stopped_training_goes_on_to_the_same_bytes(folder: Path) -> None:
    command = (*TRAIN, "--epochs", "20")
    assert [code for code, *_ in ends(srun(folder, 2, *command))] == [0, 0]
    whole = (folder / "m.safetensors").read_bytes()
    (folder / "m.safetensors").unlink()
    launcher = torchrun(folder, *command)
    wait_for(launcher, "epoch 2/")
    launcher.terminate()
    ((code, output, error),) = ends([launcher])
    assert (code, output) == (1, "")  # that of torchrun; the processes end with 85
    assert error.count("m.safetensors.checkpoint holds the state: run the same command again") == 1
    assert names(folder) == {"electrons.root", "m.safetensors.checkpoint"}
    assert [code for code, *_ in ends(srun(folder, 2, *command))] == [0, 0]
    assert (folder / "m.safetensors").read_bytes() == whole
    assert names(folder) == {"electrons.root", "m.safetensors"}


@pytest.mark.slow
def test_a_signal_to_one_stops_all(folder: Path) -> None:
    processes = srun(folder, 2, *TRAIN, "--epochs", "1000")
    wait_for(processes[0], "epoch 2/")
    processes[1].send_signal(signal.SIGUSR1)
    first, second = ends(processes)
    assert (first[0], second[0]) == (85, 85)
    assert (first[2] + second[2]).count("interrupted in epoch") == 1
    assert names(folder) == {"electrons.root", "m.safetensors.checkpoint"}


@pytest.mark.parametrize(
    ("arguments", "code", "wrong"),
    [
        ((*TRAIN, "-t", "nothing"), 3, "branch 'nothing' is not there"),
        pytest.param(("train", "-"), 2, "are for one process, and this is one of several", marks=pytest.mark.slow),
        pytest.param(
            (*TRAIN, "--find-lr"),
            2,
            "--find-lr, --dry-run and standard input are for one process",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_wrong_is_said_once(folder: Path, arguments: tuple[str, ...], code: int, wrong: str) -> None:
    found = ends(srun(folder, 2, *arguments))
    assert [end[0] for end in found] == [code, code]
    (line,) = [line for _, _, error in found for line in error.splitlines() if "2 processes meet at" not in line]
    assert line.startswith("calomlp train: error: ")
    assert wrong in line


@pytest.mark.landing
def test_a_process_that_is_killed_ends_the_others(folder: Path) -> None:
    processes = srun(folder, 2, *TRAIN, "--epochs", "1000")
    wait_for(processes[0], "epoch 3/")
    processes[1].kill()
    (code, output, error), _ = ends(processes)
    assert (code, output) == (1, "")
    assert error.splitlines()[-1] == (
        "calomlp train: error: another process of this run has ended without a word: killed, or out of memory?"
    )
    assert names(folder) == {"electrons.root"}


def test_a_meeting_place_that_nobody_knows_is_named() -> None:
    wrong = r"^nowhere\.invalid: no such host is known here; MASTER_ADDR names another"
    with pytest.raises(UsageError, match=wrong), group.together(Meeting(1, 2, 0, "nowhere.invalid", 29500), "cpu"):
        pass
