"""Sections that show a model, an ONNX file, a training that is planned, a detector, or the trees of a ROOT file."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import TYPE_CHECKING, Any

from calomlp.data.choice import by_reason
from calomlp.evaluation.measurement import PERCENT, count
from calomlp.model.outcome import ClosureBin, TrainingOutcome
from calomlp.plotting.render import WIDTH
from calomlp.plotting.sections import (
    NONE,
    Block,
    Code,
    Command,
    Facts,
    Section,
    Table,
    Text,
    file_table,
    first_rows,
    versions,
)
from calomlp.streams import STDIN
from calomlp.training.training_settings import TrainingSettings
from calomlp.units import format_duration, format_size, listed

if TYPE_CHECKING:
    from calomlp.data.suggestions import BranchSummary, TreeSummary
    from calomlp.simulation.detector import Detector, LayerGroup
    from calomlp.training.rehearsal import Rehearsal

_NAMES = 4
_MAX_BRANCHES = 60
_GROUPS_PER_TABLE = 4
_QUANTILES = ("0.1 %", "median", "99.9 %")
PLACEHOLDER = "DATA.root"
"""What stands in the command where the test events of a model are gone."""

_SIDES = {"train": "training", "validation": "validation", "test": "test"}
_FORMULAS = {"ratio": "anchor * exp(network)", "direct": "network", "log": "exp(network)"}
_RECIPE = {"features", "target", "split", "split_by", "cut", "weight", "layout", "missing", "on_bad", "left_out"}
_TRAINING = {"architecture", "envelope", "history", "summary", "settings"}
_KNOWN = _RECIPE | _TRAINING | {"schema", "files", "provenance"}
_MAX_FEATURES = 60
_MAX_RANGES = 30
_MAX_EXTRA = 400


def model_sections(document: Mapping[str, Any], label: str) -> list[Section]:
    """Return what a model records of itself.

    Args:
        document: The document in the header of the file; keys that this version does not know are shown as they are.
        label: What the user calls the file.

    Raises:
        KeyError: If something is missing that every model records; ``TypeError``, ``ValueError`` or ``AttributeError``
            if it is not of the kind that it should be.
    """
    outcome = TrainingOutcome.read(document["summary"])
    files = file_table((file["path"], file["tree"], file["events"]) for file in document["files"])
    blocks = [
        Text(f"{label}: model, {document['schema']}"),
        *_made_by(document["provenance"]),
        Facts(
            [*_network(document, outcome), *_data(document, outcome), *_training(document, outcome), *_extra(document)]
        ),
        _feature_table(document["features"]),
        _range_table(document["envelope"]["features"]),
        _training_table(document["history"], outcome),
        files,
        _settings(document["settings"]),
    ]
    return [Section("model", "", blocks)]


def _made_by(provenance: Mapping[str, Any]) -> list[Block]:
    """Return what made an artefact: versions, and the command if it was made by one."""
    title = f"made by {versions(provenance)}"
    words = provenance.get("command")
    return [Command(words, title)] if words else [Text(title)]


def evaluate_command(document: Mapping[str, Any], path: str) -> str:
    """Return the command that evaluates a model.

    Without data it takes the test side of the training files, which are gone if they came through a pipe.

    Args:
        document: The document in the header of the file.
        path: What the command calls the file.
    """
    gone = any(file["path"] == STDIN for file in document["files"])
    data = [PLACEHOLDER] if gone or not document["envelope"]["n_test"] else []
    return shlex.join(["calomlp", "evaluate", path, *data, "-o", "report.json"])


def _network(document: Mapping[str, Any], outcome: TrainingOutcome) -> list[tuple[str, str]]:
    architecture, spread = document["architecture"], outcome.anchor_spread
    target, columns, energies = architecture["target"], architecture["n_columns"], len(architecture["energy_columns"])
    inputs = f"{columns} inputs"
    if target == "ratio":
        others = f"other columns ({columns - energies}), " if columns > energies else ""
        inputs = f"{columns + 1} inputs: shares of the anchor ({energies}), {others}logarithm of the anchor"
    widths = ", ".join(map(str, architecture["hidden"]))
    hidden = f"hidden layers of {widths} with {architecture['activation']}" if widths else "no hidden layer"
    members = f" in {architecture['members']} networks" if architecture["members"] > 1 else ""
    dropout = f", dropout {architecture['dropout']:g}" if architecture["dropout"] else ""
    terms = f"{PERCENT * spread.stochastic:.1f} %/sqrt(E) (+) {spread.noise:.2g} GeV/E"
    return [
        ("energy", f"{_FORMULAS.get(target, 'not known here')} [GeV] ({target})"),
        ("network", f"{inputs}; {hidden}{dropout}; {count(outcome.parameters)} parameters{members}"),
        ("anchor", f"weighted sum of the columns that are energies ({energies})"),
        ("its spread", f"sigma/E = {terms} (+) {PERCENT * spread.constant:.1f} %"),
        ("calibrated sum", f"{outcome.sum_scale:.5g} * the sum of these energies"),
    ]


def _data(document: Mapping[str, Any], outcome: TrainingOutcome) -> list[tuple[str, str]]:
    envelope, split = document["envelope"], document["split"]
    shares = f"{split['train']:g} training, {split['validation']:g} validation, {split['test']:g} test"
    together = f"; equal {document['split_by']} on one side" if document["split_by"] else ""
    tally = outcome.data
    return [
        ("true energy", f"{document['target']}, {envelope['energy_min']:.4g} to {envelope['energy_max']:.4g} GeV"),
        ("an event is", _event(document["layout"]["explode"], document["layout"]["group_by"])),
        ("cut", document["cut"] or ""),
        ("weight", document["weight"] or ""),
        ("bad values", _bad_values(document["on_bad"], document["missing"])),
        ("split", f"{shares}; seed {split['seed']}{together}"),
        (
            "events",
            ", ".join(f"{count(envelope[f'n_{name}'])} {side}" for name, side in _SIDES.items()),
        ),
        ("left out", "; ".join([*tally.selection(), *tally.losses()])),
        ("no features", "; ".join(_no_features(document.get("left_out", {})))),
        ("warnings", "; ".join(warning.sentence for warning in outcome.warnings)),
    ]


def _no_features(left_out: Mapping[str, str]) -> Iterator[str]:
    """Yield the branches that were left out for each reason."""
    yield from (f"{reason}: {listed(names)}" for reason, names in by_reason(left_out).items())


def _event(explode: str, group_by: str) -> str:
    entry = f"the entries with one {group_by}" if group_by else "an entry"
    return f"an object of {explode} in {entry}" if explode else entry * bool(group_by)


def _bad_values(on_bad: str, missing: list[float]) -> str:
    marks = f"; {', '.join(f'{mark:g}' for mark in missing)} stands for a missing value" if missing else ""
    return {"refuse": "refused", "skip": "leave their event out", "zero": "count as zero"}[on_bad] + marks


def _closure(bins: Sequence[ClosureBin]) -> str:
    """Return the largest deviation of the median response of validation events, before and after the correction."""
    if not bins:
        return ""
    before, after = (PERCENT * max(abs(getattr(bin_, when) - 1) for bin_ in bins) for when in ("before", "after"))
    return f"the median response is within {before:.2f} % of one before the correction, {after:.2f} % after it"


def _training(document: Mapping[str, Any], outcome: TrainingOutcome) -> list[tuple[str, str]]:
    best = f"the best is {outcome.best_epoch}" if outcome.best_epoch else "none better than the start"
    optimiser = f"{document['settings']['optimiser']}, learning rate up to {outcome.learning_rate:.3g}"
    sides = [
        f"{name} {PERCENT * side.resolution:.2f} % (loss {side.loss:.4g}, {count(side.events)} events)"
        for name, side in outcome.sides.items()
    ]
    return [
        ("loss", f"{outcome.loss}, {outcome.validation_loss:.4g} on the validation side"),
        ("epochs", f"{outcome.epochs}, {best}; ended: {outcome.ended}"),
        ("kept", f"{PERCENT * outcome.kept:.0f} % of what the network adds to the start"),
        ("resolution", "; ".join(sides)),
        ("closure", _closure(outcome.closure)),
        ("verdict", "; ".join(outcome.verdicts)),
        ("steps", f"{optimiser}, {outcome.schedule}; batches of {count(outcome.batch_size)}"),
    ]


def _extra(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the document holds besides, as it is."""
    extra = {key: value for key, value in document.items() if key not in _KNOWN and value not in (None, "", [], {})}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in extra.items()}
    return [(key, textwrap.shorten(text, _MAX_EXTRA, placeholder=" ...")) for key, text in texts.items()]


