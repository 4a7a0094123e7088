"""What meta-learnt first values are worth when there are a few examples: new intents of domains never seen.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.few_shot --data DIR
        [--episodes 8] [--held-out utility work] [--algorithm reptile] [--full]

DIR holds `train.jsonl`, `val.jsonl` and `test.jsonl` of CLINC150 (text, intent, domain). The domains that are not held
out are the pool; by default the last two by name are held out. An episode is five intents of one held-out domain,
listed in the prompt, with K examples of each from the training split to adapt to and rows of the test split to answer,
by scoring the five labels. Two arms answer the same episodes after the same numbers of steps: plain LoRA from fresh
first values, and the same adapter from the meta-learnt ones, each at the rate that was best for it on domains of the
pool (`--tune`).

With threads that wait by spinning, five of its rounds took more than 200 s beside other work on 2 cores, and 57 s with
PASSIVE. Prints as it goes. What was measured is kept under the cache folder by its settings, so that a run that was
interrupted goes on; `--again` forgets it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.kept import Kept
from prompts.metrics import Comparison, compare, summarize
from prompts.metrics.certainty import compare_counts
from trainers.data import normal
from trainers.hardware import choose_compute, detect
from trainers.meta import Round, Weights, adapt, attach, meta_train, read_weights, write_weights
from trainers.modeling import load_base, load_tokenizer
from trainers.models import EMBEDDED, resolve
from trainers.paths import default_paths, write_atomically
from trainers.pool import Episode, Row, Task, sample_episodes
from trainers.scoring import best, score_all
from trainers.strategies.meta import MetaLoraStrategy

Rows = dict[str, list[Row]]  # by domain
_SEED = 0
_STEPS = (0, 4, 12)
_WAYS = 5
_HELD_OUT = 2
_PLAIN_RATE, _LEARNT_RATE = 2e-3, 1e-3
_RATES = (5e-4, 1e-3, 2e-3, 5e-3)


@dataclass(frozen=True)
class Bench:
    """What both arms share."""

    model: Any
    tokenizer: Any
    fresh: Weights
    train: Rows
    asked: Rows


def read(path: Path) -> Rows:
    rows: Rows = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows[row["domain"]].append((row["text"], row["intent"]))
    return rows


def draw(train: Rows, asked: Rows, domains: Sequence[str], shots: int, queries: int, count: int) -> list[Episode]:
    """Episodes whose support is of the training split and whose query rows are of the other; domains in turn."""
    episodes = []
    for number in range(count):
        domain = domains[number % len(domains)]
        task = Task(domain, tuple(train[domain]))
        episode = sample_episodes([task], ways=_WAYS, shots=shots, queries=0, count=number + 1, seed=_SEED)[number]
        rng = random.Random(f"{_SEED}/{number}")
        shown = {normal(given) for given, _ in episode.support}
        fresh = [row for row in asked[domain] if normal(row[0]) not in shown]
        of_label = {label: [row for row in fresh if row[1] == label] for label in episode.labels}
        query = [row for rows in of_label.values() for row in rng.sample(rows, queries)]
        episodes.append(replace(episode, query=tuple(query)))
    return episodes


def answer(bench: Bench, episode: Episode) -> list[float]:
    """Which query rows are answered rightly, by the most probable of the episode's labels."""
    chats = [messages for messages, _ in episode.asked()]
    scored = score_all(bench.model, bench.tokenizer, chats, [episode.labels] * len(chats))
    return [float(best(one) == label) for one, (_, label) in zip(scored, episode.query, strict=True)]


def measure(bench: Bench, episode: Episode, weights: Weights, rate: float) -> dict[str, Any]:
    """The hits after each number of steps, on one way from the first values."""
    write_weights(bench.model, weights)
    hits = {"0": answer(bench, episode)}

    def look(done: int, loss: float) -> None:
        if done in _STEPS:
            hits[str(done)] = answer(bench, episode)

    adapt(bench.model, bench.tokenizer, episode.shots(), max(_STEPS), rate, look)
    return hits


