"""The submit descriptions for HTCondor, parsed by HTCondor, which does not run them; `pip install htcondor`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.integration
htcondor: Any = pytest.importorskip("htcondor2", reason="pip install htcondor")
TEXTS = re.findall(r"```ini\n(.*?)```", (ROOT / "calomlp/cli/BATCH.md").read_text(), flags=re.DOTALL)


def test_there_is_one_for_each_part_of_an_analysis() -> None:
    commands = [command for text in TEXTS for command in re.findall(r"calomlp (\w+)", text)]
    assert commands == ["simulate", "train", "evaluate"]


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_understood(text: str) -> None:
    submit = htcondor.Submit(text)
    written = [line.split("=", 1)[0].strip() for line in text.splitlines() if "=" in line]
    assert sorted(written) == sorted(submit.keys())
    assert submit.getQArgs() == next(line for line in text.splitlines() if line.startswith("queue"))[5:].strip()
    with pytest.raises(ValueError, match="parse"):
        htcondor.Submit(text.replace("executable   ", "executable is"))
