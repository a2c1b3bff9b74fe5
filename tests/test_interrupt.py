from __future__ import annotations

import os
import signal

import pytest

from calomlp.errors import Interrupted
from calomlp.interrupt import SIGNALS, Interrupt


@pytest.mark.parametrize("signum", SIGNALS)
def test_the_first_signal_sets_a_flag_and_the_second_ends(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with Interrupt() as interrupt:
        interrupt.check()
        os.kill(os.getpid(), signum)
        assert interrupt.requested
        with pytest.raises(Interrupted):
            interrupt.check()
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signum)
    assert signal.getsignal(signum) == before
