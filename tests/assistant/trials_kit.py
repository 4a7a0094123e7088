"""Trials that nobody carried out: the files that a worker would have left, with invented scores."""

from __future__ import annotations

import random
from typing import Literal

from assistant.pipeline import Pipeline
from trainers import jobs
from trainers.status import RunStatus
from trainers.trials import life
from trainers.trials.folder import TrialsFolder
from trainers.trials.portions import asked_rows, ladder, learned
from trainers.trials.records import Candidate, Decision, Promise, TrialOrder, TrialsStatus, Tried, Try

SENTENCE = "LoRA, rank 8 is advised: 86% (77% to 92%, n=88), 31 points better than your prompt alone."
_ENDS = {"prompt": 0.5, "refined": 0.62, "few_shot_4": 0.6, "few_shot_8": 0.64, "prompt_tuning": 0.55}
When = Literal["running", "done", "failed", "cancelled", "queued"]


def invent(pipeline: Pipeline, id: str, state: When = "done", *, seed: int = 1) -> TrialsFolder:
    """The project's trials, in a state: two rungs while they run, all of them at the end."""
    project = pipeline.project(id)
    order = TrialOrder(candidates=pipeline.trial_options(project).candidates, budget_minutes=10)
    folder = life.create(order, pipeline.settings.paths, pipeline.dataset(project), spec=project.spec)
    rows = folder.splits()
    steps, rng = ladder(len(rows.train)), random.Random(seed)
    rungs = {"running": steps[:2], "queued": (), "failed": steps[:1]}.get(state, steps)
    still = list(order.candidates)
    for place, portion in enumerate(rungs):
        for candidate in still[:-1] if state == "running" and place == len(rungs) - 1 else still:
            folder.add(_try(pipeline, folder, candidate, portion, len(rows.train), len(rows.dev), rng))
        if place < len(steps) - 1:
            still = sorted(still, key=_end, reverse=True)[: max(3, len(still) - 2)]
    out = {c.key: "More rows cannot bring it to the best by now." for c in order.candidates if c not in still}
    spent = sum(one.seconds for one in folder.tried())
    doing = Try(key=still[-1].key, portion=rungs[-1]) if state == "running" else None
    told = {"failed": "The process that tries ended without a word.", "queued": "Waiting for the training that runs."}
    folder.write_status(
        TrialsStatus(
            state=state,
            message=told.get(state, ""),
            doing=doing,
            fraction={"running": 0.46, "done": 1.0}.get(state, 0.2),
            spent_seconds=spent,
            seconds_left=250.0 if state == "running" else None,
            out=out if state != "queued" else {},
        )
    )
    if state == "done":
        folder.write_decision(_decision(order, folder))
    pipeline.change(id, trials_id=folder.id)
    return folder


def _end(candidate: Candidate) -> float:
    """What an option scores with all rows."""
    return _ENDS.get(candidate.key, 0.9 if candidate.key.startswith("lora") else 0.7)


def _try(
    pipeline: Pipeline, folder: TrialsFolder, candidate: Candidate, portion: float, train: int, dev: int,
    rng: random.Random,
) -> Tried:  # fmt: skip
    right = _end(candidate) - (0.3 * (1 - portion) if candidate.trains else 0.0)
    asked = asked_rows(train, dev, portion)
    count = round(right * asked)
    scores = [1.0] * count + [0.0] * (asked - count)
    rng.shuffle(scores)
    seconds = (12 + 60 * portion) if candidate.trains else 5.0 + 6 * portion
    return Tried(
        tried=Try(key=candidate.key, portion=portion),
        rows=learned(train, portion) if candidate.trains else getattr(candidate.plan.strategy, "examples", 0),
        scores=dict(enumerate(scores)),
        seconds=seconds,
        train_seconds=seconds * 0.7 if candidate.trains else 0.0,
        memory_gb=1.3 if candidate.trains else 0.9,
        run=_run(pipeline, candidate) if candidate.trains and portion >= 0.5 else "",
    )


def _run(pipeline: Pipeline, candidate: Candidate) -> str:
    run = jobs.create_run(candidate.plan, pipeline.settings.paths)
    run.adapter.mkdir()
    (run.adapter / "adapter_config.json").write_text("{}")
    run.write_status(RunStatus(state="done", phase="finished"))
    return run.id


def _decision(order: TrialOrder, folder: TrialsFolder) -> Decision:
    """Rank 8 is best; the higher rank is as good."""
    lora = [c.key for c in order.candidates if c.key.startswith("lora")]
    promises = []
    for candidate in order.candidates:
        tries = [one for one in folder.tried() if one.tried.key == candidate.key and one.scores]
        last = tries[-1]
        whole = last.tried.portion == 1.0
        value = min(1.0, last.score + (0.0 if whole or not candidate.trains else 0.08))
        promises.append(
            Promise(key=candidate.key, value=value, low=max(0, value - 0.09), high=min(1, value + 0.07),
                    tried_in_full=whole)
        )  # fmt: skip
    told = ("More rows would help: its curve still rises by about 3 points a doubling.", "More epochs would not.")
    return Decision(
        advised=lora[0], best=lora[-1], alike=tuple(lora), sentence=SENTENCE, told=told, promises=tuple(promises)
    )
