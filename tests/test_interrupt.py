from __future__ import annotations

import os
import signal

import pytest

from calomlp.errors import Interrupted
from calomlp.run import SIGNALS, Interrupt


@pytest.mark.parametrize("signum", SIGNALS)
def test_the_first_signal_sets_a_flag_and_the_second_ends(signum: signal.Signals) -> None:
    inherited = signal.signal(signum, signal.SIG_DFL)
    with Interrupt() as interrupt:
        interrupt.check()
        os.kill(os.getpid(), signum)
        assert interrupt.requested
        with pytest.raises(Interrupted):
            interrupt.check()
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signum)
    assert signal.signal(signum, inherited) == signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so() -> None:
    inherited = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not interrupt.requested
    signal.signal(signal.SIGHUP, inherited)
