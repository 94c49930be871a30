"""Errors of a store's client: whose they are, whether to try again, and the line of each."""

import errno

from pipeline.cache.remote.schemes import SCHEMES
from pipeline.errors import one_line
from pipeline.system.system_errors import is_out_of_memory

_FINAL = (FileNotFoundError, FileExistsError, PermissionError, ValueError, TypeError, NotImplementedError)
_FINAL_ERRNO = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.ENAMETOOLONG)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def explain(url: str, scheme_name: str, error: Exception) -> str:
    """Return an error of the client of the store at `url` as one line."""
    scheme = SCHEMES[scheme_name]
    check = f"Check {scheme.check}" if scheme.check else "Check the URL"
    kind = type(error).__name__
    if _is_full(error):
        return (
            f"{url} has no room left ({kind}). Make room there, then run the same command again: finished "
            "transfers are kept"
        )
    if isinstance(error, PermissionError) or "Credential" in kind:
        return f"{url}: access was refused. {check}"
    if scheme_name != "file" and is_transient(error):
        return (
            f"{url} cannot be reached ({kind}). {check}, then run the same command again: finished transfers are kept"
        )
    reason = one_line(getattr(error, "strerror", None) or error)
    return f"{url} cannot be used ({kind}: {reason}). {check}"


def is_of_this_machine(error: BaseException) -> bool:
    """Return whether an error says something about this machine, and nothing about the store."""
    of_limits = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
    return of_limits or isinstance(error, ImportError) or is_out_of_memory(error)


def _is_full(error: BaseException) -> bool:
    """Return whether a store refuses for want of room: by errno, HTTP status 507, or the words of its client."""
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "code", None)
    words = f"{type(error).__name__} {error}".lower().replace(" ", "")
    known = ("quotaexceeded", "insufficientstorage", "storagefull", "nospaceleft", "xminiostoragefull")
    return getattr(error, "errno", None) in _NO_ROOM or status == 507 or any(word in words for word in known)


def is_transient(error: BaseException | None) -> bool:
    """Return whether the same request may succeed later."""
    if error is not None and _is_full(error):
        return False
    if isinstance(error, _FINAL) or getattr(error, "errno", None) in _FINAL_ERRNO:
        return False
    return "Credential" not in type(error).__name__
