"""What the names of branches say about what is in them."""

from __future__ import annotations

import re

TRUTH_LIKE = re.compile(r"^(true|truth|mc|gen|pdg|sim(?!\w*(cal|hit)))|[_.](true|truth|mc|gen|pdgid)$", re.IGNORECASE)
"""Branches that look like truth, from which nothing can be learned about the detector. Simulated hits do not."""

BOOKKEEPING = re.compile(
    r"(^|[./])(id|(event|evt|entry|run|lumi\w*|seed|index|row)(_?(id|no|nr|num|number))?)$", re.IGNORECASE
)
"""Branches that count events and say nothing about them."""

ENERGY_LIKE = re.compile(
    r"energy|edep|(^|[_./])e(n|sum|tot)?([_./\d]|$)|adc|charge|amplitude|signal|crystal|xtal"
    r"|(?-i:(^|[_./])(E(abs|gap|cal|em|had|raw|vis)|pt|et|Et|ET)\d*$)",
    re.IGNORECASE,
)
"""Branches that look like energies, which the linear anchor combines."""

MISSING_MARKS = (-99999.0, -9999.0, -1000.0, -999.0, -99.0)
"""Values that stand for a missing one in many files."""

COUNT_LIKE = re.compile(r"^n(_|[Hh]it|[A-Z])|^([Nn]um|[Cc]ount)")
"""Branches that look like numbers of something, even if that something is an energy."""


def looks_like_energy(name: str) -> bool:
    """Tell whether a branch looks like an energy."""
    return ENERGY_LIKE.search(name) is not None and not COUNT_LIKE.match(name)
