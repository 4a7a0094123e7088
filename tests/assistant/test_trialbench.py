"""Trials of a project: started, stopped, gone on with, found again, and what is made of them; in the chat too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from assistant.conversation import Conversation
from assistant.pipeline import Pipeline
from assistant.project import LOCAL, Project
from assistant.projects import Projects
from assistant.standing import standings
from assistant.trialbench import MINUTES
from assistant.trialling import REFINED
from prompts.errors import DataError, PlanError, RunError, TunewrightError
from prompts.versions import PromptVersion
from tests.assistant.journey import begin_project, measured, open_pipeline
from tests.assistant.trials_kit import SENTENCE, invent
from tests.trainers.runs import wait_for, write_tickets
from trainers import jobs
from trainers.paths import Paths
from trainers.strategies import LoraStrategy
from trainers.trials import life
from trainers.trials.deciding import decide
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.portions import ladder
from trainers.trials.records import TrialsStatus, Tried, Try


@pytest.fixture
def pipeline(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return open_pipeline(paths)[0]


@pytest.fixture
def project(pipeline: Pipeline, tiny_model: Path, tmp_path: Path) -> Project:
    project = begin_project(pipeline, tiny_model)
    pipeline.edit_spec(project.id, {"task": "classification"})
    return pipeline.add_file(project.id, write_tickets(tmp_path / "tickets.csv", rows=80))


@pytest.fixture
def busy() -> Iterator[psutil.Process]:
    """A process that may stand for a worker."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def carried_out_by(folder: TrialsFolder, process: psutil.Process) -> None:
    folder.worker_file.write_text(json.dumps({"pid": process.pid, "born": process.create_time()}))


# Life


def test_trials_are_started_found_again_stopped_and_gone_on_with(
    pipeline: Pipeline, project: Project, paths: Paths
) -> None:
    id = project.id
    assert pipeline.trials(project) is None and pipeline.decision(project) is None
    folder = pipeline.start_trials(id, 5, device="cpu")
    order = folder.order()
    assert (order.budget_minutes, order.device, order.cluster) == (5, "cpu", None)
    options = pipeline.trial_options(project)
    assert [c.key for c in order.candidates] == [c.key for c in options.candidates]
    assert order.expected == options.expected == "lora_8"
    again = open_pipeline(paths)[0]
    found = again.trials(again.project(id))
    assert found and found.id == folder.id, "another start of the app finds them"
    with pytest.raises(RunError, match="go on already"):
        again.start_trials(id, 5)
    again.stop_trials(id)
    wait_for(lambda: again.trials_status(found).state in ENDED, "end of the trials")
    assert again.trials_status(found).state == "cancelled"
    with pytest.raises(RunError, match="No trials go on"):
        again.stop_trials(id)
    again.resume_trials(id)
    assert again.trials_go_on(again.project(id))
    again.stop_trials(id)
    wait_for(lambda: not again.trials_go_on(again.project(id)), "end of the trials")


def test_what_cannot_be_ordered_says_why_and_starts_nothing(pipeline: Pipeline, project: Project) -> None:
    with pytest.raises(PlanError, match="0 minutes"):
        pipeline.start_trials(project.id, 0)
    with pytest.raises(RunError, match="no device 'tpu'"):
        pipeline.start_trials(project.id, 5, device="tpu")
    with pytest.raises(RunError, match="no address of a Ray cluster"):
        pipeline.start_trials(project.id, 5, cluster="ftp://there")
    empty = pipeline.store.create_project("empty")
    with pytest.raises(DataError, match="no data"):
        pipeline.start_trials(empty.id, 5)
    with pytest.raises(RunError, match="No trials were cut off"):
        pipeline.resume_trials(project.id)
    assert pipeline.project(project.id).trials_id is None
    assert life.latest(pipeline.settings.paths) is None


def test_a_search_for_a_better_prompt_steps_aside(pipeline: Pipeline, project: Project) -> None:
    job = pipeline.start_measuring(project.id)
    pipeline.start_trials(project.id, 5, device="cpu")
    wait_for(lambda: not job.running, "end of measuring")
    pipeline.stop_trials(project.id)


def test_trials_whose_process_is_gone_show_as_failed_and_their_folder_may_go(
    pipeline: Pipeline, project: Project
) -> None:
    folder = invent(pipeline, project.id, "running")
    carried_out_by(folder, psutil.Process(1))  # born at another time than that says
    record = json.loads(folder.worker_file.read_text())
    folder.worker_file.write_text(json.dumps({**record, "born": 1.0}))
    assert pipeline.trials_status(folder).state == "failed"
    shutil.rmtree(folder.path)
    assert pipeline.trials(pipeline.project(project.id)) is None


