"""What a model file says of itself: what it is, what it sees, how it was trained, and what to run next.

Everything is read from the JSON document in the header of the file, as
:func:`calomlp.model.file.read_header` returns it, without the weights.
"""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from calomlp.data.automatic import by_reason
from calomlp.data.sources import Tally
from calomlp.plotting.page import WIDTH, Page, facts, file_table, first_rows, origin
from calomlp.plotting.points import PERCENT
from calomlp.plotting.quantity import count
from calomlp.plotting.tables import NONE, Table
from calomlp.streams import STDIN
from calomlp.training.settings import TrainingSettings
from calomlp.units import listed

PLACEHOLDER = "DATA.root"
"""What stands in the command where the test events of a model are gone."""

_SIDES = {"train": "training", "validation": "validation", "test": "test"}
_FORMULAS = {"ratio": "anchor * exp(network)", "direct": "network", "log": "exp(network)"}
_RECIPE = {"features", "target", "split", "split_by", "cut", "weight", "layout", "missing", "on_bad", "left_out"}
_TRAINING = {"architecture", "envelope", "history", "summary", "settings"}
_KNOWN = _RECIPE | _TRAINING | {"schema", "files", "provenance"}
_MAX_FEATURES = 60
_MAX_COLUMNS = 30
_MAX_EXTRA = 400


def model_page(document: Mapping[str, Any], label: str, command: str) -> Page:
    """Return what a model says of itself.

    Args:
        document: The document in the header of the file; keys that this version does not know are shown as they are.
        label: What the user calls the file.
        command: What to run next.

    Raises:
        KeyError: If something is missing that every model records; ``TypeError``, ``ValueError`` or ``AttributeError``
            if it is not of the kind that it should be.
    """
    return [
        f"{label}: model, {document['schema']}",
        origin("made by", document["provenance"]),
        f"\n{facts([*_network(document), *_data(document), *_training(document), *_extra(document)])}\n",
        ("Features", _feature_table(document["features"])),
        ("Range of their columns in training", _range_table(document["envelope"]["features"])),
        ("Training", _training_table(document["history"], document["summary"])),
        ("Files", file_table((file["path"], file["tree"], file["events"]) for file in document["files"])),
        _settings(document["settings"]),
        command,
    ]


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


def _network(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    architecture, summary = document["architecture"], document["summary"]
    target, columns, energies = architecture["target"], architecture["n_columns"], len(architecture["energy_columns"])
    inputs = f"{columns} inputs"
    if target == "ratio":
        others = f"other columns ({columns - energies}), " if columns > energies else ""
        inputs = f"{columns + 1} inputs: shares of the anchor ({energies}), {others}logarithm of the anchor"
    widths = ", ".join(map(str, architecture["hidden"]))
    hidden = f"hidden layers of {widths} with {architecture['activation']}" if widths else "no hidden layer"
    members = f" in {architecture['members']} networks" if architecture["members"] > 1 else ""
    dropout = f", dropout {architecture['dropout']:g}" if architecture["dropout"] else ""
    spread = summary["anchor_spread"]
    terms = f"{PERCENT * spread['stochastic']:.1f} %/sqrt(E) (+) {spread['noise']:.2g} GeV/E"
    return [
        ("energy", f"{_FORMULAS.get(target, 'not known here')} [GeV] ({target})"),
        ("network", f"{inputs}; {hidden}{dropout}; {count(summary['parameters'])} parameters{members}"),
        ("anchor", f"weighted sum of the columns that are energies ({energies})"),
        ("its spread", f"sigma/E = {terms} (+) {PERCENT * spread['constant']:.1f} %"),
        ("calibrated sum", f"{summary['sum_scale']:.5g} * the sum of these energies"),
    ]


def _data(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    envelope, split = document["envelope"], document["split"]
    shares = f"{split['train']:g} training, {split['validation']:g} validation, {split['test']:g} test"
    together = f"; equal {document['split_by']} on one side" if document["split_by"] else ""
    tally = Tally(**document["summary"]["data"])
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
        ("warnings", "; ".join(item["sentence"] for item in document["summary"].get("warnings", []))),
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


def _closure(bins: list[dict[str, float]]) -> str:
    """Return how far the median response of validation events is from one, before and after the correction."""
    if not bins:
        return ""
    before, after = (PERCENT * max(abs(bin_[when] - 1) for bin_ in bins) for when in ("before", "after"))
    return f"the median response is within {before:.2f} % of one before the correction, {after:.2f} % after it"


def _training(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    summary, settings = document["summary"], document["settings"]
    best = f"the best is {summary['best_epoch']}" if summary["best_epoch"] else "none better than the start"
    rate = f"learning rate up to {summary['learning_rate']:.3g}"
    return [
        ("loss", f"{summary['loss']}, {summary['validation_loss']:.4g} on the validation side"),
        ("epochs", f"{summary['epochs']}, {best}; ended: {summary['ended']}"),
        ("kept", f"{100 * summary['kept']:.0f} % of what the network adds to the start"),
        ("resolution", "; ".join(_sides(summary["sides"]))),
        ("closure", _closure(summary["closure"])),
        ("verdict", "; ".join(summary[name] for name in ("worse", "overtraining", "more_data") if name in summary)),
        (
            "steps",
            f"{settings['optimiser']}, {rate}, {summary['schedule']}; batches of {count(summary['batch_size'])}",
        ),
    ]


def _sides(sides: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return loss and sigma_68 of the response of each side."""
    return [
        f"{name} {PERCENT * side['resolution']:.2f} % (loss {side['loss']:.4g}, {count(int(side['events']))} events)"
        for name, side in sides.items()
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
    return Table(("feature", "shape", "energy of the anchor"), first_rows(rows, _MAX_FEATURES))


def _range_table(columns: list[dict[str, Any]]) -> Table:
    """Return the quantiles of each column of the features."""
    rows = [(item["name"], *(f"{item[value]:.4g}" for value in ("low", "median", "high"))) for item in columns]
    return Table(("column", "0.1 %", "median", "99.9 %"), first_rows(rows, _MAX_COLUMNS))


def _training_table(history: list[dict[str, float]], summary: Mapping[str, Any]) -> Table:
    """Return the first epoch, the best and the last; the start is the best where no epoch was better."""
    best = summary["best_epoch"]
    start = [] if best else [("0 (best)", NONE, f"{summary['validation_loss']:.4g}", NONE, NONE)]
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
    return Table(header, (*start, *rows))


def _settings(settings: Mapping[str, Any]) -> str:
    """Return the settings that are not this version's defaults, as the table of a configuration file."""
    defaults = {item.name: json.loads(json.dumps(item.default)) for item in fields(TrainingSettings)}
    order = [*defaults, *settings]  # what this version does not know comes last
    changed = {name: settings[name] for name in order if name in settings and settings[name] != defaults.get(name)}
    if not changed:
        return "All settings are the defaults.\n"
    lines = "\n".join(_toml_line(name, value) for name, value in changed.items())
    return f"Settings that differ from the defaults\n\n[train]\n{lines}\n"


def _toml_line(name: str, value: Any) -> str:
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    if len(line) <= WIDTH or not isinstance(value, list):
        return line
    items = "".join(f"  {json.dumps(item, ensure_ascii=False)},\n" for item in value)
    return f"{name} = [\n{items}]"
