"""Errors of the file system that the user can resolve: no room, no permission, an impossible name."""

import errno

RESOLVABLE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EISDIR,
)


def advice(error: OSError) -> str | None:
    """Return one line, the fact and the next step, or None for an error that the user cannot resolve."""
    if error.errno not in RESOLVABLE:
        return None
    reason = f"{error.filename or 'the disk'}: {error.strerror}"
    return f"{reason}. Make room or name another directory, then run the same command again"
