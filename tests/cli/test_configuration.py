"""Flags before environment before file before defaults; and help that is true."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from calomlp.cli.flags import TABLES
from calomlp.errors import ExitCode
from calomlp.settings import declared
from tests.conftest import ROOT, SAMPLE_DATA, Run


def resolved(calomlp: Run, *arguments: str, **environment: str) -> dict[str, object]:
    done = calomlp("train", "--dump-config", *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    table: dict[str, object] = tomllib.loads(done.stdout.decode())["train"]
    return table


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "c.toml"
    path.write_text('[train]\nepochs = 11\nhidden = "8"\nfeatures = ["a", "b"]\nmax_time = "1h"\n')
    return str(path)


def test_flags_before_environment_before_file_before_defaults(calomlp: Run, config: str) -> None:
    assert resolved(calomlp)["epochs"] == 0
    assert resolved(calomlp, "--config", config)["epochs"] == 11
    assert resolved(calomlp, "--config", config, CALOMLP_TRAIN_EPOCHS="12")["epochs"] == 12
    assert resolved(calomlp, "--config", config, "--epochs", "13", CALOMLP_TRAIN_EPOCHS="12")["epochs"] == 13


def test_every_kind_of_value_comes_through(calomlp: Run, config: str) -> None:
    found = resolved(calomlp, "--config", config, "--features", "c")
    assert found["features"] == ["c"]
    assert found["hidden"] == "8"
    assert found["max_time"] == 3600.0
    assert "checkpoint" not in found


@pytest.mark.parametrize(
    ("written", "flag", "wanted"),
    [("0.003", None, 0.003), ('"auto"', None, None), ('"auto"', "0.01", 0.01), ("0.003", "auto", None)],
)
def test_the_learning_rate_is_a_number_or_auto(
    calomlp: Run, tmp_path: Path, written: str, flag: str | None, wanted: float | None
) -> None:
    (tmp_path / "c.toml").write_text(f"[train]\nlearning_rate = {written}\n")
    flags = ("--lr", flag) if flag else ()
    assert resolved(calomlp, "--config", "c.toml", *flags).get("learning_rate") == wanted


def test_a_dumped_configuration_gives_the_same_again(calomlp: Run, tmp_path: Path) -> None:
    first = calomlp("train", "x.root", "--epochs", "3", "--features", "log(a)", "--dump-config").stdout
    (tmp_path / "dumped.toml").write_bytes(first)
    assert calomlp("train", "--config", "dumped.toml", "--dump-config").stdout == first


def test_the_example_configuration_runs(calomlp: Run, tmp_path: Path) -> None:
    example = SAMPLE_DATA / "calomlp.toml"
    done = calomlp("train", "--config", example, "--epochs", 1, "-o", tmp_path / "m", cwd=ROOT)
    assert done.returncode == 0
    assert b"hidden 32,32" in done.stderr


def test_a_variable_that_is_no_setting_is_refused(calomlp: Run) -> None:
    done = calomlp("train", "--dump-config", env={"CALOMLP_TRAIN_EPOCH": "3"})
    assert done.returncode == 2
    assert b"did you mean 'CALOMLP_TRAIN_EPOCHS'" in done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("epochs", "many", "Input should be a valid integer"),
        ("loss", "hubr", "'hubr' is not one of 'huber'"),
        ("checkpoint_every", "soon", "'soon' is not a duration"),
    ],
)
def test_a_wrong_value_is_refused_with_the_place_where_it_is_written(
    calomlp: Run, tmp_path: Path, setting: str, value: str, reason: str
) -> None:
    (tmp_path / "run.toml").write_text(f'[train]\n{setting} = "{value}"\n')
    variable = f"CALOMLP_TRAIN_{setting.upper()}"
    for place, flags, environment in (
        (f'run.toml: [train] {setting} = "{value}": ', ("--config", "run.toml"), {}),
        (f"{variable}={value}: ", (), {variable: value}),
    ):
        done = calomlp("train", "x.root", *flags, env=environment)
        assert done.returncode == 2
        assert f"error: {place}{reason}" in done.stderr.decode()


@pytest.mark.parametrize("command", TABLES)
def test_help_names_every_setting_and_shows_examples(calomlp: Run, command: str) -> None:
    text = calomlp(command, "--help", env={"COLUMNS": "200"}).stdout.decode()
    for name, setting in declared(TABLES[command]).items():
        if not setting.positional:
            assert f"--{name.replace('_', '-')}" in text
        assert setting.help.split(":")[0].split(".")[0][:40] in " ".join(text.split()), name
    assert f"calomlp {command}" in text


def test_the_main_help_lists_commands_and_exit_codes(calomlp: Run) -> None:
    text = " ".join(calomlp("--help", env={"COLUMNS": "200"}).stdout.decode().split())
    for command in TABLES:
        assert command in text
    for code in ExitCode:
        assert f"{int(code)} {code.meaning}" in text


def test_no_command_shows_the_help(calomlp: Run) -> None:
    done = calomlp()
    assert done.returncode == 2
    assert b"Usage" in done.stdout + done.stderr


def test_the_version(calomlp: Run) -> None:
    assert calomlp("--version").stdout.startswith(b"calomlp 0.")


def test_a_cut_is_remembered_and_can_be_replaced(calomlp: Run) -> None:
    electrons = SAMPLE_DATA / "electrons.root"
    calomlp("train", electrons, "--cut", "sum(layer_energy) > 5", "--epochs", 1, "-o", "m.safetensors")
    notes, events = [], []
    for flags in ([], ["--cut", ""], ["--cut", "sum(layer_energy) > 20"]):
        report = json.loads(calomlp("evaluate", "m.safetensors", *flags, "-o", "-").stdout)
        notes.append([note for note in report["notes"] if "cut" in note])
        events.append(sum(bin_["events"] for bin_ in report["curves"][0]["bins"]))
    assert events[1] > events[0] > events[2] > 0
    assert "do not pass the cut sum(layer_energy) > 5" in notes[0][0]
    assert notes[1] == []
    refused = calomlp("train", electrons, "--cut", "1 > 0", "-o", "n.safetensors")
    assert refused.returncode == 2
    assert b"reads no branch" in refused.stderr
