"""Print the table of all checks in Markdown."""

from __future__ import annotations

import sys

from tests.simulation.validation import CHECKS, line

HEAD = """# What the simulation is checked against

Measurements, full simulation and published formulas, each with its tolerance; "model" is the published parametrisation
evaluated independently. Made by `python -m tests.simulation.validation`; the tests run the same checks.

| # | check | quantity | found | target | tolerance | source |
| -: | --- | --- | -: | -: | -: | --- |
"""


def main() -> None:
    """Print the table of all checks, or of those whose numbers are given."""
    wanted = set(map(int, sys.argv[1:])) or {each.number for each in CHECKS}
    sys.stdout.write(HEAD)
    for each in sorted(CHECKS, key=lambda item: item.number):
        if each.number in wanted:
            sys.stdout.writelines(line(each, row) + "\n" for row in each.rows())
            sys.stdout.flush()


main()
