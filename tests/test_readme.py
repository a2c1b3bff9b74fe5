"""The README says what is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from calomlp.cli.flags import TABLES
from calomlp.data.expressions import _FUNCTIONS, Expression
from calomlp.errors import ExitCode
from calomlp.settings import declared
from calomlp.training.training_settings import LOSSES, OPTIMISERS, SCHEDULES
from tests.conftest import ROOT, SAMPLE_DATA

LANGUAGE = (ROOT / "calomlp/data/README.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text()
BATCH = (ROOT / "calomlp/cli/BATCH.md").read_text()
COMMON = {"force", "json", "quiet", "config", "dump_config", "debug", "help"}
ELSEWHERE = {"quiet", "upgrade", "editable", "group", "array", "cpus_per_task", "mem", "time", "requeue", "signal"}
ELSEWHERE |= {"nodes", "ntasks_per_node", "nproc_per_node", "partition", "open_mode", "parsable", "dependency"}


def test_the_exit_codes_are_all_there() -> None:
    table = re.findall(r"^\| (\d+) \| (.+) \|$", README, flags=re.MULTILINE)
    assert {int(code): meaning.replace("`", "") for code, meaning in table} == {
        int(code): code.meaning for code in ExitCode
    }


def test_the_losses_are_all_there() -> None:
    table = README.partition("| `--loss` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", table, flags=re.MULTILINE) == list(LOSSES)


@pytest.mark.parametrize(("setting", "choices"), [("optimiser", OPTIMISERS), ("schedule", SCHEDULES)])
def test_the_choices_of_the_optimisation_are_all_there(setting: str, choices: tuple[str, ...]) -> None:
    table = README.partition(f"| `--{setting}` |")[2].partition("\n\n")[0]
    names = [name for cell in re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE) for name in cell.split(", ")]
    assert sorted(name.strip("`") for name in names) == sorted(choices)


def test_the_functions_of_the_feature_language_are_all_there() -> None:
    for name in _FUNCTIONS:
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", LANGUAGE), name


def test_the_examples_of_the_feature_language_are_in_it() -> None:
    examples = re.findall(r"--(?:features|target|cut) '([^']+)'", LANGUAGE)
    assert len(examples) > 5
    for text in examples:
        assert Expression.parse(text).branches


def test_every_flag_that_is_named_exists() -> None:
    settings = [item for table in TABLES.values() for item in declared(table).items()]
    other = {flag.removeprefix("--") for _, declaration in settings for flag in declaration.flags}
    known = COMMON | ELSEWHERE | other | {name for name, _ in settings}
    for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", README + LANGUAGE + BATCH):
        assert flag.replace("-", "_") in known, flag


@pytest.mark.parametrize("command", TABLES)
def test_every_command_is_shown(command: str) -> None:
    assert re.search(rf"calomlp {command}\b", README)


def test_the_script_of_the_readme_is_one_of_those_that_are_run() -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    assert script in BATCH


def test_the_makefile_runs_on_the_sample_data(tmp_path: Path) -> None:
    found = re.search(r"```make\n(.*?)```", README, flags=re.DOTALL)
    assert found
    if shutil.which("make") is None:
        pytest.skip("no make")
    (tmp_path / "Makefile").write_text(found[1])
    shutil.copytree(SAMPLE_DATA, tmp_path / "sample_data")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["make", "-C", str(tmp_path)]
    for expected in ("calomlp train", "up to date"):
        done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert (tmp_path / "report.html").exists()
