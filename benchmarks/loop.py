"""The loop with a simulated voter: 60 votes, one round of preference tuning, and what that changed on unseen rows.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.loop --data DIR [--votes 60] [--unseen 60] [--base-model embedded]

DIR holds `dev.csv` of E2E (mr,ref). The voter has one preference: the text should mention every attribute that it is
given. It judges the base with a plain prompt against the same with four solved examples, blind, on rows kept for the
arena; what mentions more wins, equals are a tie. Its votes become preference pairs, these a DPO run by the plan that
the app proposes, and base and run, both with the plain prompt, then answer rows that no vote has seen. Printed is the
share of attributes that each mentions, with the paired interval of the difference.

Everything goes through the same pipeline as the app, on the engine that it would take. It is kept in a folder of its
own under the cache, so that a run that was interrupted goes on where it was; `--again` begins anew.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import shutil
import time
from pathlib import Path

from assistant.arena.batch import Batch
from assistant.arena.blind import Round
from assistant.comparebench import BASE, FEW_SHOT
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.settings import settings_from_environment
from assistant.votes import Verdict
from prompts.metrics import compare, summarize
from trainers import jobs
from trainers.hardware import detect
from trainers.models import EMBEDDED
from trainers.paths import default_paths
from trainers.splits import Shares
from trainers.status import ENDED, RunFolder

_SEED = 0
_ROWS = 320
_PROMPT = "Turn the facts about a restaurant into text for a guide."
_VOTER = "wants every attribute"
_ATTRIBUTE = re.compile(r"([^,\[\]]+)\[([^\]]*)\]")
# Attributes whose value is rarely said as it stands: what a text says that mentions them.
_SAID = {
    "familyFriendly": r"famil|child|kid|adult",
    "priceRange": r"pric|£|cheap|expens|cost",
    "customer rating": r"\brat|\bstar|review|out of",
}


def mentioned(facts: str, text: str) -> float:
    """The share of the attributes that a text mentions, in [0, 1]. Whether it says the truth of them is not asked."""
    found = [(name.strip(), value) for name, value in _ATTRIBUTE.findall(facts)]
    said = [bool(re.search(_SAID.get(name) or _words(value), text, re.IGNORECASE)) for name, value in found]
    return sum(said) / len(said)


def _words(value: str) -> str:
    return r"\W+".join(map(re.escape, value.split()))


def verdict(judged: Round) -> Verdict:
    """What the voter says, knowing only the two texts."""
    left, right = (mentioned(judged.message, answer.text) for answer in (judged.left, judged.right))
    if left == right:
        return "tie" if left else "both bad"
    return "left" if left > right else "right"


def write_rows(source: Path, target: Path) -> None:
    """Different inputs, each with its first reference, in seeded order."""
    with source.open(encoding="utf-8", newline="") as file:
        first: dict[str, str] = {}
        for row in csv.DictReader(file):
            first.setdefault(row["mr"], row["ref"])
    rows = sorted(first.items())
    random.Random(_SEED).shuffle(rows)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["mr", "ref"])
        writer.writerows(rows[:_ROWS])


def project_on(pipeline: Pipeline, data: Path, base_model: str) -> Project:
    """The project, as it was left, or a new one."""
    if known := pipeline.store.projects():
        return known[0]
    id = pipeline.store.create_project("E2E").id
    pipeline.edit_spec(id, {"description": "Write guide texts about restaurants", "task": "generation"})
    pipeline.edit_spec(id, {"base_model": base_model})
    pipeline.add_file(id, data)
    pipeline.save_prompt(id, system=_PROMPT, template="{{ input }}", reason="the benchmark's")
    plan = pipeline.plan(pipeline.project(id))
    shares = Shares(train=0.35, dev=0.05, test=0.05, arena=0.55)
    pipeline.set_plan(id, plan.model_copy(update={"data": plan.data.model_copy(update={"shares": shares})}))
    return pipeline.choose_arms(id, [BASE, FEW_SHOT])


def wait(job: Batch) -> None:
    told = ""
    while job.running:
        if job.message != told:
            told = job.message
            print(f"  {told}", flush=True)
        time.sleep(5)
    if job.error:
        raise SystemExit(job.error)


def collect(pipeline: Pipeline, id: str, wanted: int) -> None:
    """Have the voter judge until there are as many votes as wanted."""
    if len(pipeline.votes(pipeline.project(id))) >= wanted:
        return
    print("base and few-shot answer the rows kept for the arena", flush=True)
    wait(pipeline.start_rounds(id))
    for judged in pipeline.rounds(pipeline.project(id)).rounds:
        if len(pipeline.votes(pipeline.project(id))) >= wanted:
            break
        pipeline.judge(id, judged, verdict(judged), voter=_VOTER)


def tune(pipeline: Pipeline, id: str) -> RunFolder:
    """The round on these votes: the one that is there, done or going on, else a new one."""
    run = pipeline.run(pipeline.project(id))
    if run is None or jobs.status(run).state in ("failed", "cancelled"):
        run = pipeline.resume_training(id, run.id) if run else pipeline.start_next_round(id)
    told = ""
    while (status := jobs.status(run)).state not in ENDED:
        left = f", {status.seconds_left:.0f} s left" if status.seconds_left else ""
        line = f"  {status.phase} {status.fraction:.0%}{left}"
        if line != told:
            told = line
            print(line, flush=True)
        time.sleep(10)
    if status.state != "done":
        raise SystemExit(f"{status.message} {status.hint}")
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--votes", type=int, default=60)
    parser.add_argument("--unseen", type=int, default=60)
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    home = default_paths().cache / "benchmarks" / f"loop-{asked.votes}-{Path(asked.base_model).name}"
    if asked.again:
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    os.environ["TUNEWRIGHT_HOME"] = str(home)  # the worker's too
    began = time.monotonic()
    write_rows(asked.data / "dev.csv", home / "rows.csv")
    pipeline = Pipeline(settings_from_environment())
    try:
        id = project_on(pipeline, home / "rows.csv", asked.base_model).id
        print(f"{detect()}, {pipeline.engines.title()}", flush=True)
        collect(pipeline, id, asked.votes)
        project = pipeline.project(id)
        told = " ".join(one.told for one in pipeline.tallies(project))
        print(f"{len(pipeline.votes(project))} votes: {told}", flush=True)
        print(f"{len(pipeline.pairs(project))} pairs; training on them", flush=True)
        run = tune(pipeline, id)
        report(pipeline, id, run, asked.unseen)
    finally:
        pipeline.close()
    print(f"{time.monotonic() - began:.0f} s in all, without what was done before", flush=True)


def report(pipeline: Pipeline, id: str, run: RunFolder, most: int) -> None:
    """What the run mentions of rows that no vote has seen, against its parent with the same prompt."""
    pipeline.choose_arms(id, [BASE, run.id])
    print("base and run answer rows that no vote has seen", flush=True)
    job = pipeline.start_rounds(id, most)
    wait(job)
    assert job.table is not None
    rows = job.table.rows
    base, tuned = ([mentioned(row.input, row.cells[arm].answer.text) for row in rows] for arm in (0, 1))
    change = compare(base, tuned)
    print(f"attributes mentioned: base {summarize(base)}, after the round {summarize(tuned)}", flush=True)
    print(
        f"change {change.difference * 100:+.1f} points ({change.low * 100:+.1f} to {change.high * 100:+.1f}), "
        f"n={len(base)}: {change.verdict}",
        flush=True,
    )
    for row in rows[:3]:
        print(f"  {row.input}\n    base  {row.cells[0].answer.text!r}\n    tuned {row.cells[1].answer.text!r}")


if __name__ == "__main__":
    main()
