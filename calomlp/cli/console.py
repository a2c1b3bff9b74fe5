"""Progress of a command, drawn on a terminal or as plain lines in a log file; sections and charts on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from calomlp.run import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Display

    from calomlp.plotting.chart import Chart
    from calomlp.plotting.sections import Table
    from calomlp.streams import Streams

_SECONDS_BETWEEN_LINES = 10.0
_LEAST_NAME, _WIDE_NAME = 10, 24  # columns of a terminal


def wrapped(line: str, stream: TextIO) -> str:
    """Break a line between words where a terminal would break it inside of them."""
    if not stream.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)


class PlainProgress(Progress):
    """One line for each stage that is complete, and one every ten seconds in between; no control codes.

    Args:
        name: The command, with which every line begins.
        quiet: Say nothing of progress.
    """

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self._name = name
        self._quiet = quiet
        self._task, self._total, self._unit = "", 0, ""
        self._done = 0
        self._started = self._told = time.monotonic()

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task."""
        self._task, self._total, self._unit, self._done = task, total, unit, 0
        self._started = self._told = time.monotonic()

    def advance(self, amount: int) -> None:
        """Count, and say so if it was silent for long."""
        self._done += amount
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            share = f" ({self._done / self._total:.0%})" if self._total else ""
            rate = self._done / (now - self._started)
            self.report(f"{self._task}: {self._done} {self._unit}{share}, {rate:.3g} {self._unit}/s")

    def report(self, line: str) -> None:
        """Write a line."""
        self._told = time.monotonic()
        if not self._quiet:
            self.write(f"{self._name}: {line}")

    def write(self, line: str) -> None:
        """Write a line as it is, quiet or not."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class TerminalProgress(Progress):
    """A bar with rate and time left, below the lines that are worth keeping."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._display: Display | None = None
        self._started = time.monotonic()

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task: show its bar."""
        self.finish()
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._display = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._unit = unit
        self._done = 0
        self._task = self._display.add_task(task, total=total, rate="")
        self._started = time.monotonic()
        self._display.start()

    def advance(self, amount: int) -> None:
        """Move the bar."""
        if self._display is not None:
            self._done += amount
            rate = self._done / max(time.monotonic() - self._started, 1e-3)
            self._display.update(self._task, advance=amount, rate=f"{rate:,.0f} {self._unit}/s")

    def report(self, line: str) -> None:
        """Write a line above the bar."""
        self.write(line)

    def write(self, line: str) -> None:
        """Write a line above the bar."""
        self._console.print(wrapped(line, sys.stderr), markup=False, soft_wrap=True)

    def finish(self) -> None:
        """Take the bar away."""
        if self._display is not None:
            self._display.stop()
            self._display = None


def print_blocks(blocks: Iterable[str | Table], streams: Streams) -> None:
    """Write text and draw tables on standard output."""
    for block in blocks:
        if isinstance(block, str):
            streams.print_line(block)
        else:
            print_table(block)


def print_charts(charts: Sequence[Chart], lines: int, streams: Streams) -> None:
    """Draw charts on standard output, as wide as the terminal and in no more lines than these."""
    from calomlp.plotting.terminal import draw

    width = shutil.get_terminal_size().columns
    streams.print_line(draw(charts, width, lines, colour="NO_COLOR" not in os.environ))


def print_table(table: Table) -> None:
    """Draw a table on standard output under its title.

    Of one that is wider than the terminal, the columns on the right go on below the others, beside the first again.
    """
    from rich import box
    from rich.console import Console
    from rich.markup import escape  # a table takes [cm] for markup
    from rich.table import Table as Drawing

    console = Console(highlight=False)
    headings = [heading.replace(": ", "\n") for heading in table.header]
    for part, columns in enumerate(_side_by_side(headings, table.rows, console.width)):
        title = None if part else escape(table.title)
        drawing = Drawing(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
        for index in columns:
            lines = escape(headings[index])
            if index == 0:  # names, which may be of any length
                drawing.add_column(lines, justify="left", vertical="bottom", overflow="fold", min_width=_LEAST_NAME)
            else:
                drawing.add_column(lines, justify="right", vertical="bottom", no_wrap=True)
        for row in table.rows:
            drawing.add_row(*(escape(row[index]) for index in columns))
        console.print(drawing)


def _side_by_side(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Return which columns of a table stand beside each other, all of them if they fit: the first stands in each part.

    Args:
        headings: Of the columns, of some lines.
        rows: The cells.
        width: Columns of the terminal.
    """
    names, *others = (
        max(map(len, (*heading.split("\n"), *(row[index] for row in rows)))) + 1
        for index, heading in enumerate(headings)
    )
    if _LEAST_NAME + 1 + sum(others) < width:
        return [list(range(len(headings)))]
    names = min(max(names, _LEAST_NAME + 1), _WIDE_NAME + 1)
    parts, left = [[0]], width - 1 - names
    for index, wanted in enumerate(others, start=1):
        if wanted > left and len(parts[-1]) > 1:
            parts.append([0])
            left = width - 1 - names
        parts[-1].append(index)
        left -= wanted
    return parts