def _feature_table(features: list[dict[str, Any]]) -> Table:
    rows = [
        (item["expression"], " x ".join(map(str, item["shape"])), "yes" if item["energy"] else NONE)
        for item in features
    ]
    return Table(("feature", "shape", "energy of the anchor"), first_rows(rows, _MAX_FEATURES), "Features")


def _range_table(columns: list[dict[str, Any]]) -> Table:
    """Return the quantiles of each column of the features."""
    rows = [(item["name"], *(f"{item[value]:.4g}" for value in ("low", "median", "high"))) for item in columns]
    header = ("column", *_QUANTILES)
    return Table(header, first_rows(rows, _MAX_RANGES), "Range of their columns in training")


def _training_table(history: list[dict[str, float]], outcome: TrainingOutcome) -> Table:
    """Return the first epoch, the best and the last; the start is the best where no epoch was better."""
    best = outcome.best_epoch
    start = [] if best else [("0 (best)", NONE, f"{outcome.validation_loss:.4g}", NONE, NONE)]
    rows = [
        (
            f"{entry['epoch']}{' (best)' if entry['epoch'] == best else ''}",
            f"{entry['train_loss']:.4g}",
            f"{entry['validation_loss']:.4g}",
            f"{PERCENT * entry['validation_resolution']:.2f}",
            f"{entry['learning_rate']:.2g}",
        )
        for entry in history
        if entry["epoch"] in (1, best, len(history))
    ]
    header = ("epoch", "training: loss", "validation: loss", "validation: sigma_68 [%]", "learning: rate")
    return Table(header, (*start, *rows), "Training")


