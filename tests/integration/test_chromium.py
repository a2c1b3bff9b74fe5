"""The page of a report in a real browser: it fits a telephone and a desk, and asks for nothing.

It needs Chromium, ``apt install chromium``; then ``pytest -m integration``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SAMPLE_DATA, Run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt install chromium"),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
)

# the window of a browser has a least width, a frame has none; one with srcdoc can be asked by the page around it
PROBE = """<!DOCTYPE html><body style="margin:0"><pre id="found"></pre>
<iframe srcdoc="{page}" style="width:{width}px;height:4000px;border:0"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const wide = [...page.body.querySelectorAll("*")].filter(
    (item) => !item.closest(".scroll > *") && item.getBoundingClientRect().right > root.clientWidth + 1);
  document.getElementById("found").textContent = JSON.stringify({{
    shown: root.clientWidth, needed: root.scrollWidth, wide: wide.map((item) => item.outerHTML.slice(0, 80)),
    asked: frame.contentWindow.performance.getEntriesByType("resource").map((item) => item.name)}});
}};
</script>"""


@pytest.fixture
def page(calomlp: Run, tmp_path: Path) -> str:
    """The page of a report on a small model, with everything that a report can have."""
    pions = SAMPLE_DATA / "pions.root"
    for command in (
        ("train", pions, "--epochs", "2", "-o", "model.safetensors"),
        ("evaluate", "model.safetensors", "--all", "--worst", "30", "--importance", "-o", "report.json"),
        ("plot", "report.json", "-o", "report.html"),
    ):
        done = calomlp(*command)
        assert done.returncode == 0, done.stderr
    return (tmp_path / "report.html").read_text()


def looked_at(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Return how wide a page is in a frame, what in it is too wide, and what it asked the network for."""
    probe = folder / "probe.html"
    probe.write_text(PROBE.format(page=escape(page), width=width))
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr
    found: dict[str, Any] = json.loads(unescape(match[1]))
    return found


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_page_and_nothing_is_fetched(page: str, width: int, tmp_path: Path) -> None:
    assert looked_at(page, width, tmp_path) == {"shown": width, "needed": width, "wide": [], "asked": []}


def test_the_probe_sees_what_is_too_wide_and_what_is_fetched(tmp_path: Path) -> None:
    found = looked_at('<p style="width:999px"><img src="http://127.0.0.1:9/x.png">', 390, tmp_path)
    assert found["needed"] > 390
    assert found["wide"]
    assert found["asked"] == ["http://127.0.0.1:9/x.png"]


def test_a_printed_page_has_all_of_it(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page)
    assert CHROMIUM is not None
    pdf = tmp_path / "page.pdf"
    flags = (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    subprocess.run([CHROMIUM, *flags, (tmp_path / "page.html").as_uri()], capture_output=True, timeout=60, check=True)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) <= 12
