"""Text and tables of 80 columns: whole sentences, and commands that a shell takes as they are."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from calomlp.evaluation.measurement import count
from calomlp.plotting.render import WIDTH, shell_lines, text_blocks
from calomlp.plotting.sections import Facts, Section, file_table, versions

WORDS = st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30), min_size=1)


@given(WORDS)
def test_a_shell_reads_what_was_written(words: list[str]) -> None:
    assert shlex.split(shell_lines(words).replace(" \\\n", " ")) == words


def test_a_long_command_goes_on_at_a_flag() -> None:
    flags = [word for number in range(9) for word in ("--features", f"top(layer_energy, {number})")]
    lines = shell_lines(["calomlp", "train", "s.root", *flags]).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert all(line.startswith("      --features '") for line in lines[1:])


def test_facts_are_aligned_and_empty_ones_left_out() -> None:
    facts = Facts([("cut", ""), ("true energy", "beam_energy"), ("loss", "word " * 30)])
    (text,) = text_blocks([Section("s", "", [facts])])
    assert isinstance(text, str)
    lines = text.splitlines()
    assert lines[0] == " true energy  beam_energy"
    assert all(line.startswith(" " * 14) for line in lines[2:])
    assert len(lines) == 4
    assert max(map(len, lines)) <= WIDTH


def test_versions_are_those_that_were_recorded() -> None:
    assert versions({"calomlp": "0.1.0", "command": None, "machine": "m"}) == "calomlp 0.1.0, m"


def test_of_very_many_files_the_first_are_shown() -> None:
    table = file_table((f"{number}.root", "events", 1000) for number in range(1520))
    assert table.rows[0] == ("0.root", "events", count(1000))
    assert len(table.rows) == 21
    assert table.rows[-1] == (f"and {count(1500)} more, all in --json", "", "")
