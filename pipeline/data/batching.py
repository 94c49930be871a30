"""Shuffled batches of examples of similar length, in an order that depends on the data alone."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from pipeline.data.ragged import Ragged
from pipeline.data.splits import SEQUENCE_LENGTHS, ExampleRows, Split, row_hashes

WINDOW_BATCHES = 64
ORDER_STREAM, SUBSET_STREAM, TRANSFER_STREAM = 0, 1, 2


@dataclass(frozen=True)
class Batch:
    """Examples padded to the longest among them.

    `inputs`: input_ids, attention_mask, token_type_ids int64 [B, T], or [B, S, T] where an example is S sequences;
    labels [B]; `rows` locates them in their split; `row_hashes` are the hashes of these tokens.
    """

    rows: ExampleRows
    row_hashes: tuple[bytes, ...]
    inputs: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.rows.ids)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on a device."""
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, labels=self.labels.to(device, non_blocking=True))


def collate(split: Split, ids: np.ndarray, pad_id: int) -> Batch:
    """Return the batch of these examples; padding tokens are `pad_id`, their token type 0.

    Raises `BadCache` for an example whose stored id or row hash is not that of its place and tokens.
    """
    rows = split.rows(ids)
    tokens = rows.ragged("input_ids")
    sequence_lengths = rows.gather(SEQUENCE_LENGTHS) if split.sequences > 1 else None
    hashes = row_hashes(tokens, sequence_lengths)
    rows.check(hashes)
    lengths = np.diff(tokens.offsets) if sequence_lengths is None else sequence_lengths
    mask = np.arange(lengths.max()) < lengths[..., None]

    def padded(column: Ragged, fill: int) -> Tensor:
        filled = np.full(mask.shape, fill, np.int64)
        filled[mask] = column.values
        return torch.from_numpy(filled)

    inputs = {"input_ids": padded(tokens, pad_id), "attention_mask": torch.from_numpy(mask.astype(np.int64))}
    if split.has_token_types:
        inputs["token_type_ids"] = padded(rows.ragged("token_type_ids"), 0)
    return Batch(rows, hashes, inputs, torch.from_numpy(rows.gather("label")))


def subset(count: int, limit: int, data_seed: int, stream: int = SUBSET_STREAM) -> np.ndarray:
    """Return sorted ids of `limit` of `count` examples, drawn with `data_seed`; all if limit is 0 or above count.

    Draws of different streams are independent.
    """
    if not 0 < limit < count:
        return np.arange(count)
    return np.sort(np.random.default_rng([data_seed, stream]).permutation(count)[:limit])


@dataclass(frozen=True, eq=False)
class BatchOrder:
    """The batches of every epoch: a function of the lengths, the batch size and `data_seed` alone.

    Within windows of 64 batches the shuffled examples are sorted by length and cut into batches, which are then
    shuffled over the epoch. Every example is in an epoch exactly once.
    """

    ids: np.ndarray  # int64 [n]
    lengths: np.ndarray  # int64 [n], of these ids
    batch_size: int
    data_seed: int

    @cached_property
    def batches_per_epoch(self) -> int:
        """The number of batches; the last may be smaller."""
        return -(-len(self.ids) // self.batch_size)

    def epoch(self, number: int) -> list[np.ndarray]:
        """Return the batches of epoch `number` (from 0): arrays of example ids."""
        return _epoch(self, number)

    def representative(self, count: int) -> list[np.ndarray]:
        """Return `count` batches of the first epoch, evenly spaced by their tokens; full ones if there are any."""
        lengths = dict(zip(self.ids.tolist(), self.lengths.tolist(), strict=True))
        batches = [ids for ids in self.epoch(0) if len(ids) == self.batch_size] or list(self.epoch(0))
        batches.sort(key=lambda ids: sum(lengths[i] for i in ids.tolist()))
        places = (np.arange(count) + 0.5) / count * len(batches)
        return [batches[int(place)] for place in places]

    def batch(self, number: int) -> np.ndarray:
        """Return batch `number` (from 0) of the whole training, epochs joined end to end."""
        epoch, index = divmod(number, self.batches_per_epoch)
        return self.epoch(epoch)[index]


@lru_cache(maxsize=4)
def _epoch(order: BatchOrder, number: int) -> list[np.ndarray]:
    random = np.random.default_rng([order.data_seed, ORDER_STREAM, number])
    places = random.permutation(len(order.ids))
    window = WINDOW_BATCHES * order.batch_size
    batches = []
    for start in range(0, len(places), window):
        part = places[start : start + window]
        part = part[np.argsort(order.lengths[part], kind="stable")]
        # Within a batch the order does not matter; sorted ids are gathered fastest.
        batches += [np.sort(order.ids[part[i : i + order.batch_size]]) for i in range(0, len(part), order.batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


def by_length(ids: np.ndarray, lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return batches of `ids` for a pass without training: longest first (memory peaks at once), ties by id."""
    sorted_ids = ids[np.argsort(-lengths, kind="stable")]
    return [sorted_ids[i : i + batch_size] for i in range(0, len(sorted_ids), batch_size)]
