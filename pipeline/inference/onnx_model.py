"""An ONNX file that runs: batches of numbers in, logits out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import BadModel, one_line
from pipeline.inference.onnx_writer import LOGITS, require_onnx
from pipeline.models.inputs import SEGMENTS
from pipeline.system.cpu import available_cores
from pipeline.system.system_errors import refusing

_KNOWN = ("input_ids", "attention_mask", SEGMENTS)
_ERRORS_ONLY = 3  # of onnxruntime's levels of severity


@dataclass(frozen=True)
class OnnxModel:
    """A file in a session of onnxruntime. `inputs` are the names that it takes, `rank` the axes of each."""

    inputs: tuple[str, ...]
    rank: int
    session: Any

    def __call__(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Return logits float32 [B, C] of int64 arrays or CPU tensors [B, T] or [B, S, T]; others are not read.

        Raises ValueError for a batch without an input, or with one of another rank.
        """
        feeds = {}
        for name in self.inputs:
            if name not in batch:
                raise ValueError(f"the batch does not have {name}")
            feeds[name] = np.ascontiguousarray(batch[name], np.int64)
            if feeds[name].ndim != self.rank:
                raise ValueError(f"{name} has {feeds[name].ndim} axes, and the model takes {self.rank}")
        logits: np.ndarray = self.session.run([LOGITS], feeds)[0]
        return logits


def load_onnx(path: Path, threads: int | None = None) -> OnnxModel:
    """Return the model of an ONNX file, on this many threads of the CPU, by default one for each core.

    The file may come from anyone: it is refused if it names other files. Raises `BadModel`, `MissingExtra`, OSError.
    """
    require_onnx(f"{path.name}")
    import onnxruntime

    data = path.read_bytes()
    with refusing(lambda error: BadModel(f"{path} is not an ONNX file that can be run ({one_line(error, 160)})")):
        _check_self_contained(data)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or available_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        entries = session.get_inputs()
        inputs, ranks = tuple(entry.name for entry in entries), {len(entry.shape) for entry in entries}
        if not {"input_ids"} <= {*inputs} <= {*_KNOWN} or len(ranks) != 1 or not ranks <= {2, 3}:
            raise ValueError(f"its inputs are {', '.join(inputs)}")
        if any(entry.type != "tensor(int64)" for entry in entries):
            raise ValueError("its inputs are not int64")
        if LOGITS not in [entry.name for entry in session.get_outputs()]:
            raise ValueError(f"it does not have an output {LOGITS}")
    return OnnxModel(inputs, ranks.pop(), session)


def _check_self_contained(data: bytes) -> None:
    """Raise ValueError for a model whose weights are in other files, which may be any of this machine."""
    import onnx
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    model = onnx.load_model_from_string(data)
    if any(map(uses_external_data, _get_all_tensors(model))):
        raise ValueError("its weights are in another file")
