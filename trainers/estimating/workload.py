"""What is to be computed: a base model's figures, how it is changed, and the rows that go through it.

Owns reading these out of a plan, a model's files and the rows' lengths. Refuses to know machines, and to estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from trainers.evaluation.probes import replies
from trainers.models import LocalModel
from trainers.objectives import SftObjective
from trainers.plan import TrainingPlan
from trainers.shapes import BaseShape
from trainers.strategies import AnyStrategy, FewShotStrategy, LoraStrategy, MetaLoraStrategy
from trainers.strategies.lora import ALL_LINEAR

_MOST_OF_AN_EPISODE = 32  # rows that meta-learning runs at once
_MEGABATCHES = 50  # the library sorts by length within so many batches at a time, as its LengthGroupedSampler has it


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseFigures(_Record):
    """A decoder's sizes. `parameters` counts all weights, `head` those of the output matrix, `bytes_on_disk` what its
    files hold; `inner` is the width within the feed-forward part, `kv_width` that of all keys of one token."""

    parameters: int
    layers: int
    width: int
    inner: int
    heads: int
    kv_width: int
    vocabulary: int
    bytes_on_disk: int = 0
    tied: bool = True
    limit: int | None = None
    matrices: tuple[tuple[int, int], ...] = ()

    @property
    def head(self) -> int:
        return self.vocabulary * self.width

    @property
    def body(self) -> int:
        """The weights that every token is multiplied with, the head and the table of embeddings aside."""
        return max(1, self.parameters - self.head * (1 if self.tied else 2))


class Lengths(_Record):
    """Row lengths in tokens, cut at the plan's limit: their mean, the mean with the padding to the longest of a batch,
    and the longest row."""

    mean: float
    padded: float
    longest: int


class Workload(_Record):
    """All that the figures of a plan depend on, the machine aside.

    `rows` are those trained on, among them `general_rows`, which the base answers before; `evaluations` how often the
    dev rows are looked at; `replies` what the probes ask of both arms together; `shown_tokens` those of solved examples
    in a prompt; `texts` whether likelihoods of whole texts are asked for; `labels` how many answers there are to choose
    from, 0 where they are free; `continues` whether it goes on from a parent.
    """

    base: BaseFigures
    strategy: AnyStrategy
    objective: Literal["sft", "dpo", "kto"] = "sft"
    packing: bool = False
    batch: int
    accumulation: int = 1
    checkpointing: bool | None = None
    max_tokens: int
    lengths: Lengths
    epochs: float
    rows: int
    general_rows: int = 0
    dev: int = 0
    test: int = 0
    evaluations: float = 1.0
    answer_tokens: int = 8
    max_new_tokens: int = 24
    replies: int = 0
    further_prompts: int = 0
    shown_tokens: int = 0
    eval_batch: int = 16
    texts: bool = False
    labels: int = 0
    continues: bool = False

    @property
    def trains(self) -> bool:
        return self.strategy.trains

    @property
    def whole(self) -> bool:
        """Whether all weights of the base move."""
        return self.strategy.form == "model"

    @property
    def rows_seen(self) -> float:
        """How many rows go through the model in training, counted as often as they do; of pairs both answers."""
        return self.strategy.rows_seen(self.rows, self.epochs) * self.passes

    @property
    def passes(self) -> int:
        """Sequences for each row: a chosen and a rejected one, or KTO's right and mismatched answer."""
        return 1 if self.objective == "sft" else 2

    @property
    def steps(self) -> float:
        """Optimizer steps over all epochs."""
        if not self.trains:
            return 0.0
        if isinstance(self.strategy, MetaLoraStrategy):
            return self.strategy.rounds * self.strategy.inner_steps + self.strategy.adaptation_steps
        return max(1.0, -(-self.rows // (self.batch * self.accumulation)) * self.epochs)

    @property
    def tokens(self) -> int:
        """Training tokens over all epochs, without padding."""
        return int(self.rows_seen * self.lengths.mean)

    @property
    def virtual(self) -> int:
        """Tokens that a soft prompt puts before each row."""
        return int(getattr(self.strategy, "num_virtual_tokens", 0))

    @property
    def adapter_parameters(self) -> int:
        """How many weights are learned beside the base's own."""
        return adapter_parameters(self.strategy, self.base)


def workload_of(
    plan: TrainingPlan,
    base: LocalModel,
    lengths: Sequence[int],
    *,
    train: int,
    dev: int,
    test: int,
    answer_tokens: int,
    labels: int = 0,
) -> Workload:
    """What a plan will compute. `lengths` are rows in tokens, prompt and answer together (all that are known, or a
    sample); `train`, `dev` and `test` the numbers of rows of the splits; `answer_tokens` the longest answer's;
    `labels` how many answers there are to choose from, where they are few and the prompt does not say so itself."""
    how, evaluation = plan.training, plan.evaluation
    rows = min(train, plan.data.max_train_rows or train) + plan.data.general_rows
    packing = isinstance(plan.objective, SftObjective) and plan.objective.packing
    shows = plan.strategy.examples if isinstance(plan.strategy, FewShotStrategy) else 0
    base_shows = bool(evaluation.few_shot and not plan.prompt.demonstrations and not shows)
    meta = plan.strategy if isinstance(plan.strategy, MetaLoraStrategy) else None
    batch = min(_MOST_OF_AN_EPISODE, meta.ways * meta.shots) if meta else how.batch_size
    known = lengths_of(lengths, how.max_tokens, batch, packing=packing)
    return Workload(
        base=figures_of(base),
        strategy=plan.strategy,
        objective=plan.objective.type,
        packing=packing,
        batch=batch,
        accumulation=1 if meta else how.gradient_accumulation,
        checkpointing=how.gradient_checkpointing,
        max_tokens=how.max_tokens,
        lengths=known,
        epochs=how.epochs,
        rows=max(1, rows),
        general_rows=plan.data.general_rows,
        dev=dev,
        test=test,
        evaluations=how.epochs * how.evaluations_per_epoch if dev else 0.0,
        answer_tokens=max(1, answer_tokens),
        max_new_tokens=evaluation.max_new_tokens,
        replies=replies(evaluation),
        further_prompts=len(evaluation.prompts) + base_shows,
        shown_tokens=int(known.mean * max(shows, evaluation.few_shot if base_shows else 0)),
        eval_batch=evaluation.batch_size,
        texts=bool({"perplexity", "stereotypes"} & set(evaluation.probes)),
        labels=labels or len(plan.prompt.allowed.choices if plan.prompt.allowed else ()),
        continues=plan.parent is not None,
    )


def lengths_of(lengths: Sequence[int], limit: int, batch: int, *, packing: bool = False) -> Lengths:
    """Mean, padded mean and longest of these rows, cut at `limit`. Rows of like length share a batch; packed ones fill
    theirs."""
    cut = sorted(min(length, limit) for length in lengths) or [1]
    mean = sum(cut) / len(cut)
    if packing:
        return Lengths(mean=mean, padded=mean, longest=limit)
    return Lengths(mean=mean, padded=max(mean, _padded(cut, batch)), longest=cut[-1])


def _padded(cut: list[int], batch: int) -> float:
    """A row's mean length with its batch's padding. The rows are dealt out at random into groups of some batches, each
    sorted by length: so a batch holds rows that are neighbours among a group's rows."""
    size = min(len(cut), batch * _MEGABATCHES)
    step = len(cut) / size
    group = [cut[int(place * step)] for place in range(size)]
    batches = [group[start : start + batch] for start in range(0, size, batch)]
    return sum(part[-1] * len(part) for part in batches) / size


@lru_cache(maxsize=32)
def _read(folder: Path) -> BaseFigures:
    shape = BaseShape(folder)
    config, modules = shape.config, shape.modules
    embedding = max((s for name, s in shape.tensors.items() if "embed" in name and len(s) == 2), default=[1, 1])
    width = int(config.get("hidden_size") or embedding[1])
    heads = int(config.get("num_attention_heads") or 1)
    head_width = int(config.get("head_dim") or width // heads or 1)
    inner = int(config.get("intermediate_size") or max((max(s) for s in modules.values()), default=4 * width))
    return BaseFigures(
        parameters=max(1, shape.parameters),
        layers=max(1, shape.layers),
        width=width,
        inner=inner,
        heads=heads,
        kv_width=head_width * int(config.get("num_key_value_heads") or heads),
        vocabulary=int(config.get("vocab_size") or embedding[0]),
        bytes_on_disk=sum(path.stat().st_size for path in folder.glob("model*.safetensors")),
        tied=not any("lm_head" in name for name in shape.tensors),
        limit=config.get("max_position_embeddings"),
        matrices=tuple(sorted(modules.values())),
    )


def figures_of(base: LocalModel) -> BaseFigures:
    """The sizes of a base model, from its files' headers. Raises `ModelError` where these are damaged."""
    return _read(base.folder)


def adapter_parameters(strategy: AnyStrategy, base: BaseFigures) -> int:
    """How many weights a strategy learns beside the base's own."""
    if isinstance(strategy, MetaLoraStrategy):
        return adapter_parameters(strategy.lora, base)
    if isinstance(strategy, LoraStrategy):
        shapes = base.matrices or ((base.width, base.width),)
        named = strategy.target_modules
        share = 1.0 if named == ALL_LINEAR else min(1.0, (1 if isinstance(named, str) else len(named)) / len(shapes))
        each = sum(strategy.r * sum(shape) + (shape[0] if strategy.use_dora else 0) for shape in shapes)
        return int(base.layers * each * share)
    virtual = int(getattr(strategy, "num_virtual_tokens", 0))
    if strategy.type == "prefix_tuning":
        return virtual * base.layers * 2 * base.kv_width
    if strategy.type == "p_tuning":
        hidden = int(strategy.encoder_hidden_size)
        return virtual * base.width + hidden * (2 * base.width + hidden)
    return virtual * base.width