def _settings(settings: Mapping[str, Any]) -> Block:
    """Return the settings that are not this version's defaults, as the table of a configuration file."""
    defaults = {item.name: json.loads(json.dumps(item.default)) for item in fields(TrainingSettings)}
    order = [*defaults, *settings]  # what this version does not know comes last
    changed = {name: settings[name] for name in order if name in settings and settings[name] != defaults.get(name)}
    if not changed:
        return Text("All settings are the defaults.")
    lines = "\n".join(_toml_line(name, value) for name, value in changed.items())
    return Code(f"Settings that differ from the defaults\n\n[train]\n{lines}\n")


def _toml_line(name: str, value: Any) -> str:
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    if len(line) <= WIDTH or not isinstance(value, list):
        return line
    items = "".join(f"  {json.dumps(item, ensure_ascii=False)},\n" for item in value)
    return f"{name} = [\n{items}]"


def export_sections(contract: Mapping[str, Any], path: str) -> list[Section]:
    """Return the contract of an ONNX file.

    Args:
        contract: As :class:`calomlp.model.export.Export` has it.
        path: The file.
    """
    verification, selection, limits = contract["verification"], contract["selection"], contract["range"]
    worst = ", ".join(f"{name} {deviation:.1e}" for name, deviation in verification["deviations"].items())
    layout = ", ".join(f"{key} {value}" for key, value in selection["layout"].items() if value)
    rows = [
        ("input", f"{contract['input']['name']}, float32 [events, {len(contract['columns'])}]"),
        *((item["name"], f"float32 [events], {item['unit']}: {item['is']}") for item in contract["outputs"]),
        ("trained", f"from {limits['energy_min']:g} to {limits['energy_max']:g} {limits['unit']}"),
        ("cut", selection["cut"] or ""),
        ("an event", layout),
        ("missing", ", ".join(f"{value:g}" for value in selection["missing"])),
        ("verified", f"on {count(verification['events'])} {verification['origin']}, by {verification['runtime']}"),
        ("deviation", f"at most {worst}; tolerance {verification['tolerance']:.0e}"),
    ]
    blocks: list[Block] = [
        Text(f"{path}: ONNX, opset {contract['opset']}"),
        Facts(rows),
        _columns(contract["columns"]),
        Text(f"Units are {contract['units']}."),
    ]
    return [Section("export", "", blocks)]


