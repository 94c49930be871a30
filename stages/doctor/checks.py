"""A check: what was found, and what to do about it. A check that itself fails is a note, not the end of the command."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.errors import one_line

OK, NOTE, PROBLEM = "ok", "note", "problem"
INSTALL_AGAIN = "Install the packages again, into a new environment: README.md, Installation"


@dataclass(frozen=True)
class Check:
    """One line of `doctor`. `advice` is the next command or option to type; None where nothing is to be done."""

    name: str
    state: str
    found: str
    advice: str | None = None


def checks_of(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Yield the checks that `look` makes; where it raises, one that says so under this name."""
    try:
        yield from look()
    except ImportError as error:  # commands that import it fail too
        yield Check(name, PROBLEM, f"could not be checked ({type(error).__name__}: {one_line(error)})", INSTALL_AGAIN)
    except Exception as error:  # a damaged package may raise anything
        yield Check(name, NOTE, f"could not be checked ({type(error).__name__}: {one_line(error)})")


def in_child(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return the checks that `look` makes in a process of its own: libraries that are loaded there may end it."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, name, look), daemon=True)
    process.start()
    sender.close()
    try:
        return list(receiver.recv())
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
        fact = f"importing and using it ends the process ({how})"
        return [Check(name, PROBLEM, fact, INSTALL_AGAIN)]
    finally:
        receiver.close()


def _send(sender: Any, name: str, look: Callable[[], Iterable[Check]]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say on their way is not a line of this command
    sender.send([*checks_of(name, look)])


def as_line(check: Check) -> str:
    """Return a check as one line."""
    fact = one_line(check.found, 600)
    return f"{check.state:<8}{check.name:<15}{fact}" + (f". {one_line(check.advice, 400)}" if check.advice else "")