def learn(bench: Bench, config: MetaLoraStrategy, domains: Sequence[str], path: Path) -> tuple[Weights, float]:
    """The meta-learnt first values and the seconds they took; from the file where they were learnt before."""
    took = path.with_suffix(".json")
    if path.exists() and took.exists():
        seconds = json.loads(took.read_text())
        print(f"first values learnt before, in {seconds:.0f} s: {path}", flush=True)
        return load_file(path, device=str(bench.model.device)), seconds
    tasks = [Task(domain, tuple(bench.train[domain])) for domain in domains]
    episodes = sample_episodes(
        tasks, ways=config.ways, shots=config.shots, queries=config.shots, count=config.rounds, seed=_SEED
    )
    began = time.monotonic()

    def show(done: Round) -> None:
        if done.number % 5 == 4:
            losses = " ".join(f"{loss:.2f}" for loss in done.losses)
            print(f"{time.monotonic() - began:5.0f} s  round {done.number + 1}, {done.task}: loss {losses}", flush=True)

    write_weights(bench.model, bench.fresh)
    weights = meta_train(bench.model, bench.tokenizer, episodes, config, show, seed=_SEED)
    seconds = time.monotonic() - began
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.cpu() for name, value in weights.items()}, path)
    write_atomically(took, json.dumps(seconds))
    return weights, seconds


def run(
    bench: Bench, arms: dict[str, tuple[Weights, float]], episodes: Sequence[Episode], shots: int, kept: Kept
) -> dict[str, list[dict[str, Any]]]:
    """Each arm's hits, episode by episode."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for number, episode in enumerate(episodes):
        began, right = time.monotonic(), []
        for arm, (weights, rate) in arms.items():
            name = f"{arm}, K={shots}, episode {number}"
            hits = kept.get(name)
            if hits is None:
                hits = measure(bench, episode, weights, rate)
                kept.put(name, hits)
            found[arm].append(hits)
            right.append(f"{arm} {' '.join(f'{sum(rows):.0f}' for rows in hits.values())}")
        n = len(episode.query)
        print(f"K={shots}, episode {number + 1} ({episode.task}), right of {n} after {_STEPS} steps: "
              f"{', '.join(right)}; {time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    return found


def report(found: dict[str, list[dict[str, Any]]], shots: int) -> None:
    """Each arm's accuracy and the difference, with intervals over rows and over whole episodes.

    Rows of an episode share its labels, examples and adapted weights, so that the interval for other tasks is the one
    over episodes; that over rows holds for these episodes alone.
    """
    (first, plain), (second, learnt) = found.items()
    for steps in map(str, _STEPS):
        before, after = ([hits[steps] for hits in arm] for arm in (plain, learnt))
        flat_before, flat_after = (list(chain.from_iterable(arm)) for arm in (before, after))
        rows = told(compare(flat_before, flat_after))
        episodes = told(compare_counts(counts(before), counts(after), lambda sums: sums[:, 0] / sums[:, 1]))
        print(f"K={shots}, {steps:>2} steps: {first} {summarize(flat_before)}, {second} {summarize(flat_after)}")
        print(f"    {second} minus {first}, over rows {rows}; over episodes {episodes}")


def counts(arm: Sequence[Sequence[float]]) -> Any:
    """Hits and rows of each episode, of shape (episodes, 2)."""
    return np.array([[sum(hits), len(hits)] for hits in arm])


def told(found: Comparison) -> str:
    points = f"{found.difference * 100:+.1f} points ({found.low * 100:+.1f} to {found.high * 100:+.1f}"
    return f"{points}, p = {found.p_value:.2g}, n={found.n})"


def prepare(args: argparse.Namespace) -> Bench:
    paths = default_paths()
    base, compute = resolve(args.base_model, paths), choose_compute(paths.cache)
    print(f"{base.name} on {detect()}, {compute.dtype}, {torch.get_num_threads()} threads", flush=True)
    model = attach(load_base(base.folder, compute, training=True), MetaLoraStrategy(), seed=_SEED)
    train, asked = (read(args.data / f"{name}.jsonl") for name in ("train", "test"))
    return Bench(model, load_tokenizer(base.folder), read_weights(model), train, asked)


def name_of(args: argparse.Namespace, *parts: Any) -> str:
    """Twelve hex digits of everything that the figures hang on."""
    data = [hashlib.sha256((args.data / f"{name}.jsonl").read_bytes()).hexdigest() for name in ("train", "test")]
    return hashlib.sha256(json.dumps([args.base_model, data, *parts], default=str).encode()).hexdigest()[:12]


def tune(bench: Bench, learnt: Weights, domains: Sequence[str], val: Rows, episodes: int) -> None:
    """Each arm's accuracy at several rates, on domains that are neither in this pool nor held out for the test."""
    drawn = draw(bench.train, val, domains, shots=4, queries=5, count=episodes)
    for arm, weights in (("plain", bench.fresh), ("learnt", learnt)):
        for rate in _RATES:
            found = [measure(bench, episode, weights, rate) for episode in drawn]
            means = [summarize([hit for hits in found for hit in hits[str(steps)]]) for steps in _STEPS]
            told = ", ".join(f"{steps} steps {mean}" for steps, mean in zip(_STEPS, means, strict=True))
            print(f"{arm} at {rate:g} on {', '.join(domains)}: {told}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = MetaLoraStrategy()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--held-out", nargs="+", help="the domains of the test; by default the last two by name")
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--shots", type=int, nargs="+", default=[4])
    parser.add_argument("--queries", type=int, default=5, help="test rows of each of the five intents")
    parser.add_argument("--algorithm", choices=["reptile", "fomaml"], default=usual.algorithm)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--inner-steps", type=int, default=usual.inner_steps)
    parser.add_argument("--inner-rate", type=float, default=usual.inner_rate)
    parser.add_argument("--outer-rate", type=float, default=usual.outer_rate)
    parser.add_argument("--plain-rate", type=float, default=_PLAIN_RATE)
    parser.add_argument("--learnt-rate", type=float, default=_LEARNT_RATE)
    parser.add_argument("--full", action="store_true", help="K = 1, 4 and 8, 24 episodes")
    parser.add_argument(
        "--tune", action="store_true", help="compare learning rates on two domains left out of the pool"
    )
    parser.add_argument("--again", action="store_true", help="measure anew what was measured before")
    args = parser.parse_args()
    if args.full:
        args.shots, args.episodes = [1, 4, 8], 24
    return args


