from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from calomlp.errors import UsageError
from calomlp.simulation import PRESETS, load_detector
from calomlp.simulation.detector import Section
from calomlp.simulation.detector_file import parse_detector
from calomlp.simulation.materials import MATERIALS
from calomlp.simulation.media import Slice

if TYPE_CHECKING:
    from pathlib import Path

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

MINIMAL: dict[str, Any] = {
    "name": "block",
    "sections": [{"name": "lead glass", "slices": [{"material": "lead-glass", "thickness_mm": 400, "active": True}]}],
    "readout": {"c_em": 0.05},
}


def section_of(text: str) -> Section:
    words = text.split()
    pieces = zip(words[::2], words[1::2], strict=True)
    return Section(
        "", tuple(Slice(MATERIALS[name.strip("*")], 0.1 * float(mm), active="*" in name) for name, mm in pieces), 1
    )


@pytest.mark.physics
@pytest.mark.parametrize("text", EFFECTIVE_MEDIA)
def test_effective_media(text: str) -> None:
    # Averages of Grindhammer & Peters, hep-ex/0001020, of structures that were built; three digits are tabulated.
    x0, critical_energy, moliere_radius, t, s, frequency, e_over_mip, fraction = EFFECTIVE_MEDIA[text]
    section = section_of(text)
    assert section.medium.radiation_length == pytest.approx(x0, rel=2e-3)
    assert 1e3 * section.medium.critical_energy == pytest.approx(critical_energy, rel=5e-3)
    assert section.medium.moliere_radius == pytest.approx(moliere_radius, rel=2e-3)
    assert section.medium.depth_in_radiation_lengths == pytest.approx(t, rel=3e-3)
    assert section.medium.depth_in_interaction_lengths == pytest.approx(s, rel=6e-3)
    assert section.sampling_frequency == pytest.approx(frequency, rel=1e-2)
    assert section.e_over_mip == pytest.approx(e_over_mip, rel=1e-3)
    assert section.mip_sampling_fraction == pytest.approx(fraction, rel=7e-3)


@pytest.mark.physics
@pytest.mark.parametrize(
    ("name", "n_layers", "depth_x0", "depth_lambda"),
    [
        ("siw-ecal", 30, 24.5, 0.98),
        ("crystal-ecal", 1, 25.8, 1.11),
        ("shashlik", 1, 24.2, 1.11),
        ("ahcal", 38, 47.5, 5.25),
    ],
)
def test_presets_have_the_depth_of_the_prototypes(
    name: str, n_layers: int, depth_x0: float, depth_lambda: float
) -> None:
    detector = load_detector(name)
    assert detector.name == name
    assert detector.n_layers == n_layers
    assert detector.medium.depth_in_radiation_lengths == pytest.approx(depth_x0, rel=3e-3)
    assert detector.medium.depth_in_interaction_lengths == pytest.approx(depth_lambda, rel=3e-3)


