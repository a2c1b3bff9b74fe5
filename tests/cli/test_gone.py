"""What earlier versions knew is refused with what to do instead."""

from __future__ import annotations

import pytest

from calomlp.cli import run
from calomlp.cli.flags import GONE
from calomlp.errors import ExitCode


@pytest.mark.parametrize("text", GONE)
def test_what_is_gone_says_what_to_do_instead(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    command = "plot" if "--kind" in text else "train"
    flag, _, value = text.partition(" ")
    for spelled in ([flag, value] if value else [flag, "x"], [f"{flag}={value or 'x'}"]):
        assert run([command, "x.root", *spelled]) == ExitCode.USAGE
        (line,) = capfd.readouterr().err.splitlines()
        assert f"calomlp {command}: error: {text} is gone: {GONE[text]}" in line
