"""The journey in messages: what is answered, what is offered, and what each message did to the project."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from assistant.conversation import Conversation
from assistant.measuring import rows_key
from assistant.pipeline import Pipeline
from assistant.project import Project, Stage, StoredPrompt, Turn
from prompts.errors import EngineError
from prompts.metrics import Score
from tests.assistant.journey import begin_project, measured, open_pipeline, pretend_run
from tests.fakes import ScriptedModel, ScriptedRoom
from tests.reports import write_full_report
from tests.trainers.runs import wait_for, wait_until_ended, write_tickets
from trainers import jobs
from trainers.paths import Paths
from trainers.status import RunStatus


@dataclass
class Chat:
    """A person at the chat of one project."""

    pipeline: Pipeline
    room: ScriptedRoom
    conversation: Conversation
    id: str

    def say(self, text: str, *files: Path) -> Turn:
        """Send a message; returns the answer to it."""
        before = len(self.turns)
        self.conversation.hear(self.id, text, [file.name for file in files])
        self.conversation.answer(self.id, text, files)
        heard, answer = self.turns[before : before + 2]  # what was begun may have told its end already
        assert (heard.role, answer.role) == ("user", "assistant")
        return answer

    @property
    def turns(self) -> list[Turn]:
        return self.conversation.turns(self.id)

    @property
    def project(self) -> Project:
        return self.pipeline.project(self.id)

    def told(self, words: str) -> int:
        """How many of the assistant's messages hold these words."""
        return sum(words in turn.text for turn in self.turns if turn.role == "assistant")


@pytest.fixture
def chat(paths: Paths, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Chat:
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    pipeline, room = open_pipeline(paths)
    return Chat(pipeline, room, Conversation(pipeline), begin_project(pipeline, tiny_model).id)


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    return write_tickets(tmp_path / "tickets.csv", rows=90)


def test_the_chat_opens_with_a_welcome_that_is_not_kept(chat: Chat) -> None:
    [welcome] = chat.turns
    assert "What should the model do?" in welcome.text
    assert "Start with the sample project" in welcome.options
    assert chat.pipeline.store.turns(chat.id) == []


def test_from_the_sample_to_a_training_and_its_end(chat: Chat) -> None:
    answer = chat.say("Start with the sample project")
    assert "300 examples" in answer.text and "`ticket` goes in" in answer.text and "billing (56)" in answer.text
    assert "What do you advise?" in answer.options
    assert chat.project.stage == "Prompt"

    answer = chat.say("What do you advise?")
    assert "My advice: **LoRA, rank 8, on tiny**" in answer.text and "minute" in answer.text
    assert answer.options == ("Start training", "Try the options")
    assert chat.project.stage == "Strategy"

    answer = chat.say("Start training")
    assert "Start will train **LoRA, rank 8**, on **tiny**" in answer.text and "The serving engine stops" in answer.text
    assert answer.options[0] == "Yes, start training"
    assert chat.project.run_id is None, "nothing starts before it was said what will happen"

    answer = chat.say("yes")
    run_id = chat.project.run_id
    assert run_id is not None and run_id in answer.text
    try:
        assert chat.project.stage == "Train"
        assert "The training is" in chat.say("how far is it?").text
        assert "is queued; it begins when the one before it has ended" in chat.say("Yes, start training").text
    finally:
        answer = chat.say("Cancel training")
    assert answer.text == "I cancel the training. It can be resumed."
    run = jobs.find_run(run_id, chat.pipeline.settings.paths)
    assert wait_until_ended(run, 30).state == "cancelled"
    assert chat.conversation.announce_end(chat.id)
    assert chat.turns[-1].text == "The training has ended: Cancelled."
    [second] = (run for run in chat.pipeline.runs(chat.project) if run.id != run_id)
    assert "I cancel" in chat.say("stop").text
    assert wait_until_ended(second, 30).state == "cancelled"
    assert "Nothing is running" in chat.say("stop").text
    assert "goes on from its last checkpoint" in chat.say("resume the training").text
    chat.say("cancel")
    assert wait_until_ended(second, 30).state == "cancelled"


def test_from_ones_own_words_and_file_to_a_prompt(chat: Chat, tickets: Path) -> None:
    answer = chat.say("Route support tickets to a team. Labels: billing, returns. You have 20 minutes")
    assert "**labels**: billing, returns, you said" in answer.text
    assert "**time for training**: 20 minutes, you said" in answer.text
    assert "I assume" in answer.text
    assert "drop a table here" in answer.text
    assert chat.project.stage == "Data"
    assert chat.project.name == "Route support tickets to a team. …"

    answer = chat.say("here are my tickets", tickets)
    assert "**tickets.csv**: 90 examples" in answer.text
    assert "I did not find" not in answer.text
    assert chat.turns[-2].text == "here are my tickets\n📎 tickets.csv"
    assert answer.options == ("Measure the prompt", "Improve the prompt", "What do you advise?", "Start training")

    answer = chat.say("prompt: Name the team, nothing else.")
    assert chat.project.prompt is not None
    assert chat.project.prompt.system == "Name the team, nothing else."
    assert chat.project.prompt.id in answer.text

    answer = chat.say("add examples")
    assert "4 solved examples" in answer.text
    assert len(chat.project.prompt.demonstrations) == 4
    assert "Name the team" in chat.project.prompt.system


def test_a_file_alone_is_enough_to_begin(chat: Chat, tickets: Path) -> None:
    answer = chat.say("", tickets)
    assert "90 examples" in answer.text and "What next?" in answer.text
    assert chat.project.spec.task == "classification"


# What goes wrong becomes a message with what to do.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("start training", "There is no data yet. Drop a CSV"),
        ("yes, start training", "There is no data yet. Drop a CSV"),
        ("measure it", "There is no data yet. Drop a CSV"),
        ("add examples", "There is no data yet. Drop a CSV"),
        ("what do you advise?", "Do not tune yet: bring data"),
        ("show the report", "There is no report yet"),
        ("status", "No training was started yet"),
        ("cancel", "Nothing is running"),
        ("compare", "Write a message in **Compare**"),
        ("help", "`prompt: ...`"),
        ("the weather is fine", "I did not find a fact or a wish in that.\n\nWhat kind of task is it?"),
        ("I have 0 minutes", "⚠️"),
    ],
)
def test_an_act_that_comes_too_early_says_what_is_missing(chat: Chat, text: str, words: str) -> None:
    before = chat.project.snapshot()
    assert words in chat.say(text).text
    assert chat.project.snapshot() == before
    assert "Compare side by side" not in chat.turns[-1].options, "there is nothing to compare"


