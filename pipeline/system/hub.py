"""Whether the hub answers, asked once: its clients would retry for half a minute before saying no."""

from functools import cache


@cache
def reachable() -> bool:
    """One request to the hub with a timeout of five seconds; proxies and HF_ENDPOINT are honoured."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # whatever the client's transport raises, the answer is no
        return False
    return True
