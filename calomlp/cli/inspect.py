"""Show what is in a ROOT file, a model, a report or a detector, and what to run next.

A ROOT file: its trees, their branches with a look at the first events. A model: its network, features, cut and split,
the files and how training went, the settings that are not the defaults. A report: the resolution, its terms and the
linearity of every curve. A detector (siw-ecal, crystal-ecal, shashlik, ahcal, combined, or a TOML file of your own):
depths, effective media and sampling of every group of layers; --set tries out a change.

calomlp inspect testbeam.root

calomlp inspect testbeam.root:raw/hits --json

calomlp inspect model.safetensors

calomlp evaluate model.safetensors | calomlp inspect -

calomlp inspect combined --set layers.hcal.absorber.thickness=25mm
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calomlp.errors import ArtefactError, UsageError, did_you_mean
from calomlp.settings import setting
from calomlp.streams import STDIN, SUFFIXES, Record, kind_of_file

if TYPE_CHECKING:
    from calomlp.cli.session import Session
    from calomlp.data.sources import Source
    from calomlp.plotting.sections import Section, Table

_DETECTORS = ("", ".toml")
"""How names of files that describe a detector end."""

_DATA_MARKS = (*SUFFIXES, "://", "*", "?", "[")
"""What is in no name of a detector."""


@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """Settings of ``calomlp inspect``."""

    source: str = setting(
        "",
        "A ROOT file, file.root:tree, a URL, a model, a report or -; or a detector: a preset or a TOML file.",
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
    """Look at what was named, be it data, a model, a report or a detector."""
    from calomlp.data.sources import resolve
    from calomlp.simulation.detector_file import PRESETS

    name = settings.source
    if not name:
        raise UsageError(
            "nothing was named: give a ROOT file, a model, a report, a TOML file, or a detector: "
            f"{did_you_mean('', PRESETS)}"
        )
    if Path(name).is_file() and not kind_of_file(name) and Path(name).suffix not in _DETECTORS:
        raise UsageError(
            f"{name}: none of what inspect shows, which are ROOT files, models, reports as JSON, and detectors as TOML"
        )
    if name in PRESETS or _is_detector(name):
        _inspect_detector(session, settings)
        return
    if settings.set:
        raise UsageError(f"--set changes a detector, which {name} is not")
    source, *others = resolve([name], session.streams)
    if others:
        raise UsageError(f"{name} stands for {1 + len(others)} files: name one of them, such as {source.label}")
    inspect = {"model": _inspect_model, "report": _inspect_report}.get(kind_of_file(source.path), _inspect_data)
    inspect(session, source)


def _is_detector(name: str) -> bool:
    """Tell whether a name that is no preset can only be meant for a detector."""
    if Path(name).is_file():
        return not kind_of_file(name)
    return not (name == "-" or name.startswith("@") or any(mark in name for mark in _DATA_MARKS))


def _inspect_data(session: Session, source: Source) -> None:
    """Look into a ROOT file."""
    from calomlp.data.root import open_file
    from calomlp.data.suggestions import suggest, summarise
    from calomlp.plotting.inspect_sections import data_sections
    from calomlp.plotting.render import text_blocks

    with open_file(source) as file:
        trees = summarise(file, session.run.interrupt)
    suggestions = suggest(trees, source, _argument(source))
    summary = {
        "trees": [tree.as_dict() for tree in trees],
        "suggestions": asdict(suggestions) if suggestions else None,
    }
    proposal = (suggestions.sentences, suggestions.command) if suggestions else ((), None)
    sections = data_sections(source.label, trees, *proposal)
    _answer(session, Record("inspect", "dataset", str(source), summary), text_blocks(sections))


def _inspect_model(session: Session, source: Source) -> None:
    """Look at all that a model records but its weights."""
    from calomlp.model.file import read_header
    from calomlp.plotting.inspect_sections import evaluate_command, model_sections
    from calomlp.plotting.render import text_blocks

    with _damage(source, "model"):
        document = read_header(source.path, source.label)
        command = evaluate_command(document, _argument(source))
        blocks = text_blocks([*model_sections(document, source.label), _next(command)])
        record = Record("inspect", "model", source.label, {"model": document, **_suggest(command)})
    _answer(session, record, blocks)


def _inspect_report(session: Session, source: Source) -> None:
    """Look at what a report comes to."""
    from calomlp.evaluation.report import REPORT_SCHEMA, read_report
    from calomlp.plotting.render import text_blocks
    from calomlp.plotting.sections import Section, Text, report_sections

    command = shlex.join(["calomlp", "plot", _argument(source), "-o", "figures/"])
    with _damage(source, "report"):
        report = read_report(source.path, source.label)
        head = Section("report", "", [Text(f"{source.label}: report, {REPORT_SCHEMA}")])
        sections = reversed(report_sections(report))  # what matters most is nearest to the prompt
        blocks = text_blocks([head, *sections, _next(command)])
        summary = {"report": report.brief(), **_suggest(command)}
        record = Record("inspect", "report", source.label, summary)
    _answer(session, record, blocks)


@contextmanager
def _damage(source: Source, kind: str) -> Iterator[None]:
    """Say that an artefact is damaged where it lacks what every one of its kind has, or has it in another form.

    Raises:
        ArtefactError: Instead of what went wrong.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArtefactError(f"{source.label}: this {kind} is damaged: {type(error).__name__}: {error}") from error


def _suggest(command: str) -> dict[str, Any]:
    return {"suggestions": {"command": command}}


def _inspect_detector(session: Session, settings: InspectSettings) -> None:
    """Load a detector and show its constants."""
    from calomlp.plotting.inspect_sections import detector_sections
    from calomlp.plotting.render import text_blocks
    from calomlp.simulation.detector_file import load_detector

    detector = load_detector(settings.source, settings.set)
    summary = {
        "name": detector.name,
        "description": detector.description,
        "particles": detector.particles,
        **detector.constants(),
        "detector": detector.as_dict(),
    }
    _answer(session, Record("inspect", "detector", settings.source, summary), text_blocks(detector_sections(detector)))


def _argument(source: Source) -> str:
    """Return what the next command calls a file."""
    return "-" if source.label == STDIN else source.label


def _next(command: str) -> Section:
    """Return what to run next."""
    from calomlp.plotting.sections import Code, Section

    return Section("next", "", [Code(command)])


def _answer(session: Session, record: Record, blocks: list[str | Table]) -> None:
    """Give a program the record, and a person the blocks."""
    if session.json:
        session.streams.print_line(record.to_json())
        return
    from calomlp.cli.console import print_blocks

    print_blocks(blocks, session.streams)
