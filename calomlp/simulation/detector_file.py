"""Detectors from TOML files; those in ``presets/`` are known by name.

No tensor library is needed here, so that a command line can name, check and describe detectors without loading one.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calomlp.errors import UsageError, did_you_mean
from calomlp.simulation.detector import HADRONS, Detector, Hadrons, Readout, Section
from calomlp.simulation.materials import material
from calomlp.simulation.media import Slice
from calomlp.simulation.toml_table import TomlTable

if TYPE_CHECKING:
    from collections.abc import Mapping

_PRESET_FILES = resources.files("calomlp.simulation") / "presets"
PRESETS: tuple[str, ...] = tuple(
    sorted(file.name.removesuffix(".toml") for file in _PRESET_FILES.iterdir() if file.name.endswith(".toml"))
)
"""Names of the detectors that come with the package."""


def load_detector(name_or_path: str | Path) -> Detector:
    """Return the preset of that name, or the detector that a TOML file describes.

    Raises:
        UsageError: No such preset or file, or the file does not describe a detector.
    """
    name = str(name_or_path)
    file = _PRESET_FILES / f"{name}.toml" if name in PRESETS else Path(name)
    if not file.is_file():
        raise UsageError(f"detector {name!r} is neither a preset nor a file; {did_you_mean(name, PRESETS)}")
    try:
        return parse_detector(tomllib.loads(file.read_text(encoding="utf-8")), where=name)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{name}: not a readable TOML file: {error}") from error


def parse_detector(content: Mapping[str, Any], *, where: str) -> Detector:
    """Build a detector from the content of its TOML file.

    Args:
        content: The parsed TOML document.
        where: Name of the file, for error messages.

    Raises:
        UsageError: A key is unknown or missing, or a value is not legal.
    """
    with TomlTable(content, where) as table:
        sections = tuple(
            _parse_section(section, f"{where}: sections[{i}]") for i, section in enumerate(table.items("sections"))
        )
        detector = Detector(
            name=table.text("name"),
            description=table.text("description", ""),
            sections=sections,
            readout=_parse_readout(table.table("readout")),
            hadrons=_parse_hadrons(table.table("hadrons")) if table.has("hadrons") else None,
        )
    if len({section.homogeneous for section in sections}) > 1:
        raise UsageError(f"{where}: homogeneous and sampling sections in one detector; c_em holds for one kind only")
    if detector.readout.kappa and not detector.homogeneous:
        raise UsageError(f"{where}: readout: kappa_gev is for homogeneous media, where every slice is active")
    return detector


def _parse_section(content: object, where: str) -> Section:
    with TomlTable(content, where) as table:
        slices = tuple(_parse_slice(piece, f"{where}: slices[{i}]") for i, piece in enumerate(table.items("slices")))
        section = Section(
            name=table.text("name"),
            slices=slices,
            repeat=table.count("repeat", 1),
            layers_per_readout=table.count("layers_per_readout", 1),
        )
    if not any(piece.active for piece in slices):
        raise UsageError(f"{where}: no slice is active; mark at least one with active = true")
    if section.repeat % section.layers_per_readout:
        raise UsageError(
            f"{where}: layers_per_readout = {section.layers_per_readout} does not divide repeat = {section.repeat}"
        )
    return section


def _parse_slice(content: object, where: str) -> Slice:
    with TomlTable(content, where) as table:
        return Slice(
            material=material(table.text("material"), where=table.place("material")),
            thickness=0.1 * table.number("thickness_mm", positive=True),
            active=table.flag("active", default=False),
        )


def _parse_readout(content: TomlTable) -> Readout:
    with content as table:
        return Readout(
            c_em=table.number("c_em", positive=True),
            noise_mip=table.number("noise_mip", 0.0),
            noise_gev=table.number("noise_gev", 0.0),
            cells_per_layer=table.count("cells_per_layer", 1),
            calibration_smear=table.number("calibration_smear", 0.0),
            calibration_seed=table.count("calibration_seed", 1),
            non_uniformity=table.number("non_uniformity", 0.0),
            kappa=table.number("kappa_gev", 0.0),
        )


def _parse_hadrons(content: TomlTable) -> Hadrons:
    with content as table:
        particles = tuple(table.items("particles"))
        hadrons = Hadrons(
            particles=particles,
            e_over_h=table.number("e_over_h", positive=True),
            c_had=table.number("c_had", positive=True),
            mip_peak=table.number("mip_peak", positive=True),
        )
        for particle in particles:
            if particle not in HADRONS:
                raise UsageError(
                    f"{table.place('particles')}: {particle!r} is no hadron that can be simulated; "
                    f"{did_you_mean(str(particle), HADRONS)}"
                )
        if hadrons.mip_peak > 1:
            raise UsageError(f"{table.place('mip_peak')} = {hadrons.mip_peak} is above 1: the peak lies below the mean")
    return hadrons
