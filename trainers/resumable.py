"""What TRL's trainers need to go on after a cut exactly as if there had been none. Imports torch.

Owns two things that their checkpoints leave out. The order of rows: Transformers draws batches of like length from
whatever the random state is when an epoch begins, which no checkpoint keeps. And a P-tuning network: PEFT saves what it
makes, the virtual tokens, and on loading puts them in as what goes into it, so that a resumed run, or the best
checkpoint loaded at the end, would silently be something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler

_FILE = "prompt_encoder.pt"


class LikeLengths(LengthGroupedSampler):
    """Batches of rows of like length, in an order that the seed and the epoch decide."""

    def __init__(self, lengths: list[int], step_rows: int, seed: int) -> None:
        super().__init__(step_rows, lengths=lengths)
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer as an epoch begins."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self._seed + self._epoch)
        yield from super().__iter__()


class Resumable:
    """For trainers: rows in the same order once more, and the network of a P-tuning kept with each checkpoint."""

    args: Any
    train_dataset: Any
    model: Any
    state: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or "input_ids" not in rows.column_names:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        step_rows = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LikeLengths([len(ids) for ids in rows["input_ids"]], step_rows, self.args.data_seed)

    def _encoder(self) -> Any:
        encoders = getattr(self.model, "prompt_encoder", None)
        encoder = encoders["default"] if encoders is not None and "default" in encoders else None
        return encoder if hasattr(encoder, "mlp_head") else None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)  # type: ignore[misc]
        encoder = self._encoder()
        if encoder is not None and output_dir:
            torch.save(encoder.state_dict(), Path(output_dir) / _FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        self._put_back(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        super()._load_best_model()  # type: ignore[misc]
        self._put_back(self.state.best_model_checkpoint)

    def _put_back(self, checkpoint: str) -> None:
        encoder = self._encoder()
        if encoder is not None:
            encoder.load_state_dict(torch.load(Path(checkpoint) / _FILE, weights_only=True))