def main() -> None:
    args, began = parse(), time.monotonic()
    bench = prepare(args)
    held_out = args.held_out or sorted(bench.train)[-_HELD_OUT:]
    pool = [domain for domain in sorted(bench.train) if domain not in held_out]
    tuned_on = pool[1:3] if args.tune else []
    pool = [domain for domain in pool if domain not in tuned_on]
    config = MetaLoraStrategy(
        algorithm=args.algorithm, rounds=args.rounds, inner_steps=args.inner_steps, inner_rate=args.inner_rate,
        outer_rate=args.outer_rate, ways=_WAYS,
    )  # fmt: skip
    print(f"pool: {', '.join(pool)}; held out: {', '.join(held_out)}", flush=True)
    folder = default_paths().cache / "benchmarks" / "few_shot"
    knobs = config.model_dump(exclude={"adaptation_steps", "adaptation_rate", "pool"})
    recipe = name_of(args, [str(bench.model.device), str(bench.model.dtype)], pool, knobs, config.outer, _SEED)
    figures = name_of(args, recipe, held_out, args.queries, args.plain_rate, args.learnt_rate, _STEPS)
    if args.again:
        for path in folder.glob(f"*-{recipe}.*"):
            path.unlink()
        (folder / f"{figures}.json").unlink(missing_ok=True)
    learnt, seconds = learn(bench, config, pool, folder / f"weights-{recipe}.safetensors")
    told = f"{config.rounds} rounds of {config.inner_steps} steps at {config.inner_rate:g}, outer rate {config.outer:g}"
    print(f"{config.algorithm}: {told}; {seconds:.0f} s", flush=True)
    if args.tune:
        tune(bench, learnt, tuned_on, read(args.data / "val.jsonl"), args.episodes)
        return
    arms = {"plain": (bench.fresh, args.plain_rate), config.algorithm: (learnt, args.learnt_rate)}
    kept = Kept(folder / f"{figures}.json")
    found = {
        shots: run(
            bench, arms, draw(bench.train, bench.asked, held_out, shots, args.queries, args.episodes), shots, kept
        )
        for shots in args.shots
    }
    print(f"plain at {args.plain_rate:g}, {config.algorithm} at {args.learnt_rate:g}; "
          f"{time.monotonic() - began:.0f} s in this run")  # fmt: skip
    for shots, arms_found in found.items():
        report(arms_found, shots)


if __name__ == "__main__":
    main()
