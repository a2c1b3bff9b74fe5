"""Settings of commands that read files; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from calomlp.settings import setting

DATA = "Data"
data_setting = partial(setting, panel=DATA)

REFUSE, SKIP, ZERO = ON_BAD = ("refuse", "skip", "zero")
"""What may be done about a bad value: stop, leave the event out, take zero for it."""

ON_BAD_FILE = (REFUSE, SKIP)


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """Settings of files, whether they hold a truth or not."""

    tree: str | None = data_setting(
        None, "Tree or RNTuple to read. Default: events, or the only one with the branches."
    )
    friend: tuple[str, ...] = data_setting(
        (),
        "Tree with the same entries, whose branches join: ':truth' in the same file, or file.root:tree; repeatable.",
        metavar="TREE",
    )
    missing: tuple[float, ...] = data_setting(
        (), "Value that stands for a missing one, such as -999; repeatable.", metavar="X"
    )
    on_bad_file: str = data_setting(
        REFUSE, "A file that cannot be read: stop, or go on without it and say so.", choices=ON_BAD_FILE
    )


@dataclass(frozen=True, kw_only=True)
class DataSettings(FileSettings):
    """Settings of files that hold a truth, and where it is."""

    unit: str | None = data_setting(
        None, "Unit of the target: GeV, MeV, keV, TeV, eV. Default: GeV, or as in training.", metavar="UNIT"
    )
    target_from_name: str | None = data_setting(
        None,
        "Take the true energy from the file's name: '_([0-9.]+)GeV'; a group named MeV, keV or TeV says the unit.",
        metavar="REGEX",
    )