def _columns(columns: list[Mapping[str, Any]]) -> Table:
    rows = [
        (
            column["name"],
            str(number),
            "yes" if column["energy"] else "",
            *(f"{column[key]:.4g}" for key in ("low", "median", "high")),
        )
        for number, column in enumerate(columns)
    ]
    header = ("feature", "column", "energy", *_QUANTILES)
    title = "Columns of the input, to be computed outside of the graph"
    return Table(header, first_rows(rows, _MAX_FEATURES), title)


def rehearsal_sections(rehearsal: Rehearsal) -> list[Section]:
    """Return a line for each thing that is known before a training begins."""
    plan = rehearsal.plan
    sides = ", ".join(f"{count(events)} {side}" for side, events in rehearsal.events.items())
    reading = format_duration(rehearsal.reading_seconds)
    where = "on disk" if rehearsal.on_disk else "in memory"
    fewer = "; fewer if --patience ends them" if plan.patience < plan.epochs else ""
    members = f" in {rehearsal.members} networks" if rehearsal.members > 1 else ""
    rows = [
        ("files", f"{rehearsal.files}, with {count(rehearsal.read)} events"),
        ("events", sides),
        ("left out", "; ".join(rehearsal.left_out)),
        ("features", f"{listed(rehearsal.features, _NAMES)}; {count(rehearsal.columns)} columns"),
        ("network", f"{count(len(rehearsal.inputs))} inputs, {count(plan.parameters)} parameters{members}"),
        ("inputs", listed(rehearsal.inputs, _NAMES)),
        ("steps", f"{count(plan.batch_size)} events in each, {count(rehearsal.steps_per_epoch)} in an epoch"),
        ("epochs", f"{count(plan.epochs)}, which are {count(rehearsal.steps)} steps{fewer}"),
        ("learning rate", f"{plan.learning_rate:.3g} at most: {plan.rule}"),
        ("schedule", f"{plan.schedule}, of {plan.optimiser}"),
        ("threads", f"{plan.threads}"),
        ("memory", f"{format_size(rehearsal.bytes)} for events and inputs, {where}"),
        ("time", f"about {format_duration(rehearsal.training_seconds)}, after {reading} for reading"),
    ]
    return [Section("rehearsal", "", [Facts(rows)])]


def detector_sections(detector: Detector) -> list[Section]:
    """Return the depth of a detector and the constants of its groups of layers."""
    medium, sections = detector.medium, detector.sections
    depths = (
        f"{medium.thickness:.4g} cm = {medium.depth_in_radiation_lengths:.3g} X0 = "
        f"{medium.depth_in_interaction_lengths:.3g} lambda"
    )
    plural = "s" if detector.n_layers > 1 else ""
    starts = range(0, len(sections), _GROUPS_PER_TABLE)
    name = f"{detector.name}: {detector.description}" if detector.description else detector.name
    blocks: list[Block] = [
        *map(Text, (name, f"{detector.n_layers} readout layer{plural}, {depths}")),
        Text(f"particles: {', '.join(detector.particles)}"),
        *(_section_table(sections[start : start + _GROUPS_PER_TABLE]) for start in starts),
    ]
    return [Section("detector", "", blocks)]


