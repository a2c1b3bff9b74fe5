from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from calomlp.cli.flags import TABLES
from calomlp.errors import UsageError
from calomlp.model.losses import LOSSES
from calomlp.model.network import ACTIVATIONS
from calomlp.plotting.figures import REPORT_CHARTS
from calomlp.plotting.kinds import REPORT_KINDS
from calomlp.settings import declared, dump_config, load_config, setting
from calomlp.training import training_settings as training


@dataclass(frozen=True)
class Table:
    events: int = setting(10, "Number of events.")
    name: str = setting("a", "A name.")
    many: tuple[str, ...] = setting((), "Several.")
    missing: float | None = setting(None, "Not set.")


TABLE = {"simulate": Table}


def test_a_dumped_configuration_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(dump_config("simulate", Table(5, 'quoted "name"', ("x", "y"))))
    assert load_config(str(path), "simulate", TABLE) == {"events": 5, "name": 'quoted "name"', "many": ["x", "y"]}
    assert "missing" not in path.read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[simulat]\nevents = 1", r"unknown table \[simulat\]: did you mean 'simulate'"),
        ("[simulate]\nevent = 1", "unknown key 'event' in .simulate.: did you mean 'events'"),
        ('[simulate]\nmany = "x"', r"many in \[simulate\] is a list"),
        ("events = 1", r"unknown table \[events\]"),
        ("[simulate\n", "not valid TOML"),
    ],
)
def test_mistakes_in_a_configuration_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_config(str(path), "simulate", TABLE)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_config(str(tmp_path / "nosuch.toml"), "simulate", TABLE)


def test_choices_in_help_are_those_of_the_core() -> None:
    assert set(training.LOSSES) == set(LOSSES)
    assert set(training.ACTIVATIONS) == set(ACTIVATIONS)
    assert list(REPORT_KINDS) == list(REPORT_CHARTS)


def test_every_setting_has_a_help_that_ends_in_a_stop() -> None:
    for table in TABLES.values():
        for name, declaration in declared(table).items():
            assert declaration.help.endswith("."), name


def test_the_example_configuration_is_legal() -> None:
    path = Path(__file__).parents[1] / "sample_data" / "calomlp.toml"
    for command in tomllib.loads(path.read_text()):
        assert load_config(str(path), command, TABLES)


@dataclass(frozen=True)
class Reader:
    data: tuple[str, ...] = setting((), "Files.", positional=True)


DATA = """
[[data]]
files = "run10*.root"
true_energy = 10

[[data]]
files = ["a.root", "b.root"]
true_energy = 2.5
tree = "hits"

[[data]]
files = "plain.root"
"""


def test_files_in_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(DATA)
    tables = TABLE | {"train": Reader, "evaluate": Reader}
    files = ["10GeV=run10*.root", "2.5GeV=a.root:hits", "2.5GeV=b.root:hits", "plain.root"]
    assert load_config(str(path), "train", tables) == {"data": files}
    assert load_config(str(path), "simulate", tables) == {}
    path.write_text(f'{DATA}\n[train]\ndata = ["other.root"]')
    assert load_config(str(path), "train", tables) == {"data": ["other.root"]}
    assert load_config(str(path), "evaluate", tables) == {"data": files}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[[data]]\nfile = "x"', r"unknown key 'file' in \[\[data\]\]: did you mean 'files'"),
        ('[data]\nfiles = "x"', r"begin with \[\[data\]\]"),
        ("[[data]]\ntrue_energy = 3", r"files in \[\[data\]\] is a name or a list of names"),
        ("[[data]]\nfiles = [3]", "a name or a list of names"),
        ('[[data]]\nfiles = "x"\ntrue_energy = "10 GeV"', "a number above zero, in GeV, and not '10 GeV'"),
        ('[[data]]\nfiles = "x"\ntrue_energy = -1', "a number above zero"),
        ('[[data]]\nfiles = "x"\ntree = 1', "tree in .* is a name, and not 1"),
    ],
)
def test_mistakes_in_files_of_a_configuration(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_config(str(path), "train", {"train": Reader})
