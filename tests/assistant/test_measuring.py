"""A measurement's life: score, progress, stop, error, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from assistant.answers import Asker
from assistant.measuring import Measurement, measure
from prompts.chat_model import ChatModel, Message
from prompts.errors import EngineError
from prompts.versions import PromptVersion
from tests.fakes import MemoryShelf, ScriptedModel
from tests.trainers.runs import wait_for
from trainers.data import Example

PROMPT = PromptVersion(system="Parrot.")
ROWS = tuple(Example(row=n, input=f"{n} {'even' if n % 2 == 0 else 'odd'}", output="even") for n in range(1, 21))


def last_word(messages: Sequence[Message]) -> str:
    return messages[-1].content.split()[-1]


def begin(model: ChatModel, metric: str = "exact match") -> Measurement:
    return measure(PROMPT, ROWS, metric, Asker(MemoryShelf(), "scripted", 5, lambda say: model))


def ended(measurement: Measurement) -> Measurement:
    wait_for(lambda: not measurement.running, "end of the measurement", 20)
    return measurement


def test_the_score_and_the_answers_row_by_row() -> None:
    model = ScriptedModel(answer=last_word)
    done = ended(begin(model))
    assert done.score is not None
    assert (done.score.value, done.score.n, done.metric, done.prompt_id) == (0.5, 20, "exact match", PROMPT.id)
    assert [(row.row, answer, score) for row, answer, score in done.answers[:2]] == [(1, "odd", 0.0), (2, "even", 1.0)]
    assert (done.done, done.total, done.error) == (20, 20, "")
    assert {chat[0].content for chat in model.heard} == {"Parrot."}
    assert {sampling.max_tokens for sampling in model.sampled} == {5}


def test_other_metrics_are_graded() -> None:
    done = ended(begin(ScriptedModel(pieces=["eve"]), "chrF"))
    assert done.score is not None
    assert 0 < done.score.value < 1


def test_progress_is_told_from_the_engines_start_to_the_last_row() -> None:
    seen: list[str] = []
    go_on = threading.Event()

    def connect(say: Callable[[str], None]) -> ChatModel:
        say("Starting the engine: 1 s")
        go_on.wait(10)
        return ScriptedModel(answer=last_word)

    running = measure(PROMPT, ROWS, "exact match", Asker(MemoryShelf(), "scripted", 5, connect))
    wait_for(lambda: running.message == "Starting the engine: 1 s", "word from the engine", 10)
    assert running.running and running.score is None
    running.when_done(lambda done: seen.append(done.message))
    go_on.set()
    ended(running)
    assert seen == ["20 of 20 rows answered"]


def test_a_stop_ends_it_without_a_score_or_an_error() -> None:
    model = ScriptedModel(pace=0.05)
    running = begin(model)
    wait_for(lambda: bool(model.heard), "question", 10)
    running.stop()
    done = ended(running)
    assert (done.score, done.error, done.message) == (None, "", "Stopped.")
    assert len(model.heard) < len(ROWS)
    assert model.open == 0


def test_an_engine_that_goes_after_a_stop_is_no_error() -> None:
    model = ScriptedModel(pace=0.1, fails_at=1, error=EngineError("The server does not answer."))
    running = begin(model)
    running.stop()
    assert (ended(running).error, running.message) == ("", "Stopped.")


def test_a_stop_ends_the_wait_for_an_engine() -> None:
    def connect(say: Callable[[str], None]) -> ChatModel:
        for second in range(1000):
            say(f"Starting: {second} s")
            threading.Event().wait(0.01)
        raise AssertionError("nobody stopped it")

    running = measure(PROMPT, ROWS, "exact match", Asker(MemoryShelf(), "scripted", 5, connect))
    running.stop()
    assert (ended(running).error, running.message) == ("", "Stopped.")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            EngineError("It is out of memory.", hint="Take a smaller model."),
            "It is out of memory. Take a smaller model.",
        ),
        (ValueError("bad bytes"), "Measuring stopped: bad bytes"),
    ],
)
def test_an_error_is_shown_word_for_word(error: Exception, shown: str) -> None:
    model = ScriptedModel(fails_at=1, error=error)
    done = ended(begin(model))
    assert (done.error, done.score, done.answers) == (shown, None, [])


def test_an_engine_that_does_not_start_is_an_error_too() -> None:
    def connect(say: Callable[[str], None]) -> ChatModel:
        raise EngineError("It did not start.")

    assert (
        ended(measure(PROMPT, ROWS, "exact match", Asker(MemoryShelf(), "scripted", 5, connect))).error
        == "It did not start."
    )


@pytest.mark.parametrize("fails_at", [None, 0], ids=["score", "error"])
def test_listeners_are_called_once_early_or_late(fails_at: int | None) -> None:
    told: list[tuple[str, bool]] = []
    running = begin(ScriptedModel(pace=0.02, fails_at=fails_at))
    running.when_done(lambda done: told.append(("early", done.running)))
    ended(running)
    running.when_done(lambda done: told.append(("late", done.running)))
    assert told == [("early", True), ("late", False)], "it only counts as ended once the listeners know"


def test_a_listener_that_fails_does_not_keep_it_running() -> None:
    told: list[str] = []

    def fail(done: Measurement) -> None:
        raise EngineError("the disk is full")

    running = begin(ScriptedModel(pace=0.02))
    running.when_done(fail)
    running.when_done(lambda done: told.append("second"))
    assert "the disk is full" in ended(running).error
    assert told == ["second"]
