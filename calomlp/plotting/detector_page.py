"""What a detector amounts to, as text and tables."""

from __future__ import annotations

from calomlp.plotting.page import Page, fill
from calomlp.plotting.tables import NONE, Table
from calomlp.simulation.detector import Detector, Section

_GROUPS_PER_TABLE = 4


def detector_page(detector: Detector) -> Page:
    """Return the depth of a detector and the constants of its groups of layers."""
    medium, sections = detector.medium, detector.sections
    depths = (
        f"{medium.thickness:.4g} cm = {medium.depth_in_radiation_lengths:.3g} X0 = "
        f"{medium.depth_in_interaction_lengths:.3g} lambda"
    )
    plural = "s" if detector.n_layers > 1 else ""
    starts = range(0, len(sections), _GROUPS_PER_TABLE)
    return [
        fill(f"{detector.name}: {detector.description}" if detector.description else detector.name),
        fill(f"{detector.n_layers} readout layer{plural}, {depths}"),
        fill(f"particles: {', '.join(detector.particles)}"),
        *(("", _table(sections[start : start + _GROUPS_PER_TABLE])) for start in starts),
    ]


def _table(sections: tuple[Section, ...]) -> Table:
    """Return one column for each group of layers, one row for each quantity."""
    columns = [_column(section) for section in sections]
    rows = tuple((quantity, *(column[quantity] for column in columns)) for quantity in columns[0])
    return Table(("group of layers", *(section.name for section in sections)), rows)


def _column(section: Section) -> dict[str, str]:
    """Return the constants of a group of layers by their names with units, as text."""
    medium, sampling = section.medium, not section.homogeneous
    noise = section.energy(section.readout.noise)
    return {
        "readout layers": f"{section.n_readouts}",
        "layers per readout": f"{section.layers_per_readout}",
        "depth of a layer [X0]": _three_digits(medium.depth_in_radiation_lengths),
        "depth of a layer [lambda]": _three_digits(medium.depth_in_interaction_lengths),
        "X0 [cm]": f"{medium.radiation_length:.3f}",
        "lambda [cm]": f"{medium.interaction_length:.1f}",
        "R_M [cm]": f"{medium.moliere_radius:.2f}",
        "Ec [MeV]": f"{1e3 * medium.critical_energy:.2f}",
        "Z": f"{medium.Z:.1f}",
        "Fs [layers/X0]": f"{section.sampling_frequency:.2f}" if sampling else NONE,
        "e/mip": f"{section.e_over_mip:.3f}",
        "f_mip [%]": _three_digits(100 * section.mip_sampling_fraction),
        "1 MIP [MeV]": _three_digits(1e3 * section.mip),
        "c_em [% sqrt(GeV)]": f"{100 * section.c_em:.1f}",
        "c_had [% sqrt(GeV)]": f"{100 * section.c_had:.0f}" if section.c_had else NONE,
        "e/h": f"{section.response.e_over_h:.3g}" if section.response.e_over_h else NONE,
        "noise of a cell [MeV]": _three_digits(1e3 * noise) if noise else NONE,
        "cells": f"{section.cells} x {section.cells}" if section.cells else NONE,
        "cell size [cm]": f"{section.cell_size:g}" if section.cells else NONE,
    }


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".removesuffix(".")
