"""Check that the hub answers, once per process: its clients would retry for half a minute."""

from functools import cache


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
