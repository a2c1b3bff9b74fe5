from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calomlp.errors import UsageError
from calomlp.simulation import PRESETS, load_detector
from calomlp.simulation.detector import del_peso_ros, wigmans
from calomlp.simulation.detector_file import parse_detector
from calomlp.units import Quantity

if TYPE_CHECKING:
    from pathlib import Path

    from calomlp.simulation.detector import Detector, LayerGroup

# material and thickness [mm] of each slice; X0 cm, Ec MeV, R_M cm, t and s per layer, Fs, e/mip, MIP sampling fraction
EFFECTIVE_MEDIA = {
    "W 1.4 Si* .525 PCB 2.1": (0.965, 9.65, 2.120, 0.417, 0.0191, 2.40, 0.704, 0.0513),
    "W 2.8 Si* .525 PCB 2.1": (0.664, 8.84, 1.592, 0.817, 0.0327, 1.22, 0.704, 0.0288),
    "W 4.2 Si* .525 PCB 2.1": (0.561, 8.57, 1.388, 1.216, 0.0463, 0.82, 0.704, 0.0200),
    "W 1.9 Si* .5 PCB 1.3 air 1.25": (0.892, 8.87, 2.132, 0.555, 0.0222, 1.80, 0.704, 0.0403),
    "W 2.1 Si* .525 PCB 1.0 Cu .4": (0.630, 9.11, 1.467, 0.638, 0.0262, 1.57, 0.704, 0.0359),
    "Pb 2 polystyrene* 4": (1.639, 9.27, 3.749, 0.366, 0.0168, 2.73, 0.652, 0.244),
    "Pb 1 polystyrene* 2": (1.639, 9.27, 3.749, 0.183, 0.0084, 5.46, 0.652, 0.244),
    "Pb 4 polystyrene* 4": (1.108, 8.33, 2.820, 0.722, 0.0277, 1.38, 0.652, 0.139),
    "steel 21.4 polystyrene* 5 PCB 1.2": (2.208, 21.5, 2.175, 1.250, 0.138, 0.80, 0.876, 0.0391),
    "steel 20 polystyrene* 3 PCB .7": (2.040, 21.3, 2.035, 1.162, 0.126, 0.86, 0.876, 0.0256),
    "Cu 25 LAr* 8.5": (1.859, 19.0, 2.075, 1.802, 0.170, 0.55, 0.929, 0.0539),
    "brass 50.5 polystyrene* 3.7": (1.464, 16.3, 1.904, 3.702, 0.303, 0.27, 0.834, 0.0123),
}
PRESET_MEDIA = {
    ("siw-ecal", "front"): "W 1.4 Si* .525 PCB 2.1",
    ("siw-ecal", "middle"): "W 2.8 Si* .525 PCB 2.1",
    ("siw-ecal", "rear"): "W 4.2 Si* .525 PCB 2.1",
    ("combined", "ecal-front"): "W 2.1 Si* .525 PCB 1.0 Cu .4",
    ("shashlik", "modules"): "Pb 2 polystyrene* 4",
    ("ahcal", "steel"): "steel 21.4 polystyrene* 5 PCB 1.2",
}

# Sampling constants [%] of structures that were built, after Wigmans and after Del Peso & Ros (with the Landau term of
# silicon); what was measured is within 30 % of one of them.
SAMPLING_CONSTANTS = {
    "Pb 2.3 LAr* 5.7": (12.0, 5.9),
    "Cu 25 LAr* 8.5": (33.9, 24.8),  # ATLAS HEC
    "steel 21.4 polystyrene* 5 PCB 1.2": (30.5, 23.1),  # CALICE AHCAL
    "Pb 2 polystyrene* 4": (10.9, 6.0),  # LHCb
    "Pb 1.5 polystyrene* 4": (9.9, 5.0),  # PHENIX
    "U 3.3 steel .4 polystyrene* 2.6": (16.6, 12.1),  # ZEUS, plates clad with steel
    "Pb 1.5 steel .4 LAr* 4.2": (10.8, 5.8),  # ATLAS accordion, plates clad with steel
    "Fe 14 polystyrene* 3": (24.5, 18.8),  # ATLAS Tile
    "W 2.8 Si* .525 PCB 2.1": (11.5, 16.8),  # CALICE SiW
}

