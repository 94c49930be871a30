"""The hub, and the environment variables that change what commands do. Of a secret only the name is printed."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import one_line
from pipeline.system.cgroup import core_quota
from pipeline.system.cpu import available_cores
from pipeline.system.formatting import public_place
from stages.doctor.checks import NOTE, OK, Check
from stages.doctor.places import disk

HUB_SECONDS = 3.0
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
SHOWN = (  # variables without secrets
    *THREADS,
    "GOMP_SPINCOUNT",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "CUDA_VISIBLE_DEVICES",
    "PKD_STORE",
    "PKD_QUIET",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_XET",
    "TRANSFORMERS_OFFLINE",
    "TOKENIZERS_PARALLELISM",
    "TMPDIR",
)
PLACES = ("HF_ENDPOINT", "RAY_ADDRESS", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL")  # shown without user and password
NAMED = (  # values can hold secrets
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "WANDB_API_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    *("MLFLOW_TRACKING_TOKEN",),
)


def hub() -> Iterator[Check]:
    """Yield a check of whether the hub answers, of a token, and of where its downloads are kept."""
    from huggingface_hub import constants, get_token

    token = "a token is set" if get_token() else "no token: public models only"
    if constants.HF_HUB_OFFLINE:
        advice = "Models on this machine are used; to download others: unset HF_HUB_OFFLINE"
        yield Check("hub", NOTE, f"HF_HUB_OFFLINE is set; {token}", advice)
    elif _answers():
        yield Check("hub", OK, f"{public_place(constants.ENDPOINT)} answers; {token}")
    else:
        fact = f"{public_place(constants.ENDPOINT)} did not answer within {HUB_SECONDS:g} s; {token}"
        yield Check("hub", NOTE, fact, "Models and data in local directories work without it: export HF_HUB_OFFLINE=1")
    place = Path(constants.HF_HUB_CACHE)
    yield disk("hub downloads", place, str(place), "export HF_HOME=/another/directory")


def _answers() -> bool:
    """Return whether the hub answers in time; looking up its name can take longer than any limit of a client."""
    from pipeline.system.hub import reachable

    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(reachable()), daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)
    return answers == [True]


def variables() -> Iterator[Check]:
    """Yield a check of the variables that are set, and one of the number of threads where that is set oddly."""
    values = [f"{name}={one_line(os.environ[name], 80)}" for name in SHOWN if name in os.environ]
    values += [f"{name}={one_line(public_place(os.environ[name]), 80)}" for name in PLACES if name in os.environ]
    names = [f"{name} (set)" for name in NAMED if os.environ.get(name)]
    yield Check("variables", OK, ", ".join([*values, *names]) or "none is set of those that this program uses")
    cores = min(available_cores(), max(1, int(core_quota() or available_cores())))
    for name in THREADS:
        value = os.environ.get(name, "").strip()
        if not value:
            continue
        first = value.partition(",")[0]  # a number for each level of nesting
        if not first.isascii() or not first.isdigit() or not int(first):
            fact = f"{name} is {one_line(value, 40)!r}, not a number of threads"
            yield Check("threads", NOTE, fact, f"export {name}={cores}")
        elif int(first) > cores:
            fact = f"{name} is {first}, and there are {cores} cores: threads wait for each other"
            yield Check("threads", NOTE, fact, f"export {name}={cores}")
        elif int(first) < cores:
            yield Check("threads", NOTE, f"{name} is {first}, and there are {cores} cores", f"To use all: unset {name}")
