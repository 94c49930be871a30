"""What others do: the same student, trained with its teacher in the loop, in three ways.

Each contender is built from a `Setting` and trains on call: steps in, (examples, seconds) out. All begin with the
same weights and draw shuffled batches of the same examples; the loss is PKD-Skip in the reduction "reference".
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from pipeline.distillation.layer_map import pkd_skip
from pipeline.models.accelerator import synchronized_clock
from pipeline.models.checkpoints import build_classifier
from pipeline.models.encoders import cut_config, depth_of
from pipeline.system.optional_packages import package_directory
from pipeline.training.learner import CLIP_NORM, adamw

EPOCHS = 4  # that the learning rate is planned for, as in the reference recipe
WARMUP = 0.1
WEIGHT_DECAY = 0.01
WARM_STEPS = 1  # of each call of a Trainer, not timed


@dataclass(frozen=True, eq=False)
class Setting:
    """The task of all contenders. Raises ValueError for a student that has no layer to match."""

    teacher_config: Any  # of transformers; its num_labels are the classes
    student_layers: int
    examples: Sequence[np.ndarray]  # token ids with special tokens, at most `max_length` each
    labels: np.ndarray  # int64 [n]
    batch_size: int = 32
    max_length: int = 128
    device: str = "cpu"
    precision: str = "bfloat16"  # of `trainer_live`; the others compute in float32
    seed: int = 0
    temperature: float = 5.0
    alpha: float = 0.5
    beta: float = 100.0
    lr: float = 5e-5

    def __post_init__(self) -> None:
        if not 2 <= self.student_layers <= depth_of(self.teacher_config):
            raise ValueError(f"a student of {self.student_layers} layers has no layer to match")

    @property
    def matched(self) -> tuple[int, ...]:
        """The teacher layers that student layers 1..K match."""
        return pkd_skip(depth_of(self.teacher_config), self.student_layers)


Batch = dict[str, Tensor]  # input_ids, attention_mask int64 [B, S]; labels int64 [B]


@dataclass(frozen=True)
class Contender:
    """A student in training beside its teacher.

    `loss` is that of one batch, differentiable. `train` takes so many optimizer steps more, and returns the examples
    in them and the seconds that they took.
    """

    teacher: nn.Module
    student: nn.Module
    loss: Callable[[Batch], Tensor]
    train: Callable[[int], tuple[int, float]]

    def __call__(self, steps: int) -> tuple[int, float]:
        return self.train(steps)


def authors_way(setting: Setting) -> Contender:
    """As the authors' released code: padded to `max_length`, float32, the hidden states of all tokens returned."""
    teacher, student = teacher_and_student(setting)
    batches = _endless(_padded_batches(setting))
    optimizer, schedule = _optimizer_and_schedule(student, setting)

    def loss(batch: Batch) -> Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with torch.no_grad():
            of_teacher = teacher(**inputs, output_hidden_states=True)
        return pkd_skip_loss(setting, batch["labels"], student(**inputs, output_hidden_states=True), of_teacher)

    def train(steps: int) -> tuple[int, float]:
        examples, start = 0, synchronized_clock(setting.device)
        for _ in range(steps):
            batch = {name: tensor.to(setting.device) for name, tensor in next(batches).items()}
            optimizer.zero_grad(set_to_none=True)
            loss(batch).backward()
            nn.utils.clip_grad_norm_(student.parameters(), CLIP_NORM)
            optimizer.step()
            schedule.step()
            examples += len(batch["labels"])
        return examples, synchronized_clock(setting.device) - start

    return Contender(teacher, student, loss, train)


