"""Forms of a report: which one is wanted, and writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calomlp.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from calomlp.evaluation.report import Report

AUTO, JSON, HEPDATA = "auto", "json", "hepdata"
FORMATS = (AUTO, JSON, "md", "tsv", HEPDATA)

_SUFFIXES = {".json": JSON, ".md": "md", ".tsv": "tsv", ".tar.gz": HEPDATA, ".tgz": HEPDATA}


def form_of(output: str, form: str) -> str:
    """Return the form of a report: the one that was asked for, else that of the name of the file, else JSON.

    Args:
        output: The file.
        form: One of :data:`FORMATS`.

    Raises:
        UsageError: If the name of the file says another form than the one that was asked for.
    """
    named = next((named for suffix, named in _SUFFIXES.items() if output.endswith(suffix)), None)
    if form == AUTO:
        return named or JSON
    if named not in (None, form):
        raise UsageError(f"{output} is the name of a report as {named}, but --format is {form}: change one of them")
    return form


def write(report: Report, form: str, path: Path) -> None:
    """Write a report.

    Raises:
        MissingDependencyError: If what writes it is not installed.
    """
    if form == HEPDATA:
        try:
            from calomlp.plotting.hepdata import write_hepdata
        except ImportError as error:
            raise MissingDependencyError(
                "--format hepdata needs a package that is not installed: pip install 'calomlp[hepdata]'"
            ) from error
        write_hepdata(report, path)
        return
    from calomlp.evaluation.numbers import to_tsv
    from calomlp.plotting.render import to_markdown

    made = {JSON: type(report).to_json, "md": to_markdown, "tsv": to_tsv}[form]
    path.write_text(made(report), encoding="utf-8")
