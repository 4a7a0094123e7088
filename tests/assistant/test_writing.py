"""A writing job's life: trial, batches, progress, stop, error; and that no test row is shown or comes in."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from itertools import count

import pytest

from assistant.writing import Writing, share_out, write_rows
from prompts.chat_model import ChatModel, Message
from prompts.errors import DataError, EngineError
from prompts.spec import TaskSpec
from tests.fakes import ScriptedModel
from tests.trainers.runs import wait_for
from trainers.data import Example
from trainers.synthetic import Trial

SPEC = TaskSpec(description="Sort tickets by team", input="ticket", task="classification")
TRAIN = [
    Example(row=n, input=f"{what} {thing} since {day}", output=label)
    for n, (what, label, thing, day) in enumerate(
        (what, label, thing, day)
        for what, label in (("I cannot pay for the", "billing"), ("Nobody has brought me the", "delivery"))
        for thing, day in (("kettle", "May"), ("toaster", "Easter"), ("radio", "spring"), ("lamp", "last week"))
    )
]
TEST_INPUT = "The courier threw my fragile parcel over the garden fence"
INPUTS = [*(row.input for row in TRAIN), TEST_INPUT]
NOUNS = ("ant", "bear", "cat", "dog", "eel", "fox", "goat", "hen", "ibis", "jay", "kiwi", "lion", "mole", "newt", "owl")
VERBS = (
    "ate",
    "bit",
    "broke",
    "cracked",
    "dented",
    "found",
    "hid",
    "lost",
    "moved",
    "ripped",
    "sold",
    "split",
    "stole",
)


def counted(messages: Sequence[Message]) -> int:
    asked = re.search(r"Write (\d+) new", messages[0].content)
    assert asked
    return int(asked[1])


def in_lines(inputs: Sequence[str]) -> str:
    return "\n".join(json.dumps({"input": text}) for text in inputs)


def good() -> Callable[[Sequence[Message]], str]:
    """Writes rows that are all different."""
    numbers = count()

    def fresh(n: int) -> str:
        verb, noun, other = VERBS[n % len(VERBS)], NOUNS[n % len(NOUNS)], NOUNS[n * 7 % 11]
        return f"The {noun} {verb} my {other} {n} times, {n}{noun} says {other}{n}"

    return lambda messages: in_lines([fresh(next(numbers)) for _ in range(counted(messages))])


def copying(messages: Sequence[Message]) -> str:
    """Writes what it was shown."""
    shown = re.findall(r'^\{"input": ".*"\}$', messages[0].content, re.MULTILINE)
    return "\n".join(shown[: counted(messages)])


def begin(model: ChatModel, wanted: dict[str, int] | None = None, **more: object) -> Writing:
    wanted = {"billing": 20, "delivery": 10} if wanted is None else wanted
    return write_rows(SPEC, TRAIN, INPUTS, wanted, lambda say: model, **more)  # type: ignore[arg-type]


def ended(job: Writing) -> Writing:
    wait_for(lambda: not job.running, "end of the writing", 30)
    return job


def test_a_good_model_passes_its_trial_and_writes_as_many_as_are_wanted() -> None:
    model = ScriptedModel(answer=good())
    job = ended(begin(model))
    assert job.trial is not None and job.trial.good and (job.trial.rows, job.trial.usable) == (12, 12)
    assert [row.output for row in job.kept].count("billing") == 20
    assert [row.output for row in job.kept].count("delivery") == 10
    assert (job.message, job.error, job.calls) == ("30 of 30 rows kept.", "", 4 + 4)
    assert all(sampling.temperature > 0 for sampling in model.sampled)


def test_only_rows_of_the_label_are_shown_and_never_a_test_row() -> None:
    model = ScriptedModel(answer=good())
    ended(begin(model))
    for [message] in model.heard:
        assert ('label "billing"' in message.content) is ("Nobody has brought" not in message.content)
        assert TEST_INPUT not in message.content


def test_a_copy_of_a_test_row_does_not_come_in() -> None:
    model = ScriptedModel(answer=lambda messages: in_lines([TEST_INPUT + "!"] * counted(messages)))
    job = ended(begin(model, insist=True))
    assert job.kept == []
    assert {row.reason for row in job.rows} == {"copy"}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (copying, "refused were 12 copies"),
        (lambda messages: "I am happy to help! " * 30, "refused were 12 unreadable"),
        (lambda messages: '{"input": "', "refused were 12 unreadable"),
    ],
    ids=["copying", "babbling", "broken"],
)
def test_a_model_that_fails_its_trial_writes_no_more(answer: Callable[[Sequence[Message]], str], why: str) -> None:
    model = ScriptedModel(answer=answer)
    job = ended(begin(model))
    assert job.trial is not None and not job.trial.good
    assert job.message == job.trial.text and why in job.message and "not good enough" in job.message
    assert (len(model.heard), job.kept, job.error) == (4, [], "")


def test_who_insists_gets_what_there_is_until_the_calls_are_spent() -> None:
    model = ScriptedModel(answer=copying)
    job = ended(begin(model, insist=True, most_calls=9))
    assert job.calls == len(model.heard) == 9
    assert re.match(r"0 of 30 rows kept, \d+ refused: \d+ copies", job.message)
    assert job.message.endswith("; the 9 calls that this may take are spent.")


def test_a_trial_made_before_is_not_made_again() -> None:
    passed = ended(begin(ScriptedModel(answer=good()), trial=Trial(12, 12, True, "fine")))
    assert (len(passed.kept), passed.calls) == (30, 6)
    failed = ended(begin(ScriptedModel(answer=good()), trial=Trial(12, 0, False, "not good enough")))
    assert (failed.rows, failed.message) == ([], "not good enough")


def test_free_answers_come_with_their_inputs() -> None:
    inputs = good()

    def answer(messages: Sequence[Message]) -> str:
        rows = [json.loads(line) for line in inputs(messages).splitlines()]
        return json.dumps([{**row, "output": "We are sorry."} for row in rows])

    job = ended(begin(ScriptedModel(answer=answer), {"": 14}))
    assert {row.output for row in job.kept} == {"We are sorry."}
    assert (len(job.kept), {row.agrees for row in job.kept}) == (14, {None})


def test_a_stop_keeps_what_is_there() -> None:
    write = good()
    model = ScriptedModel()

    def slow(messages: Sequence[Message]) -> str:
        if len(model.heard) > 8:
            model.pace = 60
        return write(messages)

    model.answer = slow
    job = begin(model, {"billing": 200, "delivery": 100})
    wait_for(lambda: model.pace == 60, "second batch", 30)
    assert (job.seconds_left or 0) > 0 and job.running
    job.stop()
    ended(job)
    assert len(job.kept) >= 12
    assert job.message == f"Stopped. {len(job.kept)} of 300 rows kept."
    assert (job.error, model.open) == ("", 0)


def test_a_stop_ends_the_wait_for_an_engine() -> None:
    def connect(say: Callable[[str], None]) -> ChatModel:
        for second in range(1000):
            say(f"Starting: {second} s")
            time.sleep(0.01)
        raise AssertionError("nobody stopped it")

    job = write_rows(SPEC, TRAIN, INPUTS, {"billing": 5}, connect)
    job.stop()
    assert ended(job).error == "" and job.message.startswith("Stopped.")


@pytest.mark.parametrize(
    ("error", "shown"),
    [(EngineError("The server is gone.", hint="Start it."), "The server is gone. Start it."), (ValueError("x"), "x")],
)
def test_a_failure_halfway_keeps_what_came_before_it(error: Exception, shown: str) -> None:
    write = good()

    def failing(messages: Sequence[Message]) -> str:
        if len(model.heard) > 6:
            raise error
        return write(messages)

    model = ScriptedModel(answer=failing)
    job = ended(begin(model))
    assert job.error.endswith(shown) and (len(job.kept), job.trial is not None) == (12 + 5 + 4, True)


def test_an_engine_that_does_not_start_is_an_error_too() -> None:
    def connect(say: Callable[[str], None]) -> ChatModel:
        raise EngineError("It did not start.")

    assert ended(write_rows(SPEC, TRAIN, INPUTS, {"billing": 5}, connect)).error == "It did not start."


def test_the_same_seed_asks_the_same_and_gets_the_same() -> None:
    def run(seed: int) -> tuple[list[tuple[Message, ...]], list[str]]:
        model = ScriptedModel(answer=good())
        job = ended(begin(model, seed=seed))
        return model.heard, [row.input for row in job.rows]

    assert run(1) == run(1)
    assert run(1)[0] != run(2)[0]


def test_progress_says_how_many_are_kept_and_why_others_are_not() -> None:
    write = good()
    model = ScriptedModel(answer=lambda messages: "no" if len(model.heard) % 4 == 0 else write(messages))
    job = begin(model)
    told: list[str] = []
    job.when_done(lambda done: told.append(done.progress))
    ended(job)
    job.when_done(lambda done: told.append("late"))
    assert re.fullmatch(r"30 of 30 rows kept, \d+ refused: \d+ unreadable", told[0]) and told[1] == "late"


def test_a_listener_that_fails_does_not_keep_it_running() -> None:
    def fail(done: Writing) -> None:
        raise EngineError("the disk is full")

    job = begin(ScriptedModel(answer=good(), pace=0.05))
    job.when_done(fail)
    assert "the disk is full" in ended(job).error


@pytest.mark.parametrize("wanted", [{}, {"billing": 0}, {"returns": 3}])
def test_what_cannot_be_asked_for_is_said_at_once(wanted: dict[str, int]) -> None:
    with pytest.raises(DataError):
        begin(ScriptedModel(), wanted)


def test_calls_are_shared_out_label_by_label() -> None:
    assert share_out({"a": 7, "b": 2}, 4, 3) == [("a", 3), ("b", 2), ("a", 3), ("a", 1)]
    assert share_out({"a": 7, "b": 2}, 1, 3) == [("a", 3)]
    assert share_out({}, 4, 3) == []