def test_a_bad_file_is_told_and_the_words_beside_it_are_not_lost(chat: Chat, tmp_path: Path, tickets: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("ticket,team\none,two,three\n")
    answer = chat.say("Classify my mails by urgency", bad)
    assert "⚠️ bad.csv, row 1" in answer.text
    assert "**task**: classification, you said" in answer.text
    assert chat.project.data is None
    assert chat.project.spec.description == "Classify my mails by urgency"
    answer = chat.say("", bad, tickets)
    assert "⚠️ bad.csv" in answer.text and "**tickets.csv**: 90 examples" in answer.text


def test_facts_are_kept_where_the_act_beside_them_fails(chat: Chat) -> None:
    answer = chat.say("start training, I have 30 minutes")
    assert "**time for training**: 30 minutes" in answer.text and "⚠️ There is no data yet" in answer.text
    assert chat.project.spec.time_budget_minutes == 30


def test_data_is_kept_where_the_base_model_went_away(
    chat: Chat, tickets: Path, tiny_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    chat.pipeline.edit_spec(chat.id, {"base_model": str(model)})
    shutil.rmtree(model)
    pipeline, room = open_pipeline(chat.pipeline.settings.paths)
    again = Chat(pipeline, room, Conversation(pipeline), chat.id)
    answer = again.say("", tickets)
    assert "**tickets.csv** is in" in answer.text and "There is no base model" in answer.text
    assert again.project.data is not None
    for text in ("what do you advise?", "start training", "yes, start training"):
        assert "⚠️ There is no base model" in again.say(text).text


def test_the_sample_does_not_replace_data(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    assert "⚠️ This project has data of its own. Choose + New" in chat.say("start with the sample project").text
    assert chat.project.data is not None and chat.project.data.name == "tickets.csv"


@pytest.mark.parametrize("text", ["yes", "ok", "Sure.", "go ahead please"])
def test_a_bare_yes_takes_what_was_offered_and_only_that(chat: Chat, tickets: Path, text: str) -> None:
    assert chat.say(text).text.endswith("what teaches it best."), "the welcome offers a choice"
    chat.say("", tickets)
    chat.say("what do you advise?")
    answer = chat.say(text)
    assert "Start will train" in answer.text
    assert chat.project.run_id is None


# Measuring.


def wait_for_the_score(chat: Chat) -> None:
    measurement = chat.pipeline.measurements[chat.id]
    wait_for(lambda: not measurement.running, "end of the measurement", 30)


def test_the_score_is_told_once_however_often_it_was_asked_for(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    chat.room.model = ScriptedModel(answer=lambda messages: messages[-1].content.split()[-1], pace=0.3)
    answer = chat.say("measure it")
    assert "I ask the base model 9 dev rows" in answer.text
    chat.say("measure it")
    chat.conversation.measure(chat.id)  # and in the panel
    wait_for_the_score(chat)
    assert chat.told("exact match 100%") == 1
    assert chat.turns[-1].options == ("Improve the prompt", "What do you advise?", "Add examples")
    best = chat.say("what do you advise?")
    assert "reaches 100%" in best.text or "LoRA" in best.text


def test_a_prompt_that_is_good_enough_needs_no_training(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    prompt = chat.project.prompt
    assert prompt is not None
    scored = {"metric": "exact match", "score": Score(value=1, low=0.95, high=1, n=80)}
    rows = rows_key(chat.pipeline.splits(chat.project).dev)
    chat.pipeline.store.set_score(chat.id, StoredPrompt(version=prompt, rows=rows, **scored))
    answer = chat.say("what do you advise?")
    assert "Do not tune: keep the prompt" in answer.text and "100% (95% to 100%, n=80)" in answer.text
    assert "Start training" not in answer.options


def test_an_engine_that_fails_is_told_in_the_chat(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    chat.room.model = ScriptedModel(fails_at=0, error=EngineError("The server does not answer.", hint="Start it."))
    chat.say("measure it")
    wait_for_the_score(chat)
    assert chat.turns[-1].text == "⚠️ The prompt could not be measured. The server does not answer. Start it."
    assert chat.turns[-1].options == ("Measure the prompt",)


def test_a_measurement_is_stopped_by_a_word(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    chat.room.model = ScriptedModel(pace=0.2)
    chat.say("measure it")
    assert chat.say("stop").text == "I stop measuring."
    wait_for_the_score(chat)
    assert chat.told("on the dev rows.") == 0
    assert chat.told("⚠️") == 0


# The end of a training.


@pytest.mark.parametrize(
    ("status", "better", "words", "stage"),
    [
        (RunStatus(state="done"), True, "Training is finished. **Yes, it got better.** exact match on 20", "Report"),
        (RunStatus(state="done"), False, "Training is finished. **It got worse.**", "Report"),
        (RunStatus(state="failed", message="Memory ran out.", hint="Use less."), True, "Memory ran out. Use less.", ""),
        (RunStatus(state="cancelled", message="Cancelled."), True, "The training has ended: Cancelled.", ""),
    ],
)
def test_the_end_is_told_once(
    chat: Chat, tickets: Path, status: RunStatus, better: bool, words: str, stage: Stage | str
) -> None:
    chat.say("", tickets)
    assert not chat.conversation.announce_end(chat.id), "there is no run"
    before = chat.project.stage
    pretend_run(chat.pipeline, chat.id, status, better=better)
    together = threading.Barrier(4)

    def page(_: int) -> bool:
        together.wait()
        return chat.conversation.announce_end(chat.id)

    with ThreadPoolExecutor(4) as pages:  # several open pages ask at the same time
        assert sorted(pages.map(page, range(4))) == [False, False, False, True]
    assert chat.told(words) == 1
    assert chat.project.stage == (stage or before)
    again = Conversation(open_pipeline(chat.pipeline.settings.paths)[0])
    assert not again.announce_end(chat.id), "not even after a restart"
    pretend_run(chat.pipeline, chat.id, RunStatus(state="cancelled", message="Cancelled."))
    assert chat.conversation.announce_end(chat.id), "the next run has an end of its own"


def test_a_run_that_goes_on_is_not_announced(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    running = RunStatus(state="running", phase="training", fraction=0.5, seconds_left=120, message="On it.")
    pretend_run(chat.pipeline, chat.id, running)
    assert not chat.conversation.announce_end(chat.id)
    answer = chat.say("how far is it?")
    assert answer.text == "The training is running (training, 50%, about 2 minutes left). On it."


def test_the_report_gives_the_verdict_first(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    pretend_run(chat.pipeline, chat.id, RunStatus(state="done"))
    answer = chat.say("did it get better?")
    assert answer.text.startswith("**Yes, it got better.** exact match on 20 held-out rows: base 0%")
    assert answer.options == ("Compare side by side",)
    assert chat.project.stage == "Report"
    chat.say("compare")
    assert chat.project.stage == "Compare"


def test_the_report_is_asked_about_in_the_chat(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    assert "There is no report yet" in chat.say("did it forget anything?").text
    run = pretend_run(chat.pipeline, chat.id, RunStatus(state="done"))
    assert "not looked at in this run" in chat.say("is it biased?").text
    report = write_full_report(run)
    assert report.verdict is not None and report.verdict.headline in chat.say("show the report").text
    of = {
        group: [g for part in report.parts if part.group == group for g in part.gates] for group in ("bias", "transfer")
    }
    told = chat.say("is it biased?").text
    assert all(gate.told in told for gate in of["bias"]) and not any(gate.told in told for gate in of["transfer"])
    assert all(gate.name in chat.say("did it forget anything?").text for gate in of["transfer"])
    answer = chat.say("export it as gguf").text
    assert "Take it out" in answer and run.id in answer
    (run.path / "plan.yaml").write_text(run.plan().model_copy(update={"base_model": "/gone"}).to_yaml())
    assert "/gone" in chat.say("examine it again").text, "what cannot be done says why"


def test_a_run_deleted_from_the_disk_does_not_break_the_chat(chat: Chat, tickets: Path) -> None:
    chat.say("", tickets)
    shutil.rmtree(pretend_run(chat.pipeline, chat.id, RunStatus(state="done")).path)
    assert not chat.conversation.announce_end(chat.id)
    assert "There is no report yet" in chat.say("show the report").text
    assert "No training was started yet" in chat.say("status").text
    assert "Start will train" in chat.say("start training").text


# Chat and panels are one project.


def test_what_is_done_in_a_panel_is_known_to_the_chat(chat: Chat, tickets: Path) -> None:
    panel: Callable[..., Project] = chat.pipeline.edit_spec
    panel(chat.id, {"task": "classification"})
    chat.conversation.note(chat.id, "From the Task panel. I noted: a kind.", ("Start training",))
    assert (chat.turns[-1].role, chat.turns[-1].options) == ("assistant", ("Start training",))
    assert "Which answers" in chat.say("the weather is fine").text, "it asks for labels, not for the kind again"
    chat.pipeline.add_file(chat.id, tickets)
    chat.pipeline.save_prompt(chat.id, system="From the panel.", template="Q: {{ input }}", reason="edited")
    chat.say("prompt: From the chat.")
    assert chat.project.prompt is not None
    assert (chat.project.prompt.system, chat.project.prompt.template) == ("From the chat.", "Q: {{ input }}")
    plan = chat.pipeline.plan(chat.project)
    chat.pipeline.set_plan(
        chat.id, plan.model_copy(update={"training": plan.training.model_copy(update={"epochs": 9.0})})
    )
    assert "9 epochs" in chat.say("start training").text


def test_projects_do_not_mix(chat: Chat, tiny_model: Path) -> None:
    other = Chat(chat.pipeline, chat.room, chat.conversation, begin_project(chat.pipeline, tiny_model).id)
    chat.say("Classify reviews as good or bad")
    assert other.project.spec.task is None
    assert len(other.turns) == 1
