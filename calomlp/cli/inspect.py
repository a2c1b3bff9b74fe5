"""Show what a detector amounts to: depths, effective media and sampling of every group of layers.

Detectors: siw-ecal, crystal-ecal, shashlik, ahcal, combined, or a TOML file of your own; --set tries out a change.

calomlp inspect siw-ecal

calomlp inspect combined --set layers.hcal.absorber.thickness=25mm

calomlp inspect my-detector.toml --json
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from calomlp.errors import UsageError, did_you_mean
from calomlp.settings import setting
from calomlp.streams import Record

if TYPE_CHECKING:
    from calomlp.cli.session import Session
    from calomlp.plotting.tables import Table
    from calomlp.simulation.detector import Detector, Section

_WIDTH = 80
_GROUPS_PER_TABLE = 4


@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """What ``calomlp inspect`` can be asked for."""

    detector: str = setting("", "A preset, or a TOML file.", positional=True, metavar="DETECTOR")
    set: tuple[str, ...] = setting(
        (), "Replace a value: layers.absorber.thickness=3mm, readout.noise=0.2MIP; repeatable.", metavar="PATH=VALUE"
    )


SETTINGS = InspectSettings


def run(session: Session, settings: InspectSettings) -> None:
    """Load the detector and show its constants."""
    from calomlp.simulation.detector_file import PRESETS, load_detector

    if not settings.detector:
        raise UsageError(f"no detector was named: {did_you_mean('', PRESETS)}, or a TOML file")
    detector = load_detector(settings.detector, settings.set)
    if not session.json:
        _show(session, detector)
        return
    summary = {
        "name": detector.name,
        "description": detector.description,
        "particles": detector.particles,
        **detector.constants(),
        "detector": detector.as_dict(),
    }
    session.streams.print_line(Record("inspect", "detector", settings.detector, summary).to_json())


def _show(session: Session, detector: Detector) -> None:
    """Draw the tables on the terminal."""
    from calomlp.cli.console import print_tables

    medium, sections = detector.medium, detector.sections
    depths = (
        f"{medium.thickness:.4g} cm = {medium.depth_in_radiation_lengths:.3g} X0 = "
        f"{medium.depth_in_interaction_lengths:.3g} lambda"
    )
    plural = "s" if detector.n_layers > 1 else ""
    for line in (
        f"{detector.name}: {detector.description}" if detector.description else detector.name,
        f"{detector.n_layers} readout layer{plural}, {depths}",
        f"particles: {', '.join(detector.particles)}",
    ):
        session.streams.print_line(textwrap.fill(line, _WIDTH, subsequent_indent="  "))
    starts = range(0, len(sections), _GROUPS_PER_TABLE)
    print_tables([("", _table(sections[start : start + _GROUPS_PER_TABLE])) for start in starts], [])


def _table(sections: tuple[Section, ...]) -> Table:
    """Return one column for each group of layers, one row for each quantity."""
    from rich.markup import escape

    from calomlp.plotting.tables import Table

    columns = [_column(section) for section in sections]
    # A table on a terminal takes [cm] for markup.
    rows = tuple((escape(quantity), *(column[quantity] for column in columns)) for quantity in columns[0])
    return Table(("group of layers", *(section.name for section in sections)), rows)


def _column(section: Section) -> dict[str, str]:
    """Return the constants of a group of layers by their names with units, as text."""
    from calomlp.plotting.tables import NONE

    medium, sampling = section.medium, not section.homogeneous
    noise = section.energy(section.readout.noise)
    return {
        "readout layers": f"{section.n_readouts}",
        "layers per readout": f"{section.layers_per_readout}",
        "depth of a layer [X0]": _three_digits(medium.depth_in_radiation_lengths),
        "depth of a layer [lambda]": _three_digits(medium.depth_in_interaction_lengths),
        "X0 [cm]": f"{medium.radiation_length:.3f}",
        "lambda [cm]": f"{medium.interaction_length:.1f}",
        "R_M [cm]": f"{medium.moliere_radius:.2f}",
        "Ec [MeV]": f"{1e3 * medium.critical_energy:.2f}",
        "Z": f"{medium.Z:.1f}",
        "Fs [layers/X0]": f"{section.sampling_frequency:.2f}" if sampling else NONE,
        "e/mip": f"{section.e_over_mip:.3f}",
        "f_mip [%]": _three_digits(100 * section.mip_sampling_fraction),
        "1 MIP [MeV]": _three_digits(1e3 * section.mip),
        "c_em [% sqrt(GeV)]": f"{100 * section.c_em:.1f}",
        "c_had [% sqrt(GeV)]": f"{100 * section.c_had:.0f}" if section.c_had else NONE,
        "e/h": f"{section.response.e_over_h:.3g}" if section.response.e_over_h else NONE,
        "noise of a cell [MeV]": _three_digits(1e3 * noise) if noise else NONE,
        "cells": f"{section.cells} x {section.cells}" if section.cells else NONE,
        "cell size [cm]": f"{section.cell_size:g}" if section.cells else NONE,
    }


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".removesuffix(".")
