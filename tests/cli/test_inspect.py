"""What a detector amounts to, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calomlp.cli.inspect import InspectSettings, run
from calomlp.cli.session import Session
from calomlp.simulation import PRESETS, load_detector
from calomlp.simulation.detector_file import parse_detector
from tests.conftest import Run


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Return what a terminal of 80 columns would show of a detector."""
    monkeypatch.setenv("COLUMNS", "80")

    def show(detector: str) -> str:
        with Session("calomlp inspect", force=False, json=False, quiet=False) as session:
            session.json = False
            run(session, InspectSettings(detector=detector))
        return capsys.readouterr().out

    return show


def record(calomlp: Run, *arguments: str) -> dict[str, Any]:
    done = calomlp("inspect", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_program_gets_one_line_with_the_constants_and_the_detector(calomlp: Run) -> None:
    found = record(calomlp, "siw-ecal")
    assert found["schema"] == "calomlp.record/1"
    assert (found["action"], found["status"], found["artefact"]) == ("inspect", "done", "detector")
    assert found["n_layers"] == 30
    assert found["sections"] == load_detector("siw-ecal").constants()["sections"]
    assert parse_detector(found["detector"]) == load_detector("siw-ecal")


def test_changes_are_seen(calomlp: Run) -> None:
    found = record(calomlp, "siw-ecal", "--set", "layers.front.repeat=5", "--set", "layers.absorber.material=Pb")
    assert found["n_layers"] == 25
    assert found["detector"]["layers"][1]["absorber"]["material"] == "Pb"


@pytest.mark.parametrize("name", PRESETS)
def test_a_table_fits_80_columns_and_has_all_units(shown: Callable[[str], str], name: str) -> None:
    lines = shown(name).splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert text.startswith(f"{name}: ")
    assert "particles: e-, e+, gamma, mu-" in text
    for section in load_detector(name).sections:
        assert section.name in text
    for label in ("depth of a layer [lambda]", "R_M [cm]", "Fs [layers/X0]", "c_em [% sqrt(GeV)]", "1 MIP [MeV]"):
        assert label in text
    assert "\\" not in text


def test_numbers_of_the_table(shown: Callable[[str], str]) -> None:
    rows = {line[:28].strip(): line[28:].split() for line in shown("siw-ecal").splitlines()}
    assert rows["readout layers"] == ["10", "10", "10"]
    assert rows["depth of a layer [X0]"] == ["0.417", "0.817", "1.22"]
    assert rows["f_mip [%]"] == ["5.13", "2.88", "2.00"]
    assert rows["e/mip"] == ["0.704", "0.704", "0.704"]


def test_a_detector_of_many_groups_and_few_words_is_shown_in_several_tables(
    shown: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "many.toml"
    sensor = 'sensor = { material = "Si", thickness = "1 mm", active = true }'
    file.write_text('name = "many"\n' + "".join(f'[[layers]]\nname = "group-{i}"\n{sensor}\n' for i in range(9)))
    text = shown(str(file))
    assert text.startswith("many\n9 readout layers, 0.9 cm")
    assert text.count("group of layers") == 3
    assert all(f"group-{i}" in text for i in range(9))
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "no detector was named: legal: ahcal, combined"),
        ("siw", "'siw' is neither a preset nor a file"),
        ("siw-ecal --set layers.abosrber.thickness=3mm", "no 'abosrber' in layers; did you mean 'absorber'"),
        ("siw-ecal --set nonsense", "--set nonsense: not PATH=VALUE"),
        ("siw-ecal --set readout.noise=0.2", 'readout: noise = 0.2 has no unit: write "0.2 MIP"'),
        ("ELECTRONS", "not a readable TOML file"),
    ],
)
def test_what_cannot_be_inspected(calomlp: Run, electrons: Path, arguments: str, message: str) -> None:
    done = calomlp("inspect", *arguments.replace("ELECTRONS", str(electrons)).split())
    assert done.returncode == 2
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("calomlp inspect: error: ")
    assert message in line
