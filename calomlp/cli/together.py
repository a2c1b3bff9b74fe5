"""Commands that torchrun or srun may start several times: meet the others, work, and let one of them speak."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from calomlp.cli.session import UpToDate
from calomlp.errors import UsageError
from calomlp.processes import ALONE, Processes, find_meeting

if TYPE_CHECKING:
    from calomlp.cli.session import Session


def together(session: Session, device: str, work: Callable[[Processes], None], alone: str = "") -> None:
    """Do the work of a command, together with the other processes if there are any.

    Args:
        session: Silent in all but the first of them.
        device: What they compute on.
        work: What is to be done.
        alone: Why the work is one for a single process; empty if it is not.

    Raises:
        UsageError: If it is, and there are others.
    """
    meeting = find_meeting(os.environ)
    if meeting is None:
        work(ALONE)
        return
    if meeting.rank:
        session.mute()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # it would describe at length how another process vanished
    from calomlp import group

    made: UpToDate | None = None
    with group.together(meeting, device) as processes:
        if alone:
            raise UsageError(f"{alone} for one process, and this is one of several")
        try:
            work(processes)
        except UpToDate as found:  # for all of them, and no failure of one
            made = found
    if made is not None and not meeting.rank:
        raise made
