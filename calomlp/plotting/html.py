"""A report as a page for a browser: one file that needs no other, no network and no script; nothing is written here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

from calomlp.evaluation.names import MEAN, WIDTHS
from calomlp.evaluation.report import Report
from calomlp.plotting.answers import CRITERIA, LOOK, MEASURED, UNKNOWN, Answer, answers
from calomlp.plotting.markdown import ESTIMATORS
from calomlp.plotting.picture import Picture, embedded
from calomlp.plotting.quantity import count
from calomlp.plotting.report_tables import binning, estimator_table, formula, marks, report_tables, the, width_name
from calomlp.plotting.tables import Table, versions

_LONG = 24
"""Tables with more rows are scrolled inside the page."""

_BROAD = 8
"""Tables with more columns are printed smaller."""

_PINNED = 24
"""Rows whose names have no more characters keep them in sight when a table is scrolled on a narrow screen."""

_MAX_FILES, _MAX_PARTS = 200, 50
_ENERGY = re.compile(r"\bE_(true|reco)\b")
_UNBROKEN = re.compile(r" (?=[%\[±]|GeV)|(?<=±) ")  # a number stays with its error and its unit
_CLASSES = {LOOK: "look", UNKNOWN: "unknown", MEASURED: "measured"}


def html_report(report: Report, label: str, pictures: Sequence[Picture]) -> str:
    """Return the whole report as HTML: what it comes to, notes, figures, tables, and how it was made.

    Args:
        report: The report.
        label: What the user calls the file.
        pictures: Its figures, in the order in which they are shown.
    """
    title = f"Energy resolution of {the(report.curves[0])}"
    sections = {
        "verdict": ("What it comes to", _verdict(report)),
        "notes": ("What to know", _notes(report)),
        "figures": ("Figures", _figures(pictures)),
        "tables": ("Tables", _tables(report)),
        "origin": ("How it was made", _origin(report)),
    }
    there = {name: found for name, found in sections.items() if found[1]}
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, (heading, _) in there.items())
    main = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-heading">\n<h2 id="{name}-heading">{heading}</h2>\n{body}\n'
        "</section>"
        for name, (heading, body) in there.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{escape(versions(report.context.provenance))}">
<title>{escape(title)} ({escape(label)})</title>
<link rel="icon" href="data:,">
<style>
{_stylesheet()}</style>
</head>
<body>
<header>
<p class="file">calomlp report <span>{escape(label)}</span></p>
<h1>{escape(title)}</h1>
<p class="lede">{escape(_lede(report))}</p>
<nav aria-label="Contents"><ul>{links}</ul></nav>
</header>
<main>
{main}
</main>
</body>
</html>
"""


def _stylesheet() -> str:
    return resources.files("calomlp.plotting").joinpath("report.css").read_text(encoding="utf-8")


def _lede(report: Report) -> str:
    bins, region = report.curves[0].bins, report.context.envelope
    ends = [bins[0].energy_low, bins[-1].energy_high] if bins else []
    span = f" of {' to '.join(dict.fromkeys(f'{end:.3g}' for end in ends))} GeV" if bins else ""
    trained = (
        f"; trained on {count(region.n_train)} events of {region.energy_min:.4g} to {region.energy_max:.4g} GeV"
        if region
        else ""
    )
    return f"{count(report.events)} events{span} in {len(bins)} bin{'s' * (len(bins) != 1)}{trained}"


def _verdict(report: Report) -> str:
    cards = "\n".join(map(_card, answers(report)))
    return f'<div class="cards">\n{cards}\n</div>\n<p class="small">{escape(CRITERIA)}</p>'


def _card(answer: Answer) -> str:
    kind = _CLASSES.get(answer.status, "good")
    return (
        f'<article class="card {kind}">\n<h3>{escape(answer.question)}</h3>\n'
        f'<p class="status">{escape(answer.status)}</p>\n<p class="headline">{_text(answer.headline)}</p>\n'
        f"{_list(answer.details)}\n</article>"
    )


def _notes(report: Report) -> str:
    return _list([*report.notes, *marks(report)])


def _figures(pictures: Sequence[Picture]) -> str:
    """Return the figures, the wide ones last: the others stand in two columns."""
    figures = [
        f"<figure{' class=wide' * item.wide}>\n{_scrolled(embedded(item, f'f{i}-'), f'Figure {i}')}\n"
        f"<figcaption><b>Figure {i}.</b> {_text(item.title)}</figcaption>\n</figure>"
        for i, item in enumerate(sorted(pictures, key=lambda item: item.wide), 1)
    ]
    return '<div class="figures">\n' + "\n".join(figures) + "\n</div>" if figures else ""