def trainer_live(setting: Setting) -> Contender:
    """Transformers' `Trainer` as it comes, with dynamic padding and `precision`, and the teacher in `compute_loss`.

    Each call is a `train()` of its own. Its first step is not timed, nor what surrounds the steps.
    """
    from transformers import PrinterCallback, Trainer, TrainerCallback

    teacher, student = teacher_and_student(setting)
    sizes: list[int] = []  # of the batches of a call
    moments: list[float] = []  # when its first step ended, and its last

    class LiveTeacherTrainer(Trainer):  # type: ignore[misc, unused-ignore]
        def compute_loss(self, model: Any, inputs: Batch, *_: Any, **__: Any) -> Tensor:
            labels = inputs.pop("labels")
            sizes.append(len(labels))
            with torch.no_grad(), self.accelerator.autocast():
                of_teacher = teacher(**inputs, output_hidden_states=True)
            return pkd_skip_loss(setting, labels, model(**inputs, output_hidden_states=True), of_teacher)

    class Clock(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step in (WARM_STEPS, state.max_steps):
                moments.append(synchronized_clock(setting.device))

    arguments = _trainer_arguments(setting)
    trainer = LiveTeacherTrainer(
        model=student,
        args=arguments,
        train_dataset=_rows(setting),
        data_collator=lambda parts: collate(parts, max(len(part["input_ids"]) for part in parts), setting),
        callbacks=[Clock],
    )
    trainer.remove_callback(PrinterCallback)
    calls = 0

    def train(steps: int) -> tuple[int, float]:
        nonlocal calls
        calls += 1
        torch.manual_seed(setting.seed + calls)  # the Trainer's order of examples: another one a call
        sizes.clear()
        moments.clear()
        arguments.max_steps = WARM_STEPS + steps
        trainer.train()
        return sum(sizes[WARM_STEPS:]), moments[1] - moments[0]

    return Contender(teacher, student, lambda batch: trainer.compute_loss(student, dict(batch)), train)


def _trainer_arguments(setting: Setting) -> Any:
    """The Trainer's defaults but for precision, and with nothing logged or saved."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=tempfile.gettempdir(),  # nothing is written
        per_device_train_batch_size=setting.batch_size,
        learning_rate=setting.lr,
        bf16=setting.precision == "bfloat16",
        use_cpu=setting.device == "cpu",
        dataloader_pin_memory=setting.device != "cpu",
        seed=setting.seed,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def textbrewer(setting: Setting) -> Contender:
    """TextBrewer's `GeneralDistiller` as in its examples: padded to `max_length`, float32, nothing saved.

    Its losses "ce" and "pkd" are the paper's sums: their weights make them our means, term by term. Its KD term has
    no entropy of the teacher in it, so its loss is larger by alpha · T² / C · mean entropy, a constant; its gradient
    is the same. Raises `MissingExtra` where TextBrewer is not installed.
    """
    package_directory("textbrewer", "textbrewer", "benchmark peers", "peers")
    from textbrewer import GeneralDistiller, TrainingConfig

    teacher, student = teacher_and_student(setting)
    optimizer, schedule = _optimizer_and_schedule(student, setting)
    batches = _padded_batches(setting)

    class Unsaved(GeneralDistiller):  # type: ignore[misc, unused-ignore]
        def save_and_callback(self, *_: Any) -> None:
            """It would write the student to disk at the end of each call."""

    def adaptor(_batch: Batch, output: Any) -> dict[str, Any]:
        return {"logits": output.logits, "hidden": output.hidden_states, "losses": output.loss}

    place = TrainingConfig(ckpt_steps=10**9, output_dir=tempfile.gettempdir(), device=setting.device)
    distiller = Unsaved(place, _distillation(setting), teacher, student, adaptor, adaptor)

    def train(steps: int) -> tuple[int, float]:
        sizes: list[int] = []

        def counted(batch: Batch) -> Batch:
            sizes.append(len(batch["labels"]))
            return batch

        start = synchronized_clock(setting.device)
        with distiller:
            distiller.train(
                optimizer,
                batches,
                scheduler=schedule,
                max_grad_norm=CLIP_NORM,
                num_steps=steps,
                batch_postprocessor=counted,
                output_hidden_states=True,
            )
        return sum(sizes), synchronized_clock(setting.device) - start

    def loss(batch: Batch) -> Tensor:
        total: Tensor = distiller.train_on_batch(batch, {"output_hidden_states": True})[0]
        return total

    return Contender(teacher, student, loss, train)


def _distillation(setting: Setting) -> Any:
    """TextBrewer's losses with the weights that make them PKD-Skip."""
    from textbrewer import DistillationConfig

    each = setting.beta / (len(setting.matched) * setting.teacher_config.hidden_size)
    return DistillationConfig(
        temperature=setting.temperature,
        kd_loss_type="ce",
        kd_loss_weight=setting.alpha * setting.temperature**2 / setting.teacher_config.num_labels,
        hard_label_weight=1 - setting.alpha,
        intermediate_matches=[
            {"layer_T": of_teacher, "layer_S": of_student, "feature": "hidden", "loss": "pkd", "weight": each}
            for of_student, of_teacher in enumerate(setting.matched, 1)
        ],
    )


def teacher_and_student(setting: Setting) -> tuple[nn.Module, nn.Module]:
    """A random teacher, in evaluation mode, and its first layers with its pooler and head, in training mode."""
    torch.manual_seed(setting.seed)
    teacher = build_classifier(setting.teacher_config)
    student = build_classifier(cut_config(setting.teacher_config, setting.student_layers))
    weights = teacher.state_dict()
    student.load_state_dict({name: weights[name] for name in student.state_dict()})
    return teacher.to(setting.device).eval(), student.to(setting.device).train()


def pkd_skip_loss(setting: Setting, labels: Tensor, of_student: Any, of_teacher: Any) -> Tensor:
    """The loss of a batch from the outputs of both models, written as a user of torch would write it."""
    temperature, matched = setting.temperature, setting.matched
    z_s, z_t = of_student.logits.float(), of_teacher.logits.float()
    log_q = functional.log_softmax(z_s / temperature, dim=-1)
    divergence = functional.kl_div(log_q, functional.softmax(z_t / temperature, dim=-1), reduction="sum")
    kd = temperature**2 * divergence / z_s.numel()
    h_s = torch.stack([of_student.hidden_states[layer][:, 0] for layer in range(1, len(matched) + 1)], dim=1).float()
    h_t = torch.stack([of_teacher.hidden_states[layer][:, 0] for layer in matched], dim=1).float()
    patience = functional.mse_loss(functional.normalize(h_s, dim=-1), functional.normalize(h_t, dim=-1))
    ce = functional.cross_entropy(z_s, labels)
    return (1 - setting.alpha) * ce + setting.alpha * kd + setting.beta * patience


def _rows(setting: Setting) -> list[dict[str, Any]]:
    return [{"input_ids": ids, "labels": y} for ids, y in zip(setting.examples, setting.labels, strict=True)]


def collate(rows: Sequence[Mapping[str, Any]], width: int, setting: Setting) -> Batch:
    """A batch padded to `width` tokens."""
    ids = np.full((len(rows), width), setting.teacher_config.pad_token_id or 0, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for place, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[place, :length] = row["input_ids"]
        mask[place, :length] = 1
    labels = np.array([row["labels"] for row in rows], np.int64)
    tensors = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in tensors.items()}


def _padded_batches(setting: Setting) -> DataLoader[Any]:
    """Shuffled batches of examples that were padded to `max_length` beforehand; the last one of an epoch is smaller."""
    padded = collate(_rows(setting), setting.max_length, setting)
    examples = [dict(zip(padded, values, strict=True)) for values in zip(*padded.values(), strict=True)]
    order = torch.Generator().manual_seed(setting.seed)
    return DataLoader(examples, batch_size=setting.batch_size, shuffle=True, generator=order)  # type: ignore[arg-type]


def _endless(epoch: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        yield from epoch


def _optimizer_and_schedule(student: nn.Module, setting: Setting) -> tuple[torch.optim.AdamW, Any]:
    """AdamW, without decay of biases and LayerNorms; the learning rate rises and falls as in the reference recipe."""
    from transformers import get_linear_schedule_with_warmup

    optimizer = adamw(student, WEIGHT_DECAY, setting.lr)
    total = EPOCHS * -(-len(setting.examples) // setting.batch_size)
    return optimizer, get_linear_schedule_with_warmup(optimizer, round(total * WARMUP), total)
