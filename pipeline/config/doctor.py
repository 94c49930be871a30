"""The configuration of `doctor`, which does not have options."""

from dataclasses import dataclass

from pipeline.config.options import Options


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(Options):
    """Check this machine and this installation; say what was found, and what to do about what was not.

    Each line is ok, a note (something is slower or not possible) or a problem (commands will fail). The exit code is 0
    in every case; the last line has the number of problems. Nothing is written, and no value of a secret is printed.
    """
