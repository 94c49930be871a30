"""A probe of a model: its outputs and gradients on a few made-up rows, to compare it with another form of itself.

What is known of an architecture by its name may be wrong of the next one. So it is asked to run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import BadModel, one_line
from pipeline.models.encoders import cls_vectors, depth_of, is_multiple_choice, layer_outputs
from pipeline.models.inputs import position_limit
from pipeline.system.system_errors import refusing

TOLERANCE = 1e-5  # relative, in float32
# Of [CLS] of a padded text, relative: a convolution (ConvBERT) reaches a little into the padding.
PADDING_TOLERANCE = 0.03
_LENGTHS = (12, 12, 7, 3)  # tokens of the rows, the second of which has other tokens than the first
_SMALL = 0.1  # a gradient's error counts against the whole gradient's norm times this, where that is larger


def probe_batch(model: Any) -> dict[str, Tensor]:
    """Return input_ids and attention_mask [4, 12] of random tokens of the model's vocabulary, with padding.

    For a multiple-choice model they are four choices of one question, [1, 4, 12]. A model with fewer than 12 positions
    gets as many tokens as it takes. Raises `BadModel` for one with fewer than two.
    """
    config = model.config
    pad = config.pad_token_id if isinstance(getattr(config, "pad_token_id", None), int) else 0
    length = min(max(_LENGTHS), position_limit(model))
    if length < 2:
        raise BadModel(f"{config.model_type} has positions for {length} tokens. Use a model with more positions")
    lengths = torch.tensor(_LENGTHS).clamp(max=length)
    random = torch.Generator().manual_seed(0)
    tokens = torch.tensor([token for token in range(min(config.vocab_size, 10_000)) if token != pad])
    ids = tokens[torch.randint(len(tokens), (len(lengths), length), generator=random)]
    ids[1, 0] = ids[0, 0]
    mask = (torch.arange(length)[None, :] < lengths[:, None]).long()
    device = next(model.parameters()).device
    batch = {"input_ids": torch.where(mask == 1, ids, pad).to(device), "attention_mask": mask.to(device)}
    return {name: rows[None] for name, rows in batch.items()} if is_multiple_choice(config) else batch


@dataclass(frozen=True)
class Observation:
    """The outputs of a model on its probe batch: logits, [CLS] of each layer; and the gradient of each parameter.

    The gradient is that of a fixed weighted sum of logits and [CLS] vectors.
    """

    outputs: list[Tensor]
    gradients: list[Tensor]

    def equals(self, observed: "Observation") -> bool:
        """Return whether both are the same within the tolerance."""
        if len(self.outputs) != len(observed.outputs) or len(self.gradients) != len(observed.gradients):
            return False
        norm = float(torch.stack([gradient.norm() for gradient in self.gradients] or [torch.zeros(())]).norm())
        return all(
            ours.shape == theirs.shape and float((ours - theirs).norm()) <= TOLERANCE * max(float(ours.norm()), floor)
            for pairs, floor in (
                (zip(self.outputs, observed.outputs, strict=True), 0.0),
                (zip(self.gradients, observed.gradients, strict=True), _SMALL * norm),
            )
            for ours, theirs in pairs
        )


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Keep dropout off; afterwards the model and torch's generator are as they were."""
    training = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices=[]):
        try:
            model.eval()
            yield
        finally:
            for module, mode in training:
                module.training = mode


def observe(model: Any) -> Observation:
    """Run a model on its probe batch, forward and backward, in float32 and without dropout."""
    with evaluation(model), torch.enable_grad():
        with cls_vectors(model, range(1, depth_of(model.config) + 1)) as vectors:
            logits = model(**probe_batch(model)).logits
        outputs = [logits, *vectors]
        random = torch.Generator().manual_seed(1)
        total = sum((part * torch.randn(part.shape, generator=random).to(part.device)).sum() for part in outputs)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(total, parameters, allow_unused=True) if parameters else ()
    used = [torch.zeros(()) if gradient is None else gradient for gradient in gradients]
    return Observation([part.detach() for part in outputs], used)


def first_layers_equal(cut: Any, uncut: Any) -> bool:
    """Return whether layer j of a cut model computes what layer j of the uncut one does, at [CLS] of a probe batch."""
    layers = range(1, depth_of(cut.config) + 1)
    read = []
    for model in (cut, uncut):
        with evaluation(model), torch.inference_mode(), cls_vectors(model, layers) as vectors:
            model(**probe_batch(uncut))
        read.append(Observation(list(vectors), []))
    return read[0].equals(read[1])


@contextmanager
def running(model: Any) -> Iterator[None]:
    """Raise `BadModel` with the reason where a model fails on its inputs; errors of the system stay what they are."""

    def failed(error: Exception) -> BadModel:
        return BadModel(
            f"this {model.config.model_type} cannot be run ({type(error).__name__}: {one_line(error, 160)}). "
            "Use another encoder, or another --max-length"
        )

    with refusing(failed):
        yield


def check_encoder(model: Any) -> None:
    """Raise `BadModel` for a model whose [CLS] vectors cannot be distilled.

    Every layer's output has to be [B, S, H], and the first position has to see the whole text and no padding.
    """
    kind, hidden = model.config.model_type, model.config.hidden_size
    layers = range(1, depth_of(model.config) + 1)
    batch = probe_batch(model)
    rows, tokens = batch["input_ids"].shape[-2:]
    read = layer_outputs(model, layers, lambda output: output)
    with running(model), evaluation(model), torch.inference_mode(), read as outputs:
        model(**batch)
    for number, output in enumerate(outputs, start=1):
        shape = tuple(getattr(output, "shape", ()))
        if len(shape) != 3 or shape[0] != rows or shape[1] < tokens or shape[2] != hidden:
            raise BadModel(
                f"{kind} cannot be distilled: its layer {number} does not return hidden states [rows, tokens, "
                f"{hidden}]. Use a BERT-like encoder (docs/encoders.md)"
            )
    last = outputs[-1][:2, 0]
    if torch.equal(last[0], last[1]):
        reason = "its first position does not see the text after it, as in a decoder"
        if _is_without_attention(model, batch, outputs[-1][0, tokens - 1]):
            reason = "no position sees another, as where the kernel of its attention (MRA's, for CUDA) is missing"
        raise BadModel(f"{kind} cannot be distilled: {reason}. Use a BERT-like encoder (docs/encoders.md)")
    shortest = batch["input_ids"][..., -1:, : int(batch["attention_mask"].flatten(0, -2)[-1].sum())]
    with running(model), evaluation(model), torch.inference_mode(), cls_vectors(model, layers) as alone:
        model(input_ids=shortest, attention_mask=torch.ones_like(shortest))
    padded = outputs[-1][-1, 0]
    if float((alone[-1][0] - padded).norm()) > PADDING_TOLERANCE * float(padded.norm()):
        raise BadModel(
            f"{kind} cannot be distilled: its outputs depend on the padding of a batch. Use a BERT-like encoder "
            "(docs/encoders.md)"
        )


def _is_without_attention(model: Any, batch: dict[str, Tensor], end: Tensor) -> bool:
    """Return whether the output at the end of the first text is `end` [H] with another first token, too."""
    ids = batch["input_ids"].clone()
    ids[..., 0, 0] = ids[..., 1, 1]
    last_layer = layer_outputs(model, [depth_of(model.config)], lambda output: output[0, ids.shape[-1] - 1])
    with running(model), evaluation(model), torch.inference_mode(), last_layer as outputs:
        model(**batch | {"input_ids": ids})
    return torch.equal(outputs[0], end)