def test_engines_rest_until_all_trials_have_ended(pipeline: Pipeline, project: Project, busy: psutil.Process) -> None:
    folder = invent(pipeline, project.id, "running")
    carried_out_by(folder, busy)
    assert pipeline.any_trials_go_on()
    folder.write_status(TrialsStatus(state="done"))
    assert not pipeline.any_trials_go_on()


def test_what_may_not_leave_goes_to_no_other_machine(pipeline: Pipeline, project: Project) -> None:
    pipeline.edit_spec(project.id, {"local_only": True})
    with pytest.raises(DataError, match="nothing may leave this machine"):
        pipeline.start_trials(project.id, 5, cluster="ray://elsewhere:10001")
    assert life.latest(pipeline.settings.paths) is None


def test_a_training_waits_for_trials_and_a_project_is_kept_while_they_go_on(
    pipeline: Pipeline, project: Project, busy: psutil.Process
) -> None:
    folder = invent(pipeline, project.id, "running")
    carried_out_by(folder, busy)
    run = jobs.create_run(pipeline.plan(pipeline.project(project.id)), pipeline.settings.paths)
    assert pipeline.waits(project.id, run)
    with pytest.raises(RunError, match="being tried"):
        Projects(pipeline).delete(LOCAL, project.id)
    folder.write_status(TrialsStatus(state="done"))
    assert not pipeline.waits(project.id, run)
    assert Projects(pipeline).duplicate(LOCAL, project.id).trials_id is None
    assert Projects(pipeline).delete(LOCAL, project.id).deleted


# What they prove


def test_a_decision_counts_until_rows_prompt_base_or_score_change(pipeline: Pipeline, project: Project) -> None:
    id = project.id
    invent(pipeline, id)
    now = pipeline.project(id)
    decision = pipeline.decision(now)
    assert decision and decision.sentence == SENTENCE
    assert {c.key for c in pipeline.tried_options(now)} == {p.key for p in decision.promises}
    folder = pipeline.trials(now)
    assert folder
    other = pipeline.save_prompt(id, system="Something else.", reason="test")
    assert (pipeline.outdated(other, folder), pipeline.decision(other)) == ("the prompt", None)
    assert pipeline.tried_options(other) == ()
    assert now.prompt is not None
    pipeline.restore_prompt(id, now.prompt.id)
    assert pipeline.decision(pipeline.project(id)) == decision, "back is back"
    more = pipeline.project(id)
    assert more.data is not None
    moved = more.model_copy(update={"data": more.data.model_copy(update={"path": Path("/elsewhere.csv")})})
    assert pipeline.outdated(moved, folder) == "the data"
    based = more.model_copy(update={"spec": more.spec.updated("said", base_model="embedded"), "plan": None})
    assert pipeline.outdated(based, folder) == "the base model"
    scored = more.model_copy(update={"spec": more.spec.updated("said", metric="macro_f1")})
    assert pipeline.outdated(scored, folder) == "what is scored"


def test_an_option_becomes_the_plan_with_the_wording_that_was_found(pipeline: Pipeline, project: Project) -> None:
    id = project.id
    folder = invent(pipeline, id)
    best = PromptVersion(system="Name the team: billing or returns.", reason="found")
    folder.add(Tried(tried=Try(key=REFINED, portion=1.0), rows=0, scores={1: 1.0, 2: 1.0}, seconds=3.0, prompt=best))
    plan = pipeline.take_candidate(id, REFINED)
    now = pipeline.project(id)
    assert now.prompt == best and plan.strategy.type == "prompt"
    assert pipeline.plan(now).strategy == plan.strategy
    assert plan.evaluation.probes, "a run that is no trial is examined from all sides"
    assert pipeline.decision(now) is not None, "it is one of those that were tried"
    decision = folder.decision()
    assert decision
    lora = pipeline.take_candidate(id, decision.advised)
    assert isinstance(lora.strategy, LoraStrategy)
    assert pipeline.project(id).plan == lora
    with pytest.raises(RunError, match="was not tried"):
        pipeline.take_candidate(id, "full")


def test_a_trial_is_opened_as_a_run_of_the_project_beside_its_trainings(pipeline: Pipeline, project: Project) -> None:
    id = project.id
    folder = invent(pipeline, id)
    first = jobs.create_run(pipeline.plan(project), pipeline.settings.paths)
    pipeline.change(id, run_id=first.id)
    runs = [one.run for one in folder.tried() if one.run]
    assert runs
    opened = pipeline.open_trial(id, runs[0])
    now = pipeline.project(id)
    shown = pipeline.tuned_run(now)
    assert shown and shown.id == opened.id
    assert opened.id in {contender.key for contender in pipeline.contenders(now)}, "it can be served and compared"
    latest = pipeline.run(now)
    assert latest and latest.id == first.id, "the latest training stays the latest"
    pipeline.open_trial(id, runs[0])
    assert [run.id for run in pipeline.runs(pipeline.project(id))] == [first.id, opened.id]
    unannounced = pipeline.unannounced(pipeline.project(id))
    assert unannounced is None, "that it ended is no news"
    with pytest.raises(RunError, match="none of the trials'"):
        pipeline.open_trial(id, first.id)


