from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from calomlp.errors import UsageError
from calomlp.simulation import load_detector
from calomlp.units import Quantity

if TYPE_CHECKING:
    from pathlib import Path


def thicknesses(*overrides: str, detector: str = "siw-ecal", name: str = "absorber") -> list[float]:
    sections = load_detector(detector, overrides).sections
    return [piece.thickness for section in sections for piece in section.slices if piece.name == name]


def test_a_path_through_the_layers_holds_for_every_group() -> None:
    assert thicknesses("layers.absorber.thickness=3mm") == [0.3, 0.3, 0.3]


def test_the_name_of_a_group_holds_for_that_one() -> None:
    assert thicknesses("layers.middle.absorber.thickness=3 mm") == [0.14, 0.3, 0.42]


def test_the_last_one_wins() -> None:
    found = thicknesses("layers.absorber.thickness=3mm", "layers.rear.absorber.thickness=5mm")
    assert found == [0.3, 0.3, 0.5]


def test_groups_without_that_slice_are_left_alone() -> None:
    assert thicknesses("layers.scintillator.thickness=5mm", detector="combined", name="scintillator") == [0.5]
    assert thicknesses("layers.scintillator.thickness=5mm", detector="combined") == thicknesses(detector="combined")


def test_every_kind_of_value() -> None:
    detector = load_detector(
        "siw-ecal",
        [
            "dead_layers = [3, 4]",
            "name=mine",
            'description = "with = and \\"quotes\\""',
            "calibration_seed=7",
            "layers.front.repeat=5",
            "layers.cells=3",
            "layers.rear.absorber.material=Pb",
            "layers.front.board.active=true",
            "response.e_over_h=1.3",
            "response.c_em=wigmans",
            "readout.threshold=0",
            "readout.noise=0.2MIP",
        ],
    )
    front, _, rear = detector.sections
    assert detector.name == "mine"
    assert detector.description == 'with = and "quotes"'
    assert detector.calibration_seed == 7
    assert detector.dead_layers == (3, 4)
    assert front.repeat == 5
    assert front.cells == rear.cells == 3
    assert front.slices[2].active
    assert rear.absorber is not None
    assert rear.absorber.material.name == "Pb"
    assert rear.response.e_over_h == 1.3
    assert rear.response.c_em == "wigmans"
    assert rear.readout.threshold is None
    assert rear.readout.noise == Quantity(0.2, "MIP")


def test_a_group_keeps_a_value_of_its_own() -> None:
    def noises(*overrides: str) -> list[str]:
        return [str(section.readout.noise) for section in load_detector("combined", overrides).sections]

    assert noises("readout.noise=0.2MIP") == ["0.2 MIP", "0.2 MIP", "0.1 MIP"]
    assert noises("layers.readout.noise=0.2MIP") == ["0.2 MIP"] * 3
    assert noises("layers.ecal-rear.readout.noise=0.2MIP") == ["0.13 MIP", "0.2 MIP", "0.1 MIP"]


def test_tables_of_all_groups_are_made_where_they_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "block.toml"
    file.write_text(
        'name = "block"\nlayers = [{ name = "a", sensor = { material = "Si", thickness = "1mm", active = true } }]'
    )
    section = load_detector(file, ["response.mip_peak=0.7", "layers.readout.noise=1 MeV"]).sections[0]
    assert section.response.mip_peak == 0.7
    assert section.readout.noise == Quantity(0.001, "GeV")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "layers.abosrber.thickness=3mm",
            "--set layers.abosrber.thickness=3mm: no 'abosrber' in layers; did you mean 'ab",
        ),
        ("layers.rera.absorber.thickness=3mm", "no 'rera' in layers; did you mean 'rear'"),
        ("layers.rear.sensr.thickness=3mm", "no 'sensr' in layers.rear; did you mean 'sensor'"),
        ("layers.sensor.foo.bar=3mm", "no 'foo' in layers.sensor"),
        ("layer.absorber.thickness=3mm", "no 'layer'; did you mean 'layers'? legal:"),
        ("name.x=3", "--set name.x=3: no 'name'; legal:"),
        ("siw-ecal.x=3", "no 'siw-ecal'; legal:"),
        ("layers.absorber.thickness", "not PATH=VALUE, such as layers.absorber.thickness=3mm"),
        ("layers..thickness=3", "not PATH=VALUE"),
        ("=3", "not PATH=VALUE"),
        ("layers.absorber.thicknes=3mm", "layers.front.absorber: unknown key 'thicknes'; did you mean 'thickness'"),
        (
            "layers.absorber.thickness=3",
            "siw-ecal --set layers.absorber.thickness=3: layers.front.absorber: thickness = 3",
        ),
        ("layers.absorber.thickness=", "thickness = '' is not a finite number"),
        ("layers.absorber=3", "layers.front: unknown key 'absorber'"),
        ("layers.front=3", "layers.front: unknown key 'front'"),
        ("layers=3", "layers = 3 is not an array"),
        ("response=3", "response: expected a table, got 3"),
        ("layers.sensor.response.c_em=3", "layers.front.sensor: unknown key 'response'"),
        ("readout.noise=1\nname = 'x'", "noise = \"1\\nname = 'x'\""),
        ("calibration_seed=1" + "0" * 5000, "is not a whole number"),
    ],
)
def test_what_does_not_fit_names_the_override(assignment: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_detector("siw-ecal", [assignment])
    assert message in str(caught.value)


def test_per_cent_are_not_taken_for_a_fraction() -> None:
    with pytest.raises(UsageError, match=r"c_em = 16\.6"):
        load_detector("siw-ecal", ["response.c_em=16.6"])