def _section_table(sections: tuple[LayerGroup, ...]) -> Table:
    """Return one column for each group of layers, one row for each quantity."""
    columns = [_column(section) for section in sections]
    rows = tuple((quantity, *(column[quantity] for column in columns)) for quantity in columns[0])
    return Table(("group of layers", *(section.name for section in sections)), rows)


def _column(section: LayerGroup) -> dict[str, str]:
    """Return the constants of a group of layers by their names with units, as text."""
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


def data_sections(
    label: str, trees: Sequence[TreeSummary], sentences: Sequence[str], command: str | None
) -> list[Section]:
    """Return the trees and branches of a ROOT file, and what it is proposed to do with them."""
    blocks: list[Block] = [Text(label), _tree_table(trees), *_branch_tables(trees), *map(Text, sentences)]
    return [Section("data", "", [*blocks, *([Code(command)] if command else [])])]


def _tree_table(trees: Sequence[TreeSummary]) -> Table:
    rows = [(tree.name, tree.kind, "unreadable" if tree.problem else count(tree.events)) for tree in trees]
    return Table(("tree", "class", "events"), tuple(rows))


def _branch_tables(trees: Sequence[TreeSummary]) -> list[Table]:
    """Return the branches of the trees that were looked into."""
    tables = []
    for tree in trees:
        if tree.events_read is not None:
            looked = "" if tree.events_read == tree.events else f", from the first {count(tree.events_read)} events"
            tables.append(_branch_table(f"{tree.name}{looked}", tree.branches))
    return tables


def _branch_table(title: str, branches: Sequence[BranchSummary]) -> Table:
    """Return a row for each branch, and one above the members of a collection; of very many, the energies first."""
    header = ("branch", "type", "shape", "min", "mean", "max", "zero [%]", "not: finite")
    sizes = Counter(_collection(branch) for branch in branches)
    kept = sorted(range(len(branches)), key=lambda index: not branches[index].looks_like_energy)[:_MAX_BRANCHES]
    rows: list[tuple[str, ...]] = []
    for collection, group in groupby((branches[index] for index in sorted(kept)), _collection):
        if sizes[collection] == 1:
            rows += [_branch_row(branch, branch.name) for branch in group]
        else:
            rows.append((collection, *("",) * (len(header) - 1)))
            rows += [_branch_row(branch, f"  {branch.name.removeprefix(collection)}") for branch in group]
    if len(kept) < len(branches):
        rows.append((f"and {count(len(branches) - len(kept))} more, all in --json", *("",) * (len(header) - 1)))
    width = len(header) if any(row[-1] for row in rows) else len(header) - 1
    return Table(header[:width], tuple(row[:width] for row in rows), title)


def _collection(branch: BranchSummary) -> str:
    return branch.name.partition(".")[0]


def _branch_row(branch: BranchSummary, name: str) -> tuple[str, ...]:
    values = branch.values
    if values is None:
        word = branch.layout if branch.column or branch.problem else "other"
        return (name, branch.type if branch.column else "", word, "", "", "", "", "")
    shown = [NONE if value is None else f"{value:.4g}" for value in (values.min, values.mean, values.max)]
    numbers = ["", f"= {shown[1]}", ""] if values.constant else shown
    bad = count(values.non_finite) if values.non_finite else ""
    shape = branch.layout.replace("list of lists", "lists").replace("number", "")
    return (name, branch.type, shape, *numbers, f"{PERCENT * values.zeros:.3g}", bad)