@pytest.mark.physics
def test_a_minimum_ionising_particle_loses_26_mev_in_a_layer_of_the_ahcal() -> None:
    section = load_detector("ahcal").sections[0]
    assert section.medium.mip_loss == pytest.approx(0.0263, rel=5e-3)
    assert section.mip_signal == pytest.approx(0.0300, rel=5e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_a_detector_is_recovered_from_its_dictionary(name: str) -> None:
    detector = load_detector(name)
    content = json.loads(json.dumps(detector.as_dict()))
    assert parse_detector(content, where="copy") == detector
    json.dumps(detector.constants(), allow_nan=False)


def test_grouped_layers_share_a_readout() -> None:
    detector = load_detector("shashlik")
    six_depths = replace(detector, sections=(replace(detector.sections[0], layers_per_readout=11),))
    assert six_depths.n_layers == 6


def test_a_homogeneous_block_samples_everything() -> None:
    section = parse_detector(MINIMAL, where="minimal").sections[0]
    assert section.absorber is None
    assert section.e_over_mip == 1.0
    assert section.mip_sampling_fraction == 1.0
    assert math.isinf(section.sampling_frequency)


def test_a_detector_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "block.toml"
    file.write_text(
        'name = "block"\n[[sections]]\nname = "glass"\n'
        'slices = [{ material = "lead-glass", thickness_mm = 400, active = true }]\n[readout]\nc_em = 0.05\n'
    )
    assert load_detector(file).sections[0].slices[0].thickness == pytest.approx(40.0)


def test_unknown_detectors_and_unreadable_files_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'siw-ecl' is neither a preset nor a file; did you mean 'siw-ecal'"):
        load_detector("siw-ecl")
    with pytest.raises(UsageError, match="neither a preset nor a file"):
        load_detector(tmp_path)
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(UsageError, match=r"broken.toml: not a readable TOML file: Invalid value"):
        load_detector(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not a readable TOML file"):
        load_detector(broken)


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(MINIMAL))
    place: Any = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


SLICE = ("sections", 0, "slices", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("nmae",), "x", r"x.toml: unknown key 'nmae'; did you mean 'name'"),
        (("name",), "", r"x.toml: name = '' is not a non-empty string"),
        (("sections",), [], r"x.toml: sections = \[\] is not an array with at least one element"),
        (("sections", 0), 3, r"x.toml: sections\[0\]: expected a table, got 3"),
        (("sections", 0, "repeat"), 0, r"x.toml: sections\[0\]: repeat = 0 is not a whole number of at least 1"),
        (("sections", 0, "repeat"), True, r"repeat = True is not a whole number"),
        (("sections", 0, "layers_per_readout"), 2, r"layers_per_readout = 2 does not divide repeat = 1"),
        ((*SLICE, "material"), "lead", r"sections\[0\]: slices\[0\]: material: unknown material 'lead'"),
        ((*SLICE, "thickness_mm"), -1.0, r"slices\[0\]: thickness_mm = -1.0 is not a number above 0"),
        ((*SLICE, "thickness_mm"), 0, r"thickness_mm = 0 is not a number above 0"),
        ((*SLICE, "thickness_mm"), float("nan"), r"thickness_mm = nan is not a number above 0"),
        ((*SLICE, "thickness_mm"), "4", r"thickness_mm = '4' is not a number above 0"),
        ((*SLICE, "active"), False, r"sections\[0\]: no slice is active; mark at least one with active = true"),
        ((*SLICE, "active"), 1, r"active = 1 is neither true nor false"),
        (("readout",), {}, r"x.toml: readout: c_em is missing"),
        (("readout", "noise_mip"), -0.1, r"x.toml: readout: noise_mip = -0.1 is not a number >= 0"),
        (("hadrons",), {"particles": ["mu-"]}, r"x.toml: hadrons: e_over_h is missing"),
        (
            ("hadrons",),
            {"particles": ["mu-"], "e_over_h": 2.0, "c_had": 0.4, "mip_peak": 0.8},
            r"x.toml: hadrons: particles: 'mu-' is no hadron that can be simulated; legal: pi-, pi\+",
        ),
        (
            ("hadrons",),
            {"particles": ["pi-"], "e_over_h": 2.0, "c_had": 0.4, "mip_peak": 1.2},
            r"mip_peak = 1.2 is above 1",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    path: tuple[str | int, ...], value: object, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_detector(changed(path, value), where="x.toml")
    assert "\n" not in str(caught.value)


def test_one_sampling_constant_holds_for_one_kind_of_medium() -> None:
    sampling = load_detector("shashlik").as_dict()
    sampling["readout"]["kappa_gev"] = 0.01
    with pytest.raises(UsageError, match="kappa_gev is for homogeneous media"):
        parse_detector(sampling, where="x.toml")
    mixed = {**MINIMAL, "sections": MINIMAL["sections"] + sampling["sections"]}
    with pytest.raises(UsageError, match="homogeneous and sampling sections in one detector"):
        parse_detector(mixed, where="x.toml")


def test_naming_a_detector_loads_no_tensor_library() -> None:
    code = "import sys, calomlp.simulation as s; s.load_detector(s.PRESETS[0]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
