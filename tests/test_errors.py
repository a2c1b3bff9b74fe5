from __future__ import annotations

import signal

import pytest

from calomlp import errors
from calomlp.errors import CalomlpError, ExitCode, InputError, Interrupted, did_you_mean


def test_exit_codes_are_the_documented_ones() -> None:
    assert {int(code): code.name for code in ExitCode} == {
        0: "OK",
        1: "INTERNAL",
        2: "USAGE",
        3: "INPUT",
        4: "ARTEFACT",
        5: "TRAINING",
        6: "QUALITY",
        7: "DEPENDENCY",
        85: "CHECKPOINT",
        130: "SIGINT",
        141: "PIPE",
        143: "SIGTERM",
    }


def test_every_error_is_in_the_tree_of_the_docstring() -> None:
    for error in CalomlpError.__subclasses__():
        assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGUSR2, 143)]
)
def test_an_interruption_has_the_code_of_its_signal(signum: int, code: int) -> None:
    assert Interrupted(signum).exit_code == code


def test_the_likely_alternative_comes_first() -> None:
    assert did_you_mean("tru_energy", ["layer_energy", "true_energy"]).startswith("did you mean 'true_energy'?")
    assert did_you_mean("xyz", ["a", "b"]) == "legal: a, b"
    assert did_you_mean("x", [str(number) for number in range(20)], limit=3) == "legal: 0, 1, 2 and 17 more"
    assert "nothing" in did_you_mean("x", [])


def test_a_message_is_one_printable_line() -> None:
    assert str(InputError("f.root: no tree 'a\nb\x00\x1b[31m'")) == "f.root: no tree 'a b  [31m'"
    assert str(InputError("Ω ± √ 'é'")) == "Ω ± √ 'é'"
