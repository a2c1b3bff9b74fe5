"""Files of figures: formats, pages, metadata, and the same bytes for the same report."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path

import pytest
from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib.figure import Figure

from calomlp.evaluation.report import Report
from calomlp.plotting.kinds import FORMATS, STYLES
from calomlp.plotting.save import write_figures
from calomlp.plotting.style import Style
from tests.plotting.conftest import figure

METADATA = {"Title": "resolution", "Subject": "calomlp evaluate model.safetensors", "Software": "calomlp 0.1.0"}


KINDS = ("resolution", "linearity", "response", "training")


def written(drawn: Figure, file_format: str, look: str = "calomlp") -> bytes:
    stream = io.BytesIO()
    write_figures([drawn], stream, file_format, METADATA, Style(look=look))
    return stream.getvalue()


@pytest.mark.parametrize(("name", "file_format"), [*((name, "svg") for name in KINDS), ("linearity", "png")])
def test_same_report_gives_the_same_bytes(reports: dict[str, Report], name: str, file_format: str) -> None:
    report = reports["no fit"]
    assert written(figure(name, report), file_format) == written(figure(name, report), file_format)


def test_a_figure_can_be_written_twice(report: Report) -> None:
    drawn = figure("linearity", report)
    assert written(drawn, "svg") == written(drawn, "svg")


@pytest.mark.parametrize("file_format", FORMATS)
def test_files_tell_where_they_come_from_but_not_when(report: Report, file_format: str) -> None:
    content = written(figure("linearity", report), file_format)
    assert b"calomlp evaluate model.safetensors" in content
    assert b"calomlp 0.1.0" in content
    assert b"CreationDate" not in content
    assert b"dc:date" not in content


def test_fonts_in_a_pdf_are_embedded_truetype(report: Report) -> None:
    content = written(figure("resolution", report), "pdf")
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert re.search(rb"FiraSans-Regular", content)


def test_fonts_in_a_pdf_have_no_tables_of_layout_and_other_programs_load_theirs_whole(report: Report) -> None:
    load = subset.load_font
    content = written(figure("linearity", report), "pdf")
    streams = [zlib.decompress(part) for part in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", content, re.DOTALL)]
    fonts = [TTFont(io.BytesIO(part)) for part in streams if part.startswith(b"\0\1\0\0")]
    assert fonts
    for font in fonts:
        assert {"cmap", "glyf", "head", "hhea", "hmtx", "loca", "maxp"} <= set(font.keys())
        assert not {"GDEF", "GPOS", "GSUB"} & set(font.keys())
    assert subset.load_font is load


@pytest.mark.parametrize("look", STYLES[1:])
def test_fonts_of_experiments_are_embedded(report: Report, look: str) -> None:
    content = written(figure("resolution", report, look=look), "pdf", look)
    assert b"/Type3" in content
    assert b"/FontFile" not in content  # outlines that strict viewers refuse there


def test_one_pdf_has_a_page_for_each_figure(report: Report, tmp_path: Path) -> None:
    write_figures([figure("resolution", report), figure("linearity", report)], tmp_path / "all.pdf", "pdf", METADATA)
    assert b"/Count 2" in (tmp_path / "all.pdf").read_bytes()


def test_pages_have_the_same_bytes(report: Report) -> None:
    figures = [figure("linearity", report), figure("resolution", report)]
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        write_figures(figures, stream, "pdf", METADATA)
    assert streams[0].getvalue() == streams[1].getvalue()