MINIMAL: dict[str, Any] = {
    "name": "block",
    "layers": [{"name": "glass", "block": {"material": "lead-glass", "thickness": "40 cm", "active": True}}],
}
LEAD = {"material": "Pb", "thickness": "2 mm"}
SCINTILLATOR = {"material": "polystyrene", "thickness": "4 mm", "active": True}


def section_of(text: str) -> LayerGroup:
    words = text.split()
    slices = {
        f"slice-{i}": {"material": name.strip("*"), "thickness": f"{thickness} mm", "active": "*" in name}
        for i, (name, thickness) in enumerate(zip(words[::2], words[1::2], strict=True))
    }
    return parse_detector({"name": "stack", "layers": [{"name": "stack", **slices}]}).sections[0]


def check_medium(section: LayerGroup, text: str) -> None:
    # Averages of Grindhammer & Peters, hep-ex/0001020; three digits are tabulated.
    x0, critical_energy, moliere_radius, t, s, frequency, e_over_mip, fraction = EFFECTIVE_MEDIA[text]
    assert section.medium.radiation_length == pytest.approx(x0, rel=2e-3)
    assert 1e3 * section.medium.critical_energy == pytest.approx(critical_energy, rel=5e-3)
    assert section.medium.moliere_radius == pytest.approx(moliere_radius, rel=2e-3)
    assert section.medium.depth_in_radiation_lengths == pytest.approx(t, rel=3e-3)
    assert section.medium.depth_in_interaction_lengths == pytest.approx(s, rel=6e-3)
    assert section.sampling_frequency == pytest.approx(frequency, rel=1e-2)
    assert section.e_over_mip == pytest.approx(e_over_mip, rel=1e-3)
    assert section.mip_sampling_fraction == pytest.approx(fraction, rel=7e-3)


@pytest.mark.physics
@pytest.mark.parametrize("text", EFFECTIVE_MEDIA)
def test_effective_media(text: str) -> None:
    check_medium(section_of(text), text)


@pytest.mark.physics
@pytest.mark.parametrize(("preset", "group"), PRESET_MEDIA)
def test_effective_media_of_the_presets(preset: str, group: str) -> None:
    (section,) = (section for section in load_detector(preset).sections if section.name == group)
    check_medium(section, PRESET_MEDIA[preset, group])


@pytest.mark.physics
@pytest.mark.parametrize("text", SAMPLING_CONSTANTS)
def test_sampling_formulas(text: str) -> None:
    section = section_of(text)
    found = (100 * wigmans(section), 100 * del_peso_ros(section))
    assert found == pytest.approx(SAMPLING_CONSTANTS[text], abs=0.3)
    assert section.c_em == del_peso_ros(section)


@pytest.mark.physics
@pytest.mark.parametrize(
    ("name", "n_layers", "depth_x0", "depth_lambda"),
    [
        ("siw-ecal", 30, 24.5, 0.98),
        ("crystal-ecal", 1, 25.8, 1.11),
        ("shashlik", 1, 24.2, 1.11),
        ("ahcal", 38, 47.5, 5.25),
        ("combined", 78, 25.1 + 55.8, 0.99 + 6.04),
    ],
)
def test_presets_have_the_depth_of_what_was_built(
    name: str, n_layers: int, depth_x0: float, depth_lambda: float
) -> None:
    detector = load_detector(name)
    assert detector.name == name
    assert detector.n_layers == n_layers
    assert detector.medium.depth_in_radiation_lengths == pytest.approx(depth_x0, rel=3e-3)
    assert detector.medium.depth_in_interaction_lengths == pytest.approx(depth_lambda, rel=3e-3)
    assert "pi-" in detector.particles