# How options stand


def test_options_stand_by_their_largest_portion_and_their_state(
    pipeline: Pipeline, project: Project, busy: psutil.Process
) -> None:
    folder = invent(pipeline, project.id, "running")
    carried_out_by(folder, busy)
    status = pipeline.trials_status(folder)
    found = standings(folder.order(), status, folder.tried(), None)
    assert status.doing
    states = {one.candidate.key: one.state for one in found}
    assert states[status.doing.key] == "being tried"
    assert list(states.values()).count("leading") == 1
    leading = next(one for one in found if one.state == "leading")
    assert leading.last
    for key, why in status.out.items():
        one = next(one for one in found if one.candidate.key == key)
        assert (one.state, one.why) == ("out", why)
    assert [one.state for one in found][-1] == "out", "what is out stands below"


def test_who_is_ahead_on_more_rows_leads_no_better_one_on_fewer(pipeline: Pipeline, project: Project) -> None:
    folder = invent(pipeline, project.id, "queued")
    order = folder.order()
    good, ahead, *_ = (one.key for one in order.candidates if one.trains)
    scored = ((good, 0.25, 0.9), (ahead, 0.25, 0.2), (ahead, 0.5, 0.3))
    tried = [Tried(tried=Try(key=key, portion=p), rows=9, scores=dict.fromkeys(range(9), s)) for key, p, s in scored]
    found = standings(order, TrialsStatus(state="running"), tried, None)
    assert [one.candidate.key for one in found if one.state == "leading"] == [good]


def test_rows_that_several_folds_asked_count_once(pipeline: Pipeline, project: Project) -> None:
    folder = invent(pipeline, project.id, "queued")
    order = folder.order()
    folder.add(Tried(tried=Try(key="prompt", portion=0.5), rows=0, scores={1: 1.0, 2: 0.0}, seconds=2.0))
    folder.add(Tried(tried=Try(key="prompt", portion=0.5, fold=1), rows=0, scores={2: 1.0, 3: 0.0}, seconds=3.0))
    broken = Tried(tried=Try(key="prompt_tuning", portion=0.5), rows=0, failed="Memory ran out.")
    [prompt] = [
        one
        for one in standings(order, folder.status(), [*folder.tried(), broken], None)
        if one.candidate.key == "prompt"
    ]
    assert prompt.last
    assert (prompt.last.score.n, prompt.last.score.value, prompt.seconds) == (3, 0.5, 5.0)
    failed = next(
        one for one in standings(order, folder.status(), [broken], None) if one.candidate.key == "prompt_tuning"
    )
    assert (failed.state, failed.why, failed.last) == ("failed", "Memory ran out.", None)


# In the chat


def say(conversation: Conversation, id: str, text: str) -> tuple[str, tuple[str, ...]]:
    conversation.hear(id, text)
    conversation.answer(id, text)
    last = conversation.turns(id)[-1]
    return last.text, last.options


def test_the_chat_tells_what_it_takes_asks_and_only_then_starts(pipeline: Pipeline, project: Project) -> None:
    id, conversation = project.id, Conversation(pipeline)
    told, options = say(conversation, id, "how are the trials going?")
    assert told == "Nothing was tried yet." and options == ("Try the options",)
    told, options = say(conversation, id, "try the options for 7 minutes")
    assert "**7 minutes**" in told and "test rows stay sealed" in told and "GB" in told
    assert options == ("Yes, try the options", "Not now")
    assert pipeline.trials(pipeline.project(id)) is None
    told, options = say(conversation, id, "yes")
    folder = pipeline.trials(pipeline.project(id))
    assert folder and folder.order().budget_minutes == 7
    assert "Stop the trials" in options and "at most 7 minutes" in told
    told, options = say(conversation, id, "How are the trials going?")
    assert told.startswith("The trials") and options == ("Stop the trials",)
    assert say(conversation, id, "stop the trials")[0].startswith("I stop the trials")
    wait_for(lambda: not pipeline.trials_go_on(pipeline.project(id)), "end of the trials")
    assert conversation.announce_end(id)
    assert conversation.turns(id)[-1].text.startswith("The trials have ended")
    assert not conversation.announce_end(id), "told once"


