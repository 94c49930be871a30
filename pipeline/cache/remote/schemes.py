"""Schemes of URLs: the kinds of object stores that hold published caches."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scheme:
    """A kind of object store."""

    package: str  # that fsspec needs
    extra: str  # of this project that installs the package
    check: str  # the settings that a user checks after a refusal
    bucket_parts: int  # parts of a path that name the bucket or repository
    options: dict[str, Any]  # of fsspec


SCHEMES = {
    "s3": Scheme(
        "s3fs",
        "s3",
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL",
        1,
        {
            "config_kwargs": {
                "connect_timeout": 5,
                "read_timeout": 30,
                "retries": {"total_max_attempts": 1},  # `_attempt` tries again
                # some servers send the whole object's checksum with a range; the digests guard the bytes
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        },
    ),
    "gs": Scheme("gcsfs", "gcs", "GOOGLE_APPLICATION_CREDENTIALS", 1, {}),
    "hf": Scheme("huggingface_hub", "", "HF_TOKEN and HF_ENDPOINT", 3, {}),
    "file": Scheme("fsspec", "", "its permissions", 0, {}),
    "memory": Scheme("fsspec", "", "", 0, {}),
}
