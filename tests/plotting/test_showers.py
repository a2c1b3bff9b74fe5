"""Figures of data sets: they are built for every number of energies, and show the numbers of the profiles."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from calomlp.data.sources import Source
from calomlp.errors import ArtefactError
from calomlp.evaluation.profiles import RADII, ShowerProfiles, shower_event
from calomlp.plotting import terminal
from calomlp.plotting.chart import Cells, Steps, sequence
from calomlp.plotting.charts.showers import event, longitudinal, radial
from calomlp.plotting.figures import SHOWER_CHARTS, of_showers
from calomlp.plotting.kinds import FORMATS, SHOWER_KINDS
from calomlp.plotting.paper import draw
from calomlp.plotting.save import write_figures
from tests.plotting.test_figures import check_layout, drawn, texts
from tests.plotting.toy_showers import toy_profiles, toy_showers, write_showers

NUMBERS = [1, 3, 5, 7, 12]


def without_hits_at_one_energy(profiles: ShowerProfiles) -> ShowerProfiles:
    assert profiles.radial is not None
    row = np.arange(len(profiles.energy_low)) == 0
    mean, rms = (np.where(row[:, None], np.nan, values) for values in (profiles.radial.mean, profiles.radial.rms))
    return replace(profiles, radial=replace(profiles.radial, events=profiles.radial.events * ~row, mean=mean, rms=rms))


@pytest.mark.parametrize(
    ("kind", "number", "known"),
    [
        (kind, number, (i + j) % 2 == 0)
        for i, kind in enumerate(["longitudinal", "radial"])
        for j, number in enumerate(NUMBERS)
    ],
)
def test_nothing_is_cut_and_no_texts_collide(kind: str, number: int, known: bool) -> None:
    check_layout(draw(SHOWER_CHARTS[kind](toy_profiles(number, known=known, hadrons=number == 3))))


@pytest.mark.parametrize("number", [5, 12])
def test_large_numbers_of_events_find_room(number: int) -> None:
    profiles = toy_profiles(number)
    many = replace(profiles.longitudinal, events=np.full(number, 23_456_789))
    check_layout(draw(longitudinal(replace(profiles, longitudinal=many, events=23_456_789 * number))))


def test_every_figure_is_named_in_order() -> None:
    subject = of_showers(toy_profiles, shower_event, "0", hit_kinds=True)  # type: ignore[arg-type]
    assert list(subject.builders) == list(SHOWER_KINDS)


@pytest.fixture(scope="module", params=[[10], [1, 2, 5, 10, 20, 50, 100, 200]], ids=["one energy", "eight"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = write_showers(tmp_path_factory.mktemp("toys") / "toys.root", toy_showers(request.param, 80))
    return Source(str(path), None, "toys.root")


def test_events_are_not_cut_either(source: Source) -> None:
    shown = event(shower_event([source], 3))
    check_layout(draw(shown))
    lines = terminal.draw([shown], 80, 40, colour=False).split("\n")
    assert max(map(len, lines)) <= 80


def test_what_is_drawn_of_hits_is_what_was_read(source: Source) -> None:
    shower = shower_event([source], 3)
    layers, x, y = event(shower).panels
    assert isinstance(layers.items[0], Steps)
    assert layers.items[0].y.tolist() == shower.layer_energy.tolist()
    for panel in (x, y):
        assert isinstance(panel.items[0], Cells)
        assert panel.items[0].values.sum() == pytest.approx(shower.x.sum())
    assert "event 3 of toys.root" in event(shower).notes[0]


def test_an_event_without_hits_is_drawn(source: Source) -> None:
    shower = shower_event([source], 0)
    assert shower.hits == 0
    check_layout(draw(event(shower)))
    assert terminal.draw([event(shower)], 80, 40, colour=False)


def test_curves_are_those_of_the_profiles_in_colours_that_follow_the_energy() -> None:
    profiles = toy_profiles(5)
    assert profiles.radial is not None
    for figure, x, shown in (
        (draw(longitudinal(profiles)), profiles.layer_depth, profiles.longitudinal),
        (draw(radial(profiles)), RADII, profiles.radial),
    ):
        lines = {line.get_color(): drawn(line) for line in figure.axes[0].lines}
        for look, mean in zip(sequence(5), shown.mean, strict=True):
            assert lines[look.colour][0][-len(x) :] == pytest.approx(x)
            assert lines[look.colour][1][-len(x) :] == pytest.approx(100 * mean)


@pytest.mark.parametrize(("number", "bands"), [(1, 1), (3, 3), (5, 2), (12, 2)])
def test_of_many_energies_the_outer_ones_have_bands(number: int, bands: int) -> None:
    found = draw(longitudinal(toy_profiles(number))).axes[0].collections
    assert sum(isinstance(item, FillBetweenPolyCollection) for item in found) == bands


@pytest.mark.parametrize(
    ("known", "hadrons", "labels"),
    [
        (True, False, ("X_0", "R_", "e⁻", "track of the particle")),
        (True, True, ("lambda", "R_", "π⁻, π⁺", "track of the particle")),
        (False, False, ("layer, counted from 0", "[cm]", "e⁻", "centre of gravity of the hits")),
    ],
)
def test_labels_say_what_was_chosen(known: bool, hadrons: bool, labels: tuple[str, ...]) -> None:
    profiles = toy_profiles(3, known=known, hadrons=hadrons)
    charts = [longitudinal(profiles), radial(profiles)]
    written = " ".join(
        [*(chart.caption for chart in charts), *(text for one in charts for text, _ in texts(draw(one)))]
    )
    for label in labels:
        assert label in written


def test_an_energy_without_hits_is_listed_without_a_radius() -> None:
    profiles = without_hits_at_one_energy(toy_profiles(3))
    check_layout(draw(radial(profiles)))
    assert "[R_M]: \N{EN DASH} at " in radial(profiles).caption


def test_containment_needs_hits() -> None:
    with pytest.raises(ArtefactError, match="no hits"):
        radial(toy_profiles(3, hits=False))


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_profiles_give_the_same_bytes(file_format: str) -> None:
    streams = [io.BytesIO(), io.BytesIO()]
    for stream in streams:
        write_figures([draw(radial(toy_profiles(3)))], stream, file_format, {"Title": "radial"})
    assert streams[0].getvalue() == streams[1].getvalue()


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("hits", [True, False])
def test_a_drawing_fits_the_terminal(number: int, hits: bool) -> None:
    profiles = toy_profiles(number, hits=hits)
    shown = without_hits_at_one_energy(profiles) if hits else profiles
    charts = [longitudinal(shown), *([radial(shown)] if hits else [])]
    drawing = terminal.draw(charts, 80, 50, colour=False)
    lines = drawing.split("\n")
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 50
    assert ("r [R_M]" in drawing) == hits
    assert drawing.count(" GeV") == number
