"""Sections as text of 80 columns, as Markdown, as tables in LaTeX, and as a page for a browser; nothing is printed."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from functools import singledispatch
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING

from calomlp.evaluation.report import Report
from calomlp.evaluation.verdicts import Verdict
from calomlp.plotting.sections import (
    Block,
    Cards,
    Code,
    Command,
    Facts,
    Figures,
    Items,
    Section,
    Table,
    Text,
    lede,
    report_sections,
    versions,
)

if TYPE_CHECKING:
    from calomlp.plotting.save import Picture

WIDTH = 80
_HANGING = "  "

_LONG, _BROAD = 24, 8
"""In a browser, tables of more rows are scrolled inside the page, and tables of more columns are printed smaller."""

_PINNED = 24
"""Rows whose names have no more characters keep them in sight when a table is scrolled on a narrow screen."""

_TEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "%&#_{}$"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"±": r"$\pm$", "⊕": r"$\oplus$", "√": r"$\surd$", "²": "$^2$", "≥": r"$\geq$", "†": r"\dag{}", "\xa0": r"\,"}
    | {"σ": r"$\sigma$", "μ": r"$\mu$", "ρ": r"$\rho$", "χ": r"$\chi$", "λ": r"$\lambda$", "–": "--"}
)
_ENERGY = re.compile(r"\bE_(true|reco)\b")
_UNBROKEN = re.compile(r" (?=[%\[±]|GeV)|(?<=±) ")  # a number stays with its error and its unit


def text_blocks(sections: Iterable[Section]) -> list[str | Table]:
    """Return sections as blocks of text of 80 columns and tables, without figures and small print.

    Between blocks of text, and before a table, is an empty line; a table that is drawn ends with one.
    """
    blocks: list[str | Table] = []
    for section in sections:
        shown = [block for block in section.blocks if not (isinstance(block, Figures) or _is_small(block))]
        for block in (*([Text(section.heading)] if section.heading else []), *shown):
            after_text = bool(blocks) and isinstance(blocks[-1], str)
            if isinstance(block, Table):
                blocks += ["", block] if after_text else [block]
            else:
                blocks.append("\n" * after_text + _as_text(block).strip("\n"))
    return blocks


def _is_small(block: Block) -> bool:
    return isinstance(block, Text) and block.small


@singledispatch
def _as_text(block: Block) -> str:
    raise TypeError(f"no text of {type(block).__name__}")


@_as_text.register
def _(block: Text) -> str:
    return fill(block.text)


@_as_text.register
def _(block: Code) -> str:
    return block.text


@_as_text.register
def _(block: Command) -> str:
    return f"{fill(block.title)}:\n\n{shell_lines(block.words)}" if block.title else shell_lines(block.words)


@_as_text.register
def _(block: Items) -> str:
    return "\n".join(fill(sentence, indent="- ") for sentence in block.sentences)


@_as_text.register
def _(block: Facts) -> str:
    rows = [(name, text) for name, text in block.rows if text]
    indent = max(len(name) for name, _ in rows) + 3
    return "\n".join(fill(text, indent=f" {name}".ljust(indent), hanging=" " * indent) for name, text in rows)


@_as_text.register
def _(block: Cards) -> str:
    return "\n".join(
        "\n".join(
            [fill(_headline(verdict)), *(fill(detail, indent="  ", hanging="    ") for detail in verdict.details)]
        )
        for verdict in block.verdicts
    )


def _headline(verdict: Verdict) -> str:
    return f"{verdict.question} {verdict.status.capitalize()}: {verdict.headline}"


def fill(text: str, *, indent: str = "", hanging: str = _HANGING) -> str:
    """Wrap a sentence, its first line behind the indent, the others behind the hanging one."""
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False)


def shell_lines(words: Iterable[str]) -> str:
    """Write a command on as many lines as it needs, so that it can be read, and copied into a shell as it is."""
    arguments: list[str] = []
    for before, word in pairwise(["", *words]):
        if before.startswith("-") and not word.startswith("-"):  # a flag and its value stay together
            arguments[-1] += f" {shlex.quote(word)}"
        else:
            arguments.append(shlex.quote(word))
    lines = [_HANGING]
    for argument in arguments:
        if lines[-1].strip() and len(f"{lines[-1]}{argument} \\") > WIDTH:
            lines.append(3 * _HANGING)
        lines[-1] += f"{argument} "
    return "\\\n".join(lines).rstrip()


def to_markdown(report: Report) -> str:
    """Return a report as a page in Markdown."""
    blocks = [f"# Energy resolution of {report.curves[0].title}", f"{lede(report)}."]
    for section in report_sections(report):
        blocks += [f"## {section.heading}", *map(_as_markdown, section.blocks)]
    return "\n\n".join(block for block in blocks if block) + "\n"


@singledispatch
def _as_markdown(block: Block) -> str:
    raise TypeError(f"no Markdown of {type(block).__name__}")


@_as_markdown.register
def _(block: Text) -> str:
    return block.text


@_as_markdown.register
def _(block: Command) -> str:
    return f"- {block.title}: `{shlex.join(block.words)}`"


@_as_markdown.register
def _(block: Items) -> str:
    return "\n".join(f"- {_starless(sentence)}" for sentence in block.sentences)


@_as_markdown.register
def _(block: Facts) -> str:
    return "\n".join(f"- {name}: {_starless(text)}" for name, text in block.rows if text)


@_as_markdown.register
def _(block: Cards) -> str:
    answers = [(verdict, "; ".join((verdict.headline, *verdict.details))) for verdict in block.verdicts]
    return "\n".join(f"- **{verdict.question}** {verdict.status}: {_starless(answer)}" for verdict, answer in answers)


@_as_markdown.register
def _(block: Table) -> str:
    """Return a table whose first column is aligned left and the others right."""
    cells = [[_starless(cell).replace("|", r"\|") for cell in row] for row in (block.header, *block.rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in (cells[0], rule, *cells[1:])
    ]
    return f"### {block.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _starless(text: str) -> str:
    return text.replace("*", r"\*")


def to_latex(report: Report) -> str:
    """Return the tables of a report in LaTeX, with the package booktabs."""
    tables = [table for section in report_sections(report) for table in section.blocks if isinstance(table, Table)]
    head = f"% {lede(report)}; {versions(report.context.provenance)}; needs \\usepackage{{booktabs}}"
    return "\n".join([head, *map(_as_latex, tables)])


def _as_latex(table: Table) -> str:
    rows = [" & ".join(map(_texed, row)) + r" \\" for row in (table.header, *table.rows)]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_texed(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        *(r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"),
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _texed(text: str) -> str:
    """Write a cell in LaTeX: signs as mathematics, minus signs, and what has a meaning there as it is."""
    signs = re.sub(r"^-(?=\d)", "$-$", text.translate(_TEX))
    return _ENERGY.sub(r"$E_\\mathrm{\1}$", signs.replace(r"E\_", "E_"))


def to_html(report: Report, label: str, pictures: Sequence[Picture]) -> str:
    """Return a report as a page for a browser: one file that needs no other, no network and no script.

    Args:
        report: The report.
        label: What the user calls the file.
        pictures: Its figures, in the order in which they are shown.
    """
    from jinja2 import Environment, PackageLoader  # noqa: PLC0415 - text and Markdown do without

    environment = Environment(
        loader=PackageLoader("calomlp.plotting", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"prose": _prose, "number": _number, "shell": shlex.join}
    environment.tests["block"] = lambda block, name: type(block).__name__ == name
    return environment.get_template("page.html.j2").render(
        title=f"Energy resolution of {report.curves[0].title}",
        label=label,
        lede=lede(report),
        generator=versions(report.context.provenance),
        sections=report_sections(
            report, sorted(pictures, key=lambda item: item.chart.wide)
        ),  # wide ones below the columns
        stylesheet=resources.files("calomlp.plotting").joinpath("page.css").read_text(encoding="utf-8"),
        kinds=_kinds,
    )


def _kinds(table: Table) -> str:
    """Return the classes of a table: how it is laid out depends on its size."""
    kinds = {
        "long": len(table.rows) > _LONG,
        "broad": len(table.header) > _BROAD,
        "pinned": max((len(row[0]) for row in table.rows), default=0) <= _PINNED,
    }
    return " ".join(["scroll", *(kind for kind, chosen in kinds.items() if chosen)])


def _prose(sentence: str, *, lines: bool = False) -> str:
    """Turn text for a terminal into HTML: ±, subscripts, unbroken units; with ``lines``, a break after each colon."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - comes with jinja2

    text = str(escape(sentence.replace("+-", "±")))
    text = _ENERGY.sub(r"<i>E</i><sub>\1</sub>", _UNBROKEN.sub("&nbsp;", text))
    return Markup(text.replace(": ", "<br>") if lines else text)  # noqa: S704 - escaped above


def _number(cell: str) -> str:
    return "\N{MINUS SIGN}" + cell[1:] if cell.startswith("-") else cell
