"""Names on the hub, as against paths; and whether the hub answers, asked once per process.

Its clients would retry for half a minute.
"""

import os
from functools import cache
from pathlib import Path

from pipeline.errors import one_line


@cache
def reachable() -> bool:
    """Return whether the hub answers a request within five seconds; proxies and HF_ENDPOINT are honoured."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # whatever the client's transport raises, the answer is no
        return False
    return True


def looks_like_path(name: str) -> bool:
    """Return whether a name was meant as a path: its directory exists, or it is built as no name of the hub is."""
    begins = name.startswith((os.sep, "~", f".{os.sep}", f"..{os.sep}")) or name in (".", "..")
    parent = Path(name).parent
    return begins or name.count("/") > 1 or (parent != Path() and parent.is_dir())


def no_such_directory(name: str) -> str:
    """Return in one line that a path does not exist."""
    advice = "Write the whole path: ~ is not replaced here" if name.startswith("~") else "Check the path"
    return f"there is no directory {one_line(name)}. {advice}"
