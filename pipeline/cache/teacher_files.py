"""The files of the teacher inside a cache: config, tokenizer, and weights in one safetensors file per layer.

transformers loads the directory unchanged (the usual index names the files). A student of N layers reads the files of
layers 1..N and of embeddings, pooler and head; the upper layers' files are not opened. Where one module is all layers
(ALBERT) there is one file.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.cache.format.manifest import TEACHER_SUFFIXES
from pipeline.cache.teacher_config import CONFIG, INDEX, TOKENIZER_CONFIG, checked_config, damaged_teacher, is_private
from pipeline.errors import BadModel
from pipeline.models.checkpoints import build_classifier, check_saves
from pipeline.models.chosen_layers import weights_of_layers
from pipeline.models.encoders import cut_config, depth_of, layer_list, sequences_of
from pipeline.system.files import read_json, write_json

SURROUNDINGS = "surroundings.safetensors"  # embeddings, pooler, head


def layer_of(file: str) -> int:
    """Return the layer that a file of teacher/ holds; 0 for a file that every student needs."""
    match = re.fullmatch(r"layer-(\d+)\.safetensors", file)
    return int(match[1]) if match else 0


def write_teacher_files(directory: Path, model: Any, tokenizer: Any) -> None:
    """Write the teacher into `directory`, in bytes that depend on nothing but the model and the tokenizer.

    Entries of its configurations that name code or paths of this machine are left out: others will read them. Raises
    `BadModel` for a teacher that a reader would refuse.
    """
    prefix, _ = layer_list(model)
    files: dict[str, dict[str, Tensor]] = {}
    for name, tensor in sorted(model.state_dict().items()):
        file = SURROUNDINGS
        if prefix and name.startswith(prefix + "."):
            file = f"layer-{int(name[len(prefix) + 1 :].split('.')[0]) + 1:02d}.safetensors"
        files.setdefault(file, {})[name] = tensor.detach().cpu().contiguous()
    for file, tensors in files.items():
        save_file(tensors, directory / file, metadata={"format": "pt"})
    size = sum(t.numel() * t.element_size() for tensors in files.values() for t in tensors.values())
    weight_map = {name: file for file, tensors in files.items() for name in tensors}
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    model.config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    for name in (CONFIG, TOKENIZER_CONFIG):
        value = {key: item for key, item in read_json(directory / name).items() if not is_private(key)}
        (directory / name).write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    for path in directory.iterdir():
        if path.is_file() and path.suffix not in TEACHER_SUFFIXES:  # code, which a custom tokenizer may save
            path.unlink()
    try:
        checked_config(directory)
    except ValueError as error:
        raise BadModel(f"this teacher cannot be cached: {error}. Save it without that first") from error


def load_student(directory: Path, layers: int | Sequence[int], depth: int) -> nn.Module:
    """Return a student with the teacher's embeddings, pooler, head, and of `depth` layers the first or those numbered.

    The directory may come from anyone: nothing is allocated before the shapes that its configuration requests have
    been compared with those of its weights. Raises `BadCache` where anything differs.
    """
    with _damage_named(directory):
        config = checked_config(directory)
        if depth_of(config) != depth:
            raise ValueError(f"{CONFIG} says {depth_of(config)} layers, and there are {depth}")
    cut = cut_config(config, layers)
    with _damage_named(directory):
        weight_map = read_json(directory / INDEX)["weight_map"]
        skeleton, uncut = _skeleton(cut), _skeleton(config)
    places = weights_of_layers(skeleton, uncut, layers)
    with _damage_named(directory):
        shapes = {places[name]: (name, tuple(tensor.shape)) for name, tensor in skeleton.state_dict().items()}
        state: dict[str, Tensor] = {}
        for file in sorted({weight_map[name] for name in shapes}):
            if Path(file).name != file or Path(file).suffix != ".safetensors":
                raise ValueError(f"{file!r} is not a file of weights")
            with safe_open(directory / file, "pt") as weights:
                names = set(weights.keys())
                for name in [name for name in shapes if name in names]:
                    part, (target, shape) = weights.get_slice(name), shapes[name]
                    if tuple(part.get_shape()) != shape or part.get_dtype() != "F32":
                        raise ValueError(f"{name} is {part.get_dtype()} {part.get_shape()}, not {shape}")
                    state[target] = weights.get_tensor(name)
        student = build_classifier(cut)
        student.load_state_dict(state)
        _try(student, config.num_labels)
    check_saves(student)
    return student


def _skeleton(config: Any) -> nn.Module:
    """Return a model of this configuration without values: nothing is allocated."""
    with torch.device("meta"):
        return build_classifier(config)


@contextmanager
def _damage_named(directory: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a malicious configuration can make transformers raise anything
        raise damaged_teacher(directory, error) from error


def _try(student: nn.Module, classes: int) -> None:
    """Run the student on one token per sequence. Raises any exception of a model that cannot take it."""
    training, sequences = student.training, sequences_of(student.config)
    shape = (1, sequences, 1) if sequences > 1 else (1, 1)
    with torch.inference_mode():
        output = student.eval()(input_ids=torch.zeros(shape, dtype=torch.long))
    if tuple(output.logits.shape) != (1, classes):
        raise ValueError(f"its logits are {list(output.logits.shape)}")
    student.train(training)


def copy_tokenizer(directory: Path, names: Iterable[str], target: Path, segments: bool = True) -> None:
    """Copy the tokenizer's files, among these names of files in teacher/, to a student's directory.

    Without `segments` the copy does not make segment ids: for a student that has no embeddings for them.
    """
    for name in names:
        if name.endswith(".safetensors") or name in (CONFIG, INDEX):
            continue
        shutil.copyfile(directory / name, target / name)
    if not segments:
        settings = read_json(target / TOKENIZER_CONFIG)
        settings["model_input_names"] = ["input_ids", "attention_mask"]
        write_json(target / TOKENIZER_CONFIG, settings)
