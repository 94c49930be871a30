"""Latency of students by their depth, measured on the teacher's own first layers: weights do not change it."""

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.cache.reader import Cache
from pipeline.cache.teacher_files import load_student
from pipeline.data.tasks import TRAIN
from pipeline.errors import BadModel, BadOption
from pipeline.inference.latency import single_example_latency
from pipeline.models.accelerator import make_accelerator
from pipeline.system.files import read_json, write_json
from pipeline.system.progress import bar, note

LONG = 95  # percentile of the lengths of training rows
BURSTS, CALLS, PAUSE_SECONDS = 7, 3, 0.05
NOISY = 2.0  # slowest burst / fastest burst


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of one example of `tokens` tokens by the number of layers, in torch, float32."""

    tokens: int
    device: str
    threads: int
    milliseconds: Mapping[int, float]

    @property
    def conditions(self) -> str:
        """The conditions of the measurement, in words."""
        place = f"{self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else "the GPU"
        return f"one example of {self.tokens} tokens, torch, float32, {place}"


def measured_latencies(cache: Cache, depths: Iterable[int], file: Path) -> Latencies:
    """Return the latency of each depth that the teacher can be cut to.

    What was measured here before, with this cache and as many threads, is read from `file`: so that a call that goes on
    decides as the first one did.
    """
    tokens = math.ceil(np.percentile(cache.splits[TRAIN].lengths, LONG))
    device = make_accelerator("float32").device
    key = {"cache": cache.identity, "tokens": tokens, "device": device.type, "threads": torch.get_num_threads()}
    known = _earlier(file, key)
    missing = [depth for depth in depths if depth not in known]
    if missing:
        cache.check_teacher(range(1, cache.manifest.model.depth + 1))
        with bar(len(missing), "latency by depth", "depth") as progress:
            for depth in missing:
                with suppress(BadModel):  # of an architecture that cannot be cut there
                    known[depth] = _latency(cache, depth, tokens, device, file)
                progress.update()
        write_json(file, {**key, "milliseconds": {str(depth): known[depth] for depth in sorted(known)}})
    return Latencies(tokens, device.type, key["threads"], known)


def _latency(cache: Cache, depth: int, tokens: int, device: Any, file: Path) -> float:
    """Return the milliseconds of one example: of each burst of calls the median, of these the lowest.

    Other programs on the cores make a burst slower, never faster; after a pause the scheduler lets this one go first.
    """
    model = load_student(cache.teacher, depth, cache.manifest.model.depth).to(device)
    bursts = []
    for _ in range(BURSTS):
        time.sleep(PAUSE_SECONDS)
        bursts.append(single_example_latency(model, tokens, calls=CALLS).median)
    if max(bursts) > NOISY * min(bursts):
        note(
            f"{depth} layer{'s' * (depth > 1)}: {min(bursts):.1f} ms, and at times {max(bursts):.1f} ms, as other "
            f"programs use this machine. To measure it again when they do not, remove {file}"
        )
    return round(min(bursts), 3)


def _earlier(file: Path, key: Mapping[str, Any]) -> dict[int, float]:
    """Return what an earlier call measured in the same conditions."""
    try:
        record = read_json(file)
        if {name: record[name] for name in key} != key:
            return {}
        return {int(depth): float(value) for depth, value in record["milliseconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def deepest_within(budget_ms: float, latencies: Latencies) -> int:
    """Return the most layers that stay below the budget. Raises `BadOption`, with the fastest, where none do."""
    fitting = [depth for depth, taken in latencies.milliseconds.items() if taken < budget_ms]
    if fitting:
        return max(fitting)
    depth, fastest = min(latencies.milliseconds.items(), key=lambda item: item[1])
    enough = math.ceil(11 * fastest) / 10  # a tenth more, in steps of 0.1 ms
    raise BadOption(
        f"--budget-ms {budget_ms:g} cannot be met: the fastest student, of {depth} layer{'s' * (depth > 1)}, takes "
        f"{fastest:.1f} ms here ({latencies.conditions}). Try --budget-ms {enough:g}, or a smaller --model"
    )