@pytest.mark.physics
@pytest.mark.parametrize(
    ("name", "group", "loss"),
    [("siw-ecal", 0, 3.97), ("siw-ecal", 1, 7.06), ("siw-ecal", 2, 10.2), ("shashlik", 0, 3.37), ("ahcal", 0, 26.2),
     ("combined", 0, 5.67), ("combined", 1, 10.3), ("combined", 2, 24.0)],
)  # fmt: skip
def test_energy_that_a_minimum_ionising_particle_loses_in_a_layer(name: str, group: int, loss: float) -> None:
    assert 1e3 * load_detector(name).sections[group].medium.mip_loss == pytest.approx(loss, rel=5e-3)


@pytest.mark.physics
def test_a_mip_of_the_ahcal_is_the_peak_of_its_signal_on_the_electron_scale() -> None:
    section = load_detector("ahcal").sections[0]
    assert section.mip_signal == pytest.approx(0.0300, rel=5e-3)
    assert section.mip == pytest.approx(0.83 * section.mip_signal)
    # Sampling and photo-electrons together are the 21.9 % of CALICE, JINST 6 (2011) P04003.
    assert math.hypot(section.c_em, section.photo_electrons_per_gev**-0.5) == pytest.approx(0.219, abs=1e-3)


@pytest.mark.physics
def test_thick_plates_fluctuate_more() -> None:
    front, middle, rear = load_detector("siw-ecal").sections
    assert middle.c_em == pytest.approx(math.sqrt(2) * front.c_em)
    assert rear.c_em == pytest.approx(math.sqrt(3) * front.c_em)
    assert front.c_em < 0.166 < middle.c_em


@pytest.mark.parametrize("name", PRESETS)
def test_a_detector_is_recovered_from_its_dictionary(name: str) -> None:
    detector = load_detector(name)
    content = json.loads(json.dumps(detector.as_dict(), allow_nan=False))
    assert parse_detector(content) == detector
    json.dumps(detector.constants(), allow_nan=False)


def test_what_holds_for_all_groups_and_what_for_one() -> None:
    ecal, _, hcal = load_detector("combined").sections
    assert ecal.readout.noise == Quantity(0.13, "MIP")
    assert ecal.readout.photo_electrons is None
    assert hcal.readout.noise == Quantity(0.10, "MIP")
    assert hcal.readout.saturation == Quantity(2668.0, "pixels")
    switched_off = with_readout(noise=0, threshold="0 MeV")
    assert switched_off.sections[0].readout.noise is None
    assert switched_off.sections[0].readout.threshold is None


def with_readout(**values: object) -> Detector:
    return parse_detector(
        {**MINIMAL, "readout": {"noise": "3 MeV", "threshold": "5 MeV"}, "layers": [changed_group(readout=values)]}
    )


def changed_group(**values: object) -> dict[str, Any]:
    return {**MINIMAL["layers"][0], **values}


def test_a_homogeneous_block_samples_everything() -> None:
    section = parse_detector(MINIMAL).sections[0]
    assert section.absorber is None
    assert section.e_over_mip == 1.0
    assert section.mip_sampling_fraction == 1.0
    assert section.c_em == 0.0
    assert math.isinf(section.sampling_frequency)


def test_hadrons_are_legal_where_all_groups_say_how_they_respond() -> None:
    assert "pi-" not in parse_detector(MINIMAL).particles
    assert "pi-" in parse_detector({**MINIMAL, "response": {"c_had": 0.5, "e_over_h": 2.0}}).particles


def test_dead_layers_are_sorted_and_counted_once() -> None:
    content = {**MINIMAL, "layers": [changed_group(repeat=5)], "dead_layers": [4, 0, 4]}
    assert parse_detector(content).dead_layers == (0, 4)


def test_a_detector_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "block.toml"
    file.write_text(
        'name = "block"\n[[layers]]\nname = "glass"\n'
        'block = { material = "lead-glass", thickness = "400 mm", active = true }\n'
    )
    assert load_detector(file) == parse_detector(MINIMAL)


