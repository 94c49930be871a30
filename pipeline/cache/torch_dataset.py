"""A split of a cache as a map-style data set of torch: for a DataLoader, a Trainer, or any loop of one's own."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.cache.checked_split import OpenCache, ShardChecks, chosen_columns, named_split
from pipeline.cache.format.columns import cls_layer
from pipeline.data.batching import Batch, collate
from pipeline.errors import BadCache

EXAMPLE_ID = "example_id"
TOKENS = ("input_ids", "token_type_ids", "attention_mask")  # whose last dimension differs by example


class CacheDataset(Dataset[dict[str, Tensor]]):
    """The examples of a split. Made by `Cache.dataset`, which says what an item is.

    A copy in another process maps the files itself: no data is sent to a worker of a DataLoader.
    """

    def __init__(self, cache: OpenCache, split: str = "train", columns: Sequence[str] | None = None):
        targets = [name for name, kind in cache.manifest.column_types().items() if kind.target]
        self.cache, self.split_name = cache, split
        self.columns = targets if columns is None else chosen_columns(cache, columns, (*targets, EXAMPLE_ID))
        self._open()

    def _open(self) -> None:
        self.split = named_split(self.cache, self.split_name)
        if TOKENS[0] not in self.split.shards[0]:
            raise BadCache(
                f"{self.cache.location} has texts and no tokens: its targets were made elsewhere. Give it the tokens "
                "of your student, with with_own_tokens of pipeline/distillation/own_tokens.py"
            )
        self.pad_id = self.cache.tokens.pad_id
        self._checks = ShardChecks(self.cache, self.split, [name for name in self.columns if name != EXAMPLE_ID])

    def __getstate__(self) -> dict[str, Any]:
        return {"cache": self.cache, "split_name": self.split_name, "columns": self.columns}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one example; a negative index counts from the end. Raises IndexError behind the last one."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """Return several examples, read together: a DataLoader calls this with a batch.

        Raises `BadCache` for a shard whose bytes, or a row whose tokens, are not those that its targets belong to.
        """
        ids = np.array([range(len(self))[operator.index(index)] for index in indices], np.int64)
        if not len(ids):
            return []
        self._checks.check(ids)
        batch = collate(self.split, ids, self.pad_id)
        values = {"labels": batch.labels} | {name: self._target(batch, name) for name in self.columns}
        lengths = batch.inputs["attention_mask"].sum(-1).reshape(len(ids), -1).amax(-1).tolist()
        return [
            {name: tensor[place, ..., :length] for name, tensor in batch.inputs.items()}
            | {name: tensor[place] for name, tensor in values.items()}
            for place, length in enumerate(lengths)
        ]

    def _target(self, batch: Batch, name: str) -> Tensor:
        values = torch.from_numpy(batch.rows.gather(name))
        if cls_layer(name) is None or self.split.sequences == 1:
            return values
        return values.reshape(len(values), self.split.sequences, -1)

    def collate(self, items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return a batch of items: each column [B, …], tokens padded to the longest of them.

        For `DataLoader(collate_fn=…)` and `Trainer(data_collator=…)`. Padding is the tokenizer's token, with 0 in
        `token_type_ids` and in `attention_mask`.
        """
        longest = max(item["input_ids"].shape[-1] for item in items)

        def padded(name: str, tensor: Tensor) -> Tensor:
            if name not in TOKENS:
                return tensor
            fill = self.pad_id if name == "input_ids" else 0
            return torch.nn.functional.pad(tensor, (0, longest - tensor.shape[-1]), value=fill)

        return {name: torch.stack([padded(name, item[name]) for item in items]) for name in items[0]}

    def verify(self) -> None:
        """Compare every shard with its digests now, rather than each before its first use; downloads what is missing.

        Raises `BadCache` naming the damaged shard.
        """
        self._checks.check_all()