def test_trials_that_their_budget_ended_go_on_with_more_minutes(pipeline: Pipeline, project: Project) -> None:
    id, conversation = project.id, Conversation(pipeline)
    whole = invent(pipeline, id)
    assert not pipeline.more_to_try(whole)
    with pytest.raises(RunError, match="are done"):
        pipeline.resume_trials(id)
    folder = invent(pipeline, id, "queued")
    assert not pipeline.more_to_try(folder), "these go on anyway"
    first = ladder(len(folder.splits().train))[0]
    folder.add(Tried(tried=Try(key="prompt", portion=first), rows=0, scores=dict.fromkeys(range(20), 0.5), seconds=1.0))
    folder.write_status(folder.status().model_copy(update={"state": "done", "doing": None}))
    folder.write_decision(decide(folder.order(), folder.tried(), len(folder.splits().train)))
    assert pipeline.more_to_try(folder)
    _, options = say(conversation, id, "what did the trials say?")
    assert options[-1] == f"Go on with the trials for {MINUTES['cpu']:g} more minutes"
    told, _ = say(conversation, id, "Go on with the trials for 3 more minutes")
    assert told == "The trials go on, with 3 minutes more."
    assert folder.order().budget_minutes == 13
    say(conversation, id, "stop the trials")
    wait_for(lambda: not pipeline.trials_go_on(pipeline.project(id)), "end of the trials")


def test_without_minutes_the_machine_has_a_usual_budget(pipeline: Pipeline, project: Project) -> None:
    conversation = Conversation(pipeline)
    say(conversation, project.id, "try the options for 7 minutes")
    told, _ = say(conversation, project.id, "try the options")
    assert f"**{MINUTES['cpu']:g} minutes**" in told or f"**{MINUTES['cuda']:g} minutes**" in told


def test_the_end_is_told_once_with_the_evidence_and_taken_by_a_word(pipeline: Pipeline, project: Project) -> None:
    id, conversation = project.id, Conversation(pipeline)
    invent(pipeline, id)
    assert conversation.announce_end(id)
    turn = conversation.turns(id)[-1]
    assert SENTENCE in turn.text and "More rows would help" in turn.text and "n=" in turn.text
    assert turn.options[0] == "Use the advised plan"
    assert not conversation.announce_end(id)
    told, options = say(conversation, id, "Use the advised plan")
    assert "LoRA, rank" in told and options == ("Start training",)
    assert pipeline.project(id).plan is not None
    told, _ = say(conversation, id, "what did the trials say?")
    assert SENTENCE in told
    pipeline.save_prompt(id, system="Another one.", reason="test")
    told, options = say(conversation, id, "what did the trials say?")
    assert "no longer counts" in told and options == ("Try the options",)


def test_stop_alone_stops_the_trials_where_nothing_else_goes_on(
    pipeline: Pipeline, project: Project, busy: psutil.Process
) -> None:
    folder = invent(pipeline, project.id, "running")
    carried_out_by(folder, busy)
    told, _ = say(Conversation(pipeline), project.id, "stop")
    assert told.startswith("I stop the trials") and folder.stop_file.exists()


def test_the_advice_names_reasons_doubts_and_offers_to_try(pipeline: Pipeline, project: Project) -> None:
    conversation = Conversation(pipeline)
    told, options = say(conversation, project.id, "What do you advise?")
    best = pipeline.advice(pipeline.project(project.id)).best
    assert f"My advice: **{best.title}**" in told
    assert all(reason.text in told for reason in best.reasons[:3])
    assert all(change in told for change in best.changes[:3])
    assert "nothing was tried on your rows yet" in told
    assert "Try the options" in options
    invent(pipeline, project.id)
    told, options = say(conversation, project.id, "What do you advise?")
    assert SENTENCE in told and "Try the options" not in options


def test_contradicting_wishes_are_named_with_the_nearest_that_works(pipeline: Pipeline, project: Project) -> None:
    pipeline.edit_spec(project.id, {"max_latency_ms": 1})
    conflicts = pipeline.advice(pipeline.project(project.id)).conflicts
    told, _ = say(Conversation(pipeline), project.id, "What do you advise?")
    assert conflicts
    assert all(one.told in told and one.nearest in told for one in conflicts)


def test_a_word_of_a_language_model_alone_starts_no_trials(pipeline: Pipeline, project: Project) -> None:
    from assistant.dialogue.mind import Act, Context, Reading

    class Modelled:
        def __init__(self, act: Act) -> None:
            self._act = act

        def read(self, text: str, context: Context) -> Reading:
            return Reading(act=self._act, by_model=True)

    for act in ("try", "confirm_try"):
        conversation = Conversation(pipeline, lambda id, act=act: Modelled(act))  # type: ignore[misc]
        _, options = say(conversation, project.id, "please see to it that the best one is found")
        assert options == ("Yes, try the options", "Not now")
    with pytest.raises(TunewrightError):
        pipeline.resume_trials(project.id)
    conversation = Conversation(pipeline, lambda id: Modelled("resume_trials"))
    _, options = say(conversation, project.id, "and so on with what was begun there")
    assert options == ("Go on with the trials", "Not now")
    assert pipeline.trials(pipeline.project(project.id)) is None
