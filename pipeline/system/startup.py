"""Ctrl-C and SIGTERM before a command has started: one line and the exit code, whatever is being imported.

Importing it has this effect. It imports next to nothing itself, since it comes before every other import.
"""

import os
import signal
import sys
from types import FrameType


def _end_at_signals() -> None:
    """End this process at once when Ctrl-C or SIGTERM comes: there is nothing to clean up yet.

    Does nothing in a process that another one of this program has started, nor where Ctrl-C is ignored, as by nohup.
    """
    name = os.path.basename(sys.argv[0])
    if name not in ("cli.py", "pkd") or "multiprocessing" in sys.modules:
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    cause = " by SIGTERM" if number == signal.SIGTERM else ""
    os.write(2, f"Error: stopped{cause}. Run the same command again\n".encode())
    os._exit(128 + number)


_end_at_signals()
