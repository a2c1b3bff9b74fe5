from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from calomlp.cli.options import TABLES
from calomlp.errors import UsageError
from calomlp.model.losses import LOSSES
from calomlp.model.network import ACTIVATIONS
from calomlp.model.regressor import TARGETS
from calomlp.plotting.figures import FIGURES
from calomlp.plotting.names import DESCRIPTIONS
from calomlp.settings import declared, dump_config, load_config, setting
from calomlp.training import settings as training


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
    assert set(training.REGRESS) == set(TARGETS)
    assert list(DESCRIPTIONS) == list(FIGURES)


def test_every_setting_has_a_help_that_ends_in_a_stop() -> None:
    for table in TABLES.values():
        for name, declaration in declared(table).items():
            assert declaration.help.endswith("."), name


def test_the_example_configuration_is_legal() -> None:
    path = Path(__file__).parents[1] / "sample_data" / "calomlp.toml"
    for command in tomllib.loads(path.read_text()):
        assert load_config(str(path), command, TABLES)
