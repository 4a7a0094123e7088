"""Whether an export can be made, asked before anything is loaded. Never imports torch.

Owns the refusals, the base that a run's result stands on, and the folder that the export goes to. Refuses to write.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from prompts.errors import RunError
from trainers.adapters import read_config
from trainers.data import Example
from trainers.exporting.records import Content, Order
from trainers.models import EMBEDDED, LocalModel
from trainers.parents import base_of
from trainers.paths import Paths, require_free_space, size_of
from trainers.plan import TrainingPlan
from trainers.status import RunFolder

_SOFT = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")
_EMBEDDED_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}
_ROOM = 50e6  # for tokenizer, licence and what the disk needs itself


@dataclass(frozen=True)
class Source:
    """What is exported: a run, its artefact, the base that this stands on, and what to call that base."""

    run: RunFolder
    plan: TrainingPlan
    base: LocalModel
    base_id: str
    artefact: Path
    content: Content
    notes: tuple[str, ...] = ()

    @property
    def is_adapter(self) -> bool:
        return (self.artefact / "adapter_config.json").is_file()

    def rows(self, of_each: int) -> list[Example]:
        """Rows that it has trained on and rows that it has not, so many of each."""
        found: list[Example] = []
        for name in ("train", "test"):
            with contextlib.suppress(RunError):  # an old run may lack one
                found += self.run.split(name)[:of_each]
        return found

    @property
    def remote(self) -> dict[str, Any]:
        """How base and tokenizer are loaded."""
        return {"trust_remote_code": self.plan.trust_remote_code}


def source_of(run: RunFolder, order: Order, paths: Paths) -> Source:
    """Raises `RunError` where there is nothing to export or not in this form, and `ModelError` without the base."""
    artefact = run.artefact
    if artefact is None:
        raise _nothing(run)
    plan, adapter = run.plan(), (artefact / "adapter_config.json").is_file()
    content = _content(order, adapter)
    if content == "adapter" and not adapter:
        raise RunError(f"{run.name} is a whole model and no adapter.", hint="Export it as `merged`.")
    if content != "adapter" and adapter and (kind := read_config(artefact).get("peft_type")) in _SOFT:
        raise RunError(
            f"{run.name} is a soft prompt ({kind.lower().replace('_', ' ')}): it stands before the chat and changes no "
            "weight, so that it cannot be merged.",
            hint="Export it as `adapter`, or train with LoRA, which can be merged.",
        )
    if order.format == "hub" and not _REPO.fullmatch(order.repo):
        raise RunError(f"{order.repo!r} is no name of a hub.", hint="Write it as owner/name.")
    base = base_of(plan, paths)
    base_id, notes = _called(base, order)
    if content != "adapter" and order.format != "hub":
        notes = ()  # it needs no base
    return Source(run, plan, base, base_id, artefact, content, notes)


def _content(order: Order, adapter: bool) -> Content:
    if order.format == "hub":
        return order.content or ("adapter" if adapter else "merged")
    return "gguf" if order.format == "ollama" else order.format


def _nothing(run: RunFolder) -> RunError:
    if run.has_result:
        return RunError(
            f"{run.name} made a prompt and no weights: there is nothing to export.",
            hint=f"Its prompt is in {run.path / 'prompt.json'}; use it with the untouched base.",
        )
    return RunError(f"{run.name} has no result to export.", hint="Wait for its end, or resume it.")


def _called(base: LocalModel, order: Order) -> tuple[str, tuple[str, ...]]:
    """What the base is called in the export, and what a person has to know of that."""
    if order.base_id:
        return order.base_id, ()
    if base.kind == "hub":
        return base.ref, ()
    if base.ref == EMBEDDED and base.kind == "embedded":
        return _EMBEDDED_ID, (
            f"It was trained on the 4-bit version of {_EMBEDDED_ID} that comes with Tunewright. An adapter answers "
            "slightly otherwise on the hub's own weights; a merged model and a GGUF file bring the right ones.",
        )
    told = (
        f"The base is a folder of this machine, {base.folder}. For use elsewhere, say what it is: --base-id owner/name."
    )
    # On a hub, the path is nobody's business and of no use.
    return base.name if order.format == "hub" else str(base.folder), (told,)


def target_of(source: Source, order: Order) -> Path:
    """The folder to write. Raises `RunError` where the one that was named is there already.

    Where none was named, another export of the same form gets a number; but for the hub, whose dry run is what a push
    sends.
    """
    told = order.format if source.content != "gguf" else f"{order.format}-{order.quantization}"
    target = (order.to or source.run.path / "exports" / told).expanduser().resolve()
    if order.to is None and order.format != "hub":
        names = (target if number == 1 else target.with_name(f"{told}-{number}") for number in count(1))
        return next(path for path in names if not _is_taken(path))
    if _is_taken(target):
        raise RunError(f"{target} is there already.", hint="Choose another folder, or remove it.")
    return target


def _is_taken(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def require_room(source: Source, order: Order, target: Path) -> None:
    """Raise `RunError` where the disk under `target` cannot hold the export."""
    if source.content == "adapter" or (source.content == "merged" and not source.is_adapter):
        needed = float(size_of(source.artefact))
    else:
        kind = order.quantization if source.content == "gguf" else dtype_of(source.base.folder)
        needed = source.base.parameters * _BYTES.get(kind, 4.0)
    parent = target.parent
    parent.mkdir(parents=True, exist_ok=True)
    require_free_space(parent, needed + _ROOM, "This export")


def dtype_of(folder: Path) -> str:
    """The number type that a model's configuration names, float32 where it names none."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    text = config.get("text_config") or {}
    found = next((c[key] for c in (config, text) for key in ("dtype", "torch_dtype") if c.get(key)), "float32")
    return str(found).removeprefix("torch.")