def test_unknown_detectors_and_unreadable_files_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'siw-ecl' is neither a preset nor a file; did you mean 'siw-ecal'"):
        load_detector("siw-ecl")
    with pytest.raises(UsageError, match="neither a preset nor a file"):
        load_detector(tmp_path)
    broken = tmp_path / "broken.toml"
    for content in (b"name = ", b"\xff\xfe", b"name = 1" + b"0" * 5000):
        broken.write_bytes(content)
        with pytest.raises(UsageError, match=r"broken.toml: not a readable TOML file") as caught:
            load_detector(broken)
        assert "\n" not in str(caught.value)


def changed(path: str, value: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(MINIMAL))
    *steps, last = path.split(".")
    place: Any = content
    for step in steps:
        place = place[0] if step == "0" else place.setdefault(step, {})
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nmae", "x", "x.toml: unknown key 'nmae'; did you mean 'name'"),
        ("name", "", "x.toml: name = '' is not a non-empty string"),
        ("layers", [], "x.toml: layers = [] is not an array with at least one table"),
        ("layers", [3], "x.toml: layers[0]: expected a table, got 3"),
        ("layers", [{}], "x.toml: layers[0]: name is missing"),
        ("layers", [{"name": "a"}], "x.toml: layers.a: no slices; add one such as"),
        ("layers", [MINIMAL["layers"][0]] * 2, "layers: two groups are called 'glass'"),
        ("layers.0.name", "A b", "x.toml: layers[0]: name = 'A b' is not legal: lower-case letters, digits and -"),
        ("layers.0.repeat", 0, "x.toml: layers.glass: repeat = 0 is not a whole number from 1 to 1000"),
        ("layers.0.repeat", True, "repeat = True is not a whole number"),
        ("layers.0.repaet", 3, "x.toml: layers.glass: unknown key 'repaet'; did you mean 'repeat'"),
        ("layers.0.layers_per_readout", 2, "layers_per_readout = 2 does not divide repeat = 1"),
        ("layers.0.cells", 5, "x.toml: layers.glass: cells and cell_size go together"),
        ("layers.0.cell_size", "1 cm", "cells and cell_size go together"),
        ("layers.0.repsonse", {"c_em": 0.1}, "layers.glass.repsonse: material is missing; tables here are slices"),
        ("layers.0.Lead", LEAD, "layers.glass.Lead: name 'Lead' is not legal"),
        ("layers.0.lead", {"material": "Pb"}, "x.toml: layers.glass.lead: thickness is missing"),
        ("layers.0.lead", {**LEAD, "colour": 3}, "layers.glass.lead: unknown key 'colour'; legal: material"),
        ("layers.0.lead", {**LEAD, "thickness": "6 cm"}, "6 cm of Pb are 10.7 X0, and a shower ends inside it"),
        ("layers.0.block.material", "leadglass", "block: material: unknown material 'leadglass'; did you mean 'lead-"),
        ("layers.0.block.thickness", "0 mm", "thickness = '0 cm' is not between 1e-6 mm and 1000 m"),
        ("layers.0.block.thickness", 0, "thickness = '0 cm' is not between"),
        ("layers.0.block.thickness", "-1 mm", "layers.glass.block: thickness = '-1 mm' is negative"),
        ("layers.0.block.thickness", 4, 'thickness = 4 has no unit: write "4 mm"; legal: mm, cm, um, m'),
        ("layers.0.block.active", False, "x.toml: layers.glass: no slice is active; mark at least one"),
        ("layers.0.block.active", 1, "active = 1 is neither true nor false"),
        ("layers.0.response.e_over_h", 0, "layers.glass.response: e_over_h = 0 is not a number that is above 0"),
        ("layers.0.response.c_had", 0.4, "layers.glass: response: c_had and e_over_h go together"),
        ("layers.0.response.e_over_h", 1.4, "c_had and e_over_h go together"),
        ("response", 3, "x.toml: response: expected a table, got 3"),
        ("response.c_me", 0.1, "x.toml: response: unknown key 'c_me'; did you mean 'c_em'"),
        ("response.c_em", -0.1, "x.toml: response: c_em = -0.1 is not a number that is at least 0"),
        ("response.c_em", 10**400, "is not a number that is at least 0"),
        ("response.c_em", "wigman", "response: c_em: unknown formula 'wigman'; did you mean 'wigmans'"),
        ("response.c_em_absorber", 0.6, 'response: c_em_absorber = 0.6 has no unit: write "0.6 X0"'),
        ("response.mip_peak", 1.2, "mip_peak = 1.2 is not a number that is above 0 and at most 1"),
        ("response.mip_peak", 0, "mip_peak = 0 is not a number that is above 0"),
        ("response.kappa", float("nan"), "kappa = nan is not a finite number"),
        ("readout.noise", "-0.1 MIP", "x.toml: readout: noise = '-0.1 MIP' is negative"),
        ("readout.noise", "0.1 mm", "noise = '0.1 mm' has a unit that is not legal; legal: MIP, MeV"),
        ("readout.photo_electrons", 15, 'photo_electrons = 15 has no unit: write "15 /MIP"'),
        ("readout.saturation", "1156 pixels", "layers.glass: readout: saturation in pixels needs photo_electrons"),
        ("readout.excess_noise", 0.9, "excess_noise = 0.9 is not a number that is at least 1"),
        ("readout.dead_cells", 1, "dead_cells = 1 is not a number that is at least 0 and below 1"),
        ("readout.calibration_smear", 2, "calibration_smear = 2 is not a number that is at least 0 and below 1"),
        ("readout.summed_cells", 0, "summed_cells = 0 is not a whole number from 1"),
        ("calibration_seed", 1.5, "calibration_seed = 1.5 is not a whole number"),
        ("dead_layers", [1], "x.toml: dead_layers: 1 is not a whole number from 0 to 0"),
        ("dead_layers", [-1], "dead_layers: -1 is not a whole number"),
        ("dead_layers", 0, "dead_layers = 0 is not an array of whole numbers"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(path: str, value: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_detector(changed(path, value), where="x.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_kappa_is_for_homogeneous_groups() -> None:
    content = {
        "name": "stack",
        "response": {"kappa": "10 MeV"},
        "layers": [{"name": "a", "pb": LEAD, "sc": SCINTILLATOR}],
    }
    with pytest.raises(UsageError, match=r"layers\.a: response: kappa is for homogeneous groups"):
        parse_detector(content)


_VALUES = st.one_of(
    st.integers(-3, 2000),
    st.floats(),
    st.lists(st.integers(-2, 3), max_size=3),
    st.sampled_from(
        [True, False, "", "x", "1 mm", "0.1 MIP", "15 /MIP", "9 pixels", "2 X0", "1 GeV", "Pb", "Si", "wigmans"]
    ),
)
_FIELDS = ("c_em", "c_em_absorber", "c_had", "e_over_h", "mip_peak", "kappa", "noise", "saturation", "photo_electrons")
_SLICES = st.fixed_dictionaries({}, optional=dict.fromkeys(("material", "thickness", "active"), _VALUES))
_GROUPS = st.dictionaries(
    st.sampled_from(["name", "repeat", "layers_per_readout", "cells", "cell_size", "response", "readout", "lead"]),
    st.one_of(_VALUES, _SLICES, st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=3)),
)


@given(_GROUPS, st.dictionaries(st.sampled_from(["response", "readout", "dead_layers", "calibration_seed"]), _VALUES))
def test_whatever_a_file_holds_is_a_detector_or_a_usage_error(group: dict[str, Any], top: dict[str, Any]) -> None:
    content = {**MINIMAL, **top, "layers": [changed_group(**group)]}
    try:
        detector = parse_detector(content)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - an error is one of two good ends
        return
    json.dumps(detector.constants(), allow_nan=False)
    assert parse_detector(detector.as_dict()) == detector


def test_naming_a_detector_loads_no_tensor_library() -> None:
    code = "import sys, calomlp.simulation as s; s.load_detector(s.PRESETS[0]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
