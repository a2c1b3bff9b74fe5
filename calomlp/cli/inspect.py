"""Show what is in a ROOT file and how to train on it, or what a detector amounts to.

A ROOT file: its trees, their branches with a look at the first events, and a command to begin with. A detector
(siw-ecal, crystal-ecal, shashlik, ahcal, combined, or a TOML file of your own): depths, effective media and sampling of
every group of layers; --set tries out a change.

calomlp inspect testbeam.root

calomlp inspect testbeam.root:raw/hits --json

calomlp inspect combined --set layers.hcal.absorber.thickness=25mm
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calomlp.errors import UsageError, did_you_mean
from calomlp.settings import setting
from calomlp.streams import STDIN, Record

if TYPE_CHECKING:
    from calomlp.cli.session import Session
    from calomlp.data.sources import Source
    from calomlp.data.suggestions import Suggestions
    from calomlp.data.summary import TreeSummary
    from calomlp.plotting.tables import Table
    from calomlp.simulation.detector import Detector, Section

_WIDTH = 80
_GROUPS_PER_TABLE = 4
_DATA_MARKS = (".root", "://", "*", "?", "[")
"""What is in no name of a detector."""


@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """What ``calomlp inspect`` can be asked for."""

    source: str = setting(
        "",
        "A ROOT file, file.root:tree, a URL or -; or a detector: a preset or a TOML file.",
        positional=True,
        metavar="SOURCE",
    )
    set: tuple[str, ...] = setting(
        (),
        "Replace a value of a detector: layers.absorber.thickness=3mm, readout.noise=0.2MIP; repeatable.",
        metavar="PATH=VALUE",
    )


SETTINGS = InspectSettings


def run(session: Session, settings: InspectSettings) -> None:
    """Look at what was named, be it data or a detector."""
    from calomlp.data.sources import resolve
    from calomlp.simulation.detector_file import PRESETS

    name = settings.source
    if not name:
        raise UsageError(
            f"nothing was named: give a ROOT file, a TOML file, or a detector: {did_you_mean('', PRESETS)}"
        )
    if name in PRESETS or _is_detector(name):
        _inspect_detector(session, settings)
        return
    if settings.set:
        raise UsageError(f"--set changes a detector, which {name} is not")
    source, *others = resolve([name], session.streams)
    if others:
        raise UsageError(f"{name} stands for {1 + len(others)} files: name one of them, such as {source.label}")
    kind = _kind(source.path)
    if kind in ("model", "report"):
        raise UsageError(f"{source.label} is a {kind}: so far, only ROOT files and detectors can be inspected")
    _inspect_data(session, source)


def _is_detector(name: str) -> bool:
    """Tell whether a name that is no preset can only be meant for a detector."""
    if Path(name).is_file():
        return not (_kind(name) or name.endswith(".root"))
    return not (name == "-" or name.startswith("@") or any(mark in name for mark in _DATA_MARKS))


def _kind(path: str) -> str:
    """Return what a file is by how it begins; nothing if that does not tell."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(16)
    except OSError:
        return ""
    if head.startswith(b"root\0"):  # text may begin with root: as well
        return "dataset"
    if head.lstrip().startswith(b"{"):
        return "report"
    return "model" if head[8:9] == b"{" else ""  # eight bytes of length, then the JSON header


def _inspect_data(session: Session, source: Source) -> None:
    """Look into a ROOT file."""
    from calomlp.data.reader import open_file
    from calomlp.data.suggestions import suggest
    from calomlp.data.summary import summarise

    with open_file(source) as file:
        trees = summarise(file, session.interrupt)
    path = "-" if source.label == STDIN else source.label
    suggestions = suggest(trees, path, named=source.tree is not None)
    if session.json:
        summary = {
            "trees": [tree.as_dict() for tree in trees],
            "suggestions": suggestions.as_dict() if suggestions else None,
        }
        session.streams.print_line(Record("inspect", "dataset", str(source), summary).to_json())
    else:
        _show_data(session, source, trees, suggestions)


def _show_data(session: Session, source: Source, trees: list[TreeSummary], suggestions: Suggestions | None) -> None:
    """Draw the trees and their branches on the terminal, and say what they suggest."""
    from calomlp.cli.console import print_tables
    from calomlp.plotting.tables import branch_tables, tree_table

    session.streams.print_line(source.label)
    print_tables([("", tree_table(trees)), *branch_tables(trees)], [])
    if suggestions is None:
        return
    for line in suggestions.sentences:
        session.streams.print_line(textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    session.streams.print_line(suggestions.command)  # in one piece, so that it can be copied


def _inspect_detector(session: Session, settings: InspectSettings) -> None:
    """Load a detector and show its constants."""
    from calomlp.simulation.detector_file import load_detector

    detector = load_detector(settings.source, settings.set)
    if not session.json:
        _show_detector(session, detector)
        return
    summary = {
        "name": detector.name,
        "description": detector.description,
        "particles": detector.particles,
        **detector.constants(),
        "detector": detector.as_dict(),
    }
    session.streams.print_line(Record("inspect", "detector", settings.source, summary).to_json())


def _show_detector(session: Session, detector: Detector) -> None:
    """Draw the constants of a detector on the terminal."""
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
    from calomlp.plotting.tables import Table

    columns = [_column(section) for section in sections]
    rows = tuple((quantity, *(column[quantity] for column in columns)) for quantity in columns[0])
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