def _tables(report: Report) -> str:
    first = report.curves[0]
    others = (f"Estimators of the width of {the(first)}", estimator_table(report, first))
    tables = [_table(title, table) for title, table in (*report_tables(report), others)]
    return "\n".join([*tables, f'<p class="small">{_text(ESTIMATORS)}</p>'])


def _table(title: str, table: Table) -> str:
    """Return a table whose first column names the rows; the others hold numbers and are aligned right."""
    head = "".join(f'<th scope="col">{_text(cell, lines=True)}</th>' if cell else "<td></td>" for cell in table.header)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{_number(cell)}</td>" for cell in cells) + "</tr>"
        for first, *cells in table.rows
    )
    content = (
        f"<table>\n<caption>{_text(title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        "</table>"
    )
    kinds = {
        "long": len(table.rows) > _LONG,
        "broad": len(table.header) > _BROAD,
        "pinned": max((len(row[0]) for row in table.rows), default=0) <= _PINNED,
    }
    return _scrolled(content, title, [kind for kind, chosen in kinds.items() if chosen])


def _scrolled(content: str, title: str, kinds: Sequence[str] = ()) -> str:
    """Return what may be wider than the page in a frame that is scrolled, with the keyboard too."""
    names = " ".join(("scroll", *kinds))
    return f'<div class="{names}" role="region" aria-label="{escape(title)}" tabindex="0">\n{content}\n</div>'


def _origin(report: Report) -> str:
    files = report.context.files
    rows = [(file.path, file.tree, count(file.events)) for file in files[:_MAX_FILES]]
    if len(files) > _MAX_FILES:
        rows.append((f"and {count(len(files) - _MAX_FILES)} more", "", ""))
    facts = "\n".join(f"<dt>{_text(name)}</dt><dd>{escape(text)}</dd>" for name, text in _facts(report))
    commands = "\n".join(
        f"<p>{escape(title)}:</p>\n<pre><code>{escape(shlex.join(words))}</code></pre>"
        for title, words in _commands(report)
    )
    table = _table("Files", Table(("file", "tree", "events"), tuple(rows))) if rows else ""
    return "\n".join(filter(None, (commands, f"<dl>\n{facts}\n</dl>", table)))


def _commands(report: Report) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what has to be run again for the same report, in this order."""
    made = report.context.provenance
    if words := made.get("model", {}).get("command"):
        yield "The model", words
    parts = [words for words in made.get("parts", []) if words]
    yield from ((f"Part {i} of the report", words) for i, words in enumerate(parts[:_MAX_PARTS], 1))
    if len(parts) > _MAX_PARTS:
        yield f"And {count(len(parts) - _MAX_PARTS)} more parts, the last", parts[-1]
    if words := made.get("command"):
        yield "The report", words


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what the numbers depend on, each with its name."""
    options, context = report.options, report.context
    width = WIDTHS[options.width]
    window = f", window of ±{options.core_sigmas:g}σ" if options.width == "core" else ""
    relative = f"its {width.centre}" if options.relative_to == MEAN else "the true energy"
    yield "resolution", f"{width_name(report)}: {width.label}{window}, relative to {relative}"
    noise = "fitted" if options.noise is None else f"{options.noise:g} GeV, given"
    yield "fit", f"{formula(report)}; n is {noise}; bins at an edge are {'' if options.edges else 'not '}fitted"
    yield "bins of E_true", f"{len(report.curves[0].bins)}, {binning(report)}"
    yield "errors", f"bootstrap, seed {options.seed}"
    if context.cut:
        yield "cut", context.cut
    if region := context.envelope:
        sides = ((region.n_train, "training"), (region.n_validation, "validation"), (region.n_test, "test"))
        numbers = ", ".join(f"{count(number)} {side}" for number, side in sides)
        yield "model", f"{region.energy_min:.4g} to {region.energy_max:.4g} GeV; {numbers} events"
    if loss := context.training.get("summary", {}).get("loss"):
        yield "loss", loss
    yield "versions", ", ".join(filter(None, (versions(context.provenance), context.provenance.get("machine"))))
    if model := versions(context.provenance.get("model", {})):
        yield "versions of the model", model


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in items)}</ul>" if items else ""


def _text(sentence: str, *, lines: bool = False) -> str:
    """Return what is written for a terminal as it is printed; on lines of their own what colons divide, if wanted."""
    text = escape(sentence.replace("+-", "±"))
    text = _ENERGY.sub(r"<i>E</i><sub>\1</sub>", _UNBROKEN.sub("&nbsp;", text))
    return text.replace(": ", "<br>") if lines else text


def _number(cell: str) -> str:
    minus = "\N{MINUS SIGN}"
    return escape(minus + cell[1:] if cell.startswith("-") else cell)
