"""Watching: what is kept of a request, what never is, whether inputs have changed, and whether answers fell."""

from __future__ import annotations

import asyncio
import errno
import json
import random
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient

from assistant.serving.exchange import Exchange
from assistant.serving.gateway import gateway
from assistant.serving.openai_model import OpenAIModel
from assistant.serving.served import ServedModel
from assistant.watching import looks as looks_module
from assistant.watching.asked import asked, input_in
from assistant.watching.drift import distinct, drift
from assistant.watching.labelled import compared, kept_labelled, read_labelled, score_labelled
from assistant.watching.log import Logged, RequestLog, WatchSettings
from assistant.watching.looks import block_size, kept_looks, level_of, look
from assistant.watching.recorder import Recorder
from assistant.watching.watch import Traffic, advise, lines, rows_to_see, watched
from prompts.errors import DataError, RunError
from prompts.metrics import compare, summarize
from prompts.versions import Demonstration, PromptVersion
from tests.assistant.serving_kit import TINY
from tests.assistant.test_serving_room import listening, wait_until
from trainers.data import Example, Mapping
from trainers.evaluation.records import EvaluationReport
from trainers.plan import DataPlan, TrainingPlan
from trainers.status import RunFolder

ON = WatchSettings(log=True)
PROMPT = PromptVersion(
    system="Sort it.",
    template="Ticket: {{ input }}\nTeam:",
    demonstrations=(Demonstration(input="It broke", output="technical"),),
)
TRAINED = [
    f"{verb} {thing} {when}"
    for verb in ("where is", "please cancel", "I lost", "can I change", "who pays for")
    for thing in ("my parcel", "the invoice", "my card", "this order", "the refund", "a subscription")
    for when in ("today", "since monday", "again", "right now")
]
random.Random(0).shuffle(TRAINED)
OTHER = [
    f"{verb} {thing} {when}"
    for verb in ("wie wird", "bitte erklären Sie", "warum ist", "ich vermisse")
    for thing in ("das Wetter", "mein Garten", "der Zug nach Köln", "das Rezept für Kuchen", "die Übersetzung")
    for when in ("heute", "im Winter", "bei Ihnen", "so schwierig")
]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with a result, as far as watching looks at it: plan, training rows, report and an adapter's folder."""
    made = RunFolder(tmp_path / "runs" / "20260101-000000-lora-abcd")
    made.adapter.mkdir(parents=True)
    (made.adapter / "adapter_config.json").write_text("{}")
    plan = TrainingPlan(
        base_model="tiny",
        data=DataPlan(path=tmp_path / "data.csv", columns=Mapping(input="text", output="label")),
        prompt=PROMPT,
    )
    (made.path / "plan.yaml").write_text(plan.to_yaml(), "utf-8")
    made.write_split("train", tuple(Example(n, text, "billing") for n, text in enumerate(TRAINED, 1)))
    base, tuned = [0.0] * 200, [1.0] * 180 + [0.0] * 20
    report = EvaluationReport(
        metric="exact match", base=summarize(base), tuned=summarize(tuned), comparison=compare(base, tuned),
        prompt_id=PROMPT.id, base_model="tiny", seed=0, train_rows=120, train_tokens=1, train_seconds=1.0,
        peak_memory_gb=0.1,
    )  # fmt: skip
    made.write_report(report, [])
    return made


def served(run: RunFolder) -> dict[str, ServedModel]:
    base = ServedModel(name="tiny", base=TINY, prompt=PROMPT)
    return {"tiny": base, run.id: ServedModel(name=run.id, base=TINY, artefact=run.adapter, prompt=PROMPT)}


def chat(text: str, prompt: PromptVersion = PROMPT) -> list[dict[str, str]]:
    return [message.model_dump() for message in prompt.messages(text)]


def request(text: str, minute: int, **fields: Any) -> Logged:
    time = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=minute)
    return Logged(**{"time": time, "model": "m", "input": text, "prompt_id": PROMPT.id, "output": "billing", **fields})


def fill(run: RunFolder, texts: Sequence[str], start: int = 0, **fields: Any) -> None:
    """Many at once, without a sync to the disk for each."""
    log = RequestLog(run)
    log.folder.mkdir(exist_ok=True)
    rows = [request(text, start + n, **fields).model_dump_json() for n, text in enumerate(texts)]
    with (log.folder / "requests-2026-11.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f"{row}\n" for row in rows)


def kept(run: RunFolder) -> list[Logged]:
    return list(RequestLog(run).requests())


# What was asked


@pytest.mark.parametrize("text", ["Where is it?", "", " two\nlines ", "Ticket: x\nTeam:", "{{ input }}", "日本 ✓"])
def test_the_input_is_found_again_in_what_a_program_rendered(text: str) -> None:
    found = asked(chat(text), PROMPT)
    assert found is not None and found.input == text
    assert (found.prompt_id, found.whole_turn) == (PROMPT.id, False)


def test_a_chat_that_is_not_as_the_prompt_has_it_is_kept_whole() -> None:
    found = asked([{"role": "user", "content": "hello"}], PROMPT)
    assert found is not None and found == ("hello", "", True)
    other = asked([{"role": "system", "content": "Be rude."}, chat("x")[-1]], PROMPT)
    assert other is not None and (other.input, other.prompt_id, other.whole_turn) == ("x", "", False)
    later = asked([*chat("one"), {"role": "assistant", "content": "a"}, chat("two")[-1]], PROMPT)
    assert later is not None and (later.input, later.prompt_id) == ("two", PROMPT.id)
    parts = [{"role": "user", "content": [{"type": "text", "text": "Ticket: x\nTeam:"}, {"type": "image_url"}]}]
    assert asked(parts, PROMPT) == ("x", "", False)


@pytest.mark.parametrize("messages", [None, [], "hi", [1], [{"role": "assistant", "content": "a"}]])
def test_a_chat_without_a_person_asks_nothing(messages: object) -> None:
    assert asked(messages, PROMPT) is None


def test_a_template_may_use_the_input_twice_or_changed() -> None:
    twice = PromptVersion(template="{{ input }} / {{ input }}!")
    assert input_in("a b / a b!", twice) == "a b" and input_in("a / b!", twice) is None
    assert input_in("HELLO", PromptVersion(template="{{ input | upper }}")) is None


# What is kept


def test_nothing_is_kept_unless_somebody_switched_it_on(run: RunFolder) -> None:
    recorder = Recorder(lambda: served(run))
    assert not RequestLog(run).settings().log and RequestLog(run).settings().mask
    assert recorder.listener(run.id) is None and not recorder.told(served(run).values())
    RequestLog(run).write_settings(ON)
    assert recorder.listener(run.id) is not None
    assert recorder.listener("tiny") is None, "the base is no run of anybody's"
    assert recorder.listener("nobody") is None
    [told] = recorder.told(served(run).values())
    assert told.endswith("personal data masked.")
    (RequestLog(run).folder / "settings.json").write_text("{broken")
    assert recorder.listener(run.id) is None, "what cannot be read keeps nothing"


def test_personal_data_is_masked_before_it_reaches_the_disk(run: RunFolder) -> None:
    text = "Write to jane.doe@example.com or call +44 20 7946 0958, IBAN DE89 3704 0044 0532 0130 00"
    RequestLog(run).append(request(text, 0, output=text, error=f"no room for {text}"), ON)
    raw = (RequestLog(run).folder / "requests-2026-11.jsonl").read_text("utf-8")
    assert not any(piece in raw for piece in ("jane", "7946", "3704"))
    [found] = kept(run)
    assert "[EMAIL]" in found.input and "[IBAN]" in found.output and "[PHONE_NUMBER]" in found.error and found.masked
    RequestLog(run).append(request(text, 1), ON.model_copy(update={"mask": False}))
    assert kept(run)[1].input == text and not kept(run)[1].masked


def test_a_long_text_is_cut_and_no_address_with_it(run: RunFolder) -> None:
    for shift in range(17_960, 18_010, 10):
        RequestLog(run).append(request("x " * (shift // 2) + "jane.doe@example.com " + "y " * 5_000, 0), ON)
    assert all(len(found.input) < 21_000 and "jane" not in found.input for found in kept(run))
    assert kept(run)[0].input.endswith(" …")


def test_many_threads_write_whole_lines_and_a_torn_one_costs_no_other(run: RunFolder) -> None:
    log = RequestLog(run)
    log.append(request("first", 0), ON)
    with (log.folder / "requests-2026-11.jsonl").open("ab") as file:
        file.write(b'{"time": "2026-')  # the power went
    threads = [
        threading.Thread(target=lambda n=n: [log.append(request(f"{n} {i}", i), ON) for i in range(20)])  # type: ignore[misc]
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.input for found in kept(run)) == sorted(
        ["first", *(f"{n} {i}" for n in range(6) for i in range(20))]
    )


def test_the_oldest_go_where_the_log_is_full_and_all_where_it_is_deleted(run: RunFolder) -> None:
    log, small = RequestLog(run), WatchSettings(log=True, most_mb=0.02)
    log.write_settings(small)
    for n in range(200):
        log.append(request(f"{n} {'x' * 300}", n), small)
    found = [int(one.input.split()[0]) for one in kept(run)]
    assert log.size() < 26_000 and len(log.files()) > 2
    assert found == list(range(found[0], 200)) and found[0] > 0
    log.append(request("december", 50_000), small)
    assert kept(run)[-1].input == "december" and log.files()[-1].name == "requests-2026-12.jsonl"
    look(log, PROMPT, run.split("train"))
    count = len(kept(run))
    assert log.delete() == count and not kept(run) and log.settings() == small
    assert [file.name for file in log.folder.iterdir()] == ["settings.json"]
    assert watched(run).traffic.requests == 0


# From the address to the file


def engine() -> FastAPI:
    """What an engine says, as the last turn asks for it."""
    app = FastAPI()

    @app.post("/v1/chat/completions", response_model=None)
    async def answer(body: dict[str, Any]) -> StreamingResponse | JSONResponse:
        wanted = body["messages"][-1]["content"]
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        if "refuse" in wanted:
            return JSONResponse({"error": {"message": "too long for me", "code": 400}}, 400)
        if not body.get("stream"):
            choice = {"index": 0, "message": {"content": "deli very"}, "finish_reason": "stop"}
            return JSONResponse({"model": "m", "choices": [choice], "usage": usage})

        async def pieces() -> AsyncIterator[str]:
            for text in ("deli", " very"):
                yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text}}]})}\n\n"
            while "endless" in wanted:
                await asyncio.sleep(0.02)
                yield f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': ' …'}}]})}\n\n"
            end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
            yield f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n"

        return StreamingResponse(pieces(), media_type="text/event-stream")

    return app


def front(run: RunFolder, url: str, recorder: Recorder) -> FastAPI:
    app = FastAPI()
    find: Callable[[str], OpenAIModel] = lambda name: OpenAIModel(name=name, url=url)  # noqa: E731
    app.include_router(gateway("/v1", lambda: served(run), find, recorder.listener))
    return app


def test_requests_are_kept_with_their_answers_whole_streamed_cut_off_and_failed(run: RunFolder) -> None:
    RequestLog(run).write_settings(ON)
    recorder = Recorder(lambda: served(run))

    def body(text: str, **more: Any) -> dict[str, Any]:
        return {"model": run.id, "messages": chat(text), **more}

    with listening(engine()) as behind, listening(front(run, behind, recorder)) as url:
        with httpx.Client(trust_env=False, base_url=f"{url}/chat/") as client:
            whole = client.post("completions", json=body("whole, jane@example.com")).json()
            streamed = client.post("completions", json=body("streamed", stream=True)).text
            refused = client.post("completions", json=body("refuse"))
            client.post("completions", json={**body("of the base"), "model": "tiny"})
            with client.stream("POST", "completions", json=body("endless", stream=True)) as reply:
                assert next(reply.iter_lines()).startswith("data: ")
        assert wait_until(lambda: len(kept(run)) == 4)
    assert whole["choices"][0]["message"]["content"] == "deli very" and streamed.rstrip().endswith("[DONE]")
    assert refused.status_code == 400
    recorder.close()
    by_input = {found.input: found for found in kept(run)}
    assert set(by_input) == {"whole, [EMAIL]", "streamed", "refuse", "endless"}
    for name in ("whole, [EMAIL]", "streamed"):
        found = by_input[name]
        assert (found.output, found.error, found.prompt_id, found.model) == ("deli very", "", PROMPT.id, run.id)
        assert (found.prompt_tokens, found.completion_tokens) == (7, 2) and found.seconds > 0
    assert by_input["refuse"].error == "too long for me"
    assert by_input["endless"].output.startswith("deli") and "cut off" in by_input["endless"].error
    away = TestClient(front(run, "http://127.0.0.1:9/v1", recorder))
    assert away.post("/v1/chat/completions", json=body("nobody there")).status_code == 503
    recorder.close()
    assert "does not answer" in kept(run)[-1].error
    RequestLog(run).write_settings(WatchSettings(log=False))
    away.post("/v1/chat/completions", json=body("after it was switched off"))
    recorder.close()
    assert len(kept(run)) == 5


def test_a_full_disk_is_a_warning_and_no_error(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    RequestLog(run).write_settings(ON)
    recorder = Recorder(lambda: served(run))

    def full(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("assistant.watching.log.os.write", full)
    with caplog.at_level("WARNING"), listening(engine()) as behind:
        client = TestClient(front(run, behind, recorder))
        for _ in range(3):
            answer = client.post("/v1/chat/completions", json={"model": run.id, "messages": chat("x")})
            assert answer.status_code == 200
        recorder.close()
    warnings = [record.message for record in caplog.records if "was not logged" in record.message]
    assert len(warnings) == 1 and "No space left" in warnings[0], "told once a minute, not for each"


def test_a_run_that_was_deleted_does_not_come_back_as_a_folder(run: RunFolder, tmp_path: Path) -> None:
    RequestLog(run).write_settings(ON)
    recorder = Recorder(lambda: served(run), lambda settings: ON)
    listener = recorder.listener(run.id)
    assert listener is not None
    run.path.rename(tmp_path / "gone")
    listener(Exchange(chat("x"), "y", datetime.now(UTC), 0.1))
    recorder.close()
    assert not run.path.exists()


# Whether inputs have changed


def test_inputs_of_the_same_kind_are_no_drift_and_others_are() -> None:
    same = drift(TRAINED[:70], TRAINED[70:], 0.025)
    assert same.p_value > 0.025 and same.stranger.low < 0.5
    other = drift(TRAINED[:70], random.Random(1).sample(OTHER, 50), 0.025)
    assert other.p_value < 0.001 and other.stranger.low > 0.6 and other.told_apart.low > 0.6
    told = {found.what: found.told for found in other.differences}
    assert "German in" in told["language"] and "in training 0 of 70" in told["language"]
    assert "have a word that no training input has" in told["new words"]
    assert "“" in told["more often"] and "in training" in told["more often"]
    assert (other.requests, other.trained) == (50, 70)


def test_known_subjects_that_come_more_often_are_seen_by_the_classifier() -> None:
    cards = [text for text in TRAINED[60:] if "card" in text or "refund" in text]
    found = drift(TRAINED[:60], cards, 0.025)
    assert found.p_value <= 0.025 and found.told_apart.low > 0.5


def test_repeats_count_once_however_they_are_written() -> None:
    assert distinct(["a", "b ", "A", "b"]) == ["a", "b "]
    one = drift(TRAINED[::2], TRAINED[1::2], 0.025)
    many = drift(TRAINED[::2], [*TRAINED[1::2], *[TRAINED[1].upper()] * 500], 0.025)
    assert one.p_value == many.p_value
    with pytest.raises(ValueError, match="too few"):
        drift(TRAINED, ["the same"] * 100, 0.05)


def test_few_requests_are_too_few_and_say_how_many_more(run: RunFolder) -> None:
    fill(run, [*TRAINED[:30], *TRAINED[:30]])
    found = look(RequestLog(run), PROMPT, run.split("train"))
    assert (found.state, found.waiting, found.needed) == ("too few", 30, 50)
    assert "30 so far, about 20 more different requests would do" in found.told


def test_looking_often_changes_nothing_and_each_look_is_stricter(run: RunFolder) -> None:
    log, rows = RequestLog(run), run.split("train")
    spent = sum(level_of(n) for n in range(1, 10_000))
    assert spent < 0.05 and level_of(1) == 0.025 and [block_size(n) for n in (1, 2, 3)] == [50, 75, 112]
    often = []
    for start in range(0, 130, 10):
        fill(run, [f"{text} {start}" for text in TRAINED[:10]], start)
        often.append(look(log, PROMPT, rows))
        assert look(log, PROMPT, rows).looks == often[-1].looks
    assert [len(found.looks) for found in often] == [0] * 4 + [1] * 8 + [2]
    (log.folder / "looks.json").unlink()
    assert look(log, PROMPT, rows).looks == often[-1].looks, "the same as from one look at the end"


def test_a_change_is_told_with_its_figures_and_gone_again_where_it_is_gone(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks_module, "_GROWTH", 1.0)
    log, rows = RequestLog(run), run.split("train")
    fill(run, OTHER[:50])
    found = look(log, PROMPT, rows)
    assert found.state == "changed" and "look 1, 50 requests of 2026-11-01" in found.told
    assert "of 100 pairs" in found.told and kept_looks(log) == found
    fill(run, random.Random(3).sample(TRAINED, 50), 100)
    after = look(log, PROMPT, rows)
    assert after.state == "no change seen" and "Look 1 did see a change; this one does not." in after.told


def test_masks_are_no_drift_and_the_training_rows_are_masked_alike(run: RunFolder) -> None:
    mails = [f"{text}, write to {name}@example.com" for name, text in zip("abcdefgh" * 15, TRAINED, strict=True)]
    rows = tuple(Example(n, text, "billing") for n, text in enumerate(mails[::2]))
    log = RequestLog(run)
    for n, text in enumerate(mails[1:101:2]):
        log.append(request(text, n), ON)
    found = look(log, PROMPT, rows)
    assert found.state == "no change seen" and "example.com" not in str(found.looks[0].drift.differences)


def test_requests_that_another_prompt_asked_are_left_out_and_counted(run: RunFolder) -> None:
    fill(run, [f"Summarize: {text}" for text in OTHER[:60]], whole_turn=True, prompt_id="")
    found = watched(run)
    assert found.inputs.state == "too few" and found.inputs.elsewise == 60 and found.traffic.otherwise == 60
    assert any("60 were not asked with this run's prompt" in line for line in lines(found))
    assert look(RequestLog(run), PromptVersion(), run.split("train")).state == "changed", "here the turn is the input"


def test_too_few_training_rows_are_said_and_not_tested(run: RunFolder) -> None:
    fill(run, OTHER[:60])
    found = look(RequestLog(run), PROMPT, run.split("train")[:5])
    assert not found.looks and "trained on 5 different inputs" in found.told


# Whether answers fell


@pytest.mark.parametrize(
    ("right", "n", "verdict"), [(120, 200, "fell"), (185, 200, "holds"), (4, 5, "cannot tell"), (2, 10, "fell")]
)
def test_a_score_on_new_rows_against_that_of_the_test(right: int, n: int, verdict: str) -> None:
    then = summarize([1.0] * 180 + [0.0] * 20)
    found = compared("exact match", then, summarize([1.0] * right + [0.0] * (n - right)))
    assert found.verdict == verdict
    assert found.low < found.now.value - found.then.value < found.high
    assert (found.more is not None) == (verdict == "cannot tell")


def test_the_interval_is_newcombes() -> None:
    """56/70 - 48/80, his first example: 0.0524 to 0.3339 by method 10."""
    found = compared("exact match", summarize([1.0] * 48 + [0.0] * 32), summarize([1.0] * 56 + [0.0] * 14))
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


def test_labelled_rows_are_matched_with_the_last_answer_and_a_failure_counts(run: RunFolder, tmp_path: Path) -> None:
    fill(run, TRAINED[:100])
    fill(run, TRAINED[:10], 200, output="", error="cut off before its end")
    fill(run, ["Write to [EMAIL]"], 300)
    rows = [Example(n, text.upper(), "billing") for n, text in enumerate(TRAINED[:100])]
    found = score_labelled(run, [*rows, Example(101, "Write to jane@example.com", "billing")])
    assert (found.logged, found.unanswered, found.now.n) == (101, 0, 101)
    assert found.now.value == pytest.approx(91 / 101) and kept_labelled(RequestLog(run)) == found
    more = [*rows, *(Example(n, text, "returns") for n, text in enumerate(OTHER[:40]))]
    assert "40 rows are not in the log and were left out" in score_labelled(run, more).told
    now = score_labelled(run, more, lambda inputs: ["billing"] * len(inputs))
    assert (now.logged, now.asked, now.verdict) == (100, 40, "fell") and "have become worse" in now.told


def test_bad_labelled_files_say_what_is_wrong(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("text\nonly inputs\nhere\n")
    with pytest.raises(DataError, match="no right answers"):
        read_labelled(file)
    file.write_text("text,label\nnever asked,billing\n")
    with pytest.raises(DataError, match="no input of theirs is in the log"):
        score_labelled(run, read_labelled(file))
    (run.path / "evaluation.json").unlink()
    with pytest.raises(RunError, match="no report to compare with"):
        score_labelled(run, read_labelled(file))


# What to do


def test_advice_follows_the_evidence(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(run, TRAINED[:10])
    assert watched(run).advice.act == "wait"
    fill(run, OTHER[:50], 100)
    changed = watched(run).advice
    assert changed.act == "label rows" and "Label about" in changed.told and "no longer like" in changed.reasons[0]
    assert watched(run).advice == changed, "the same evidence says the same"
    good = [Example(n, text, "billing") for n, text in enumerate((*TRAINED[:10], *OTHER[:50]))]
    score_labelled(run, good * 4)
    assert watched(run).advice.act == "nothing", "the inputs changed, and the answers hold"
    score_labelled(run, [Example(row.row, row.input, "returns") for row in good])
    fell = watched(run).advice
    old = kept_labelled(RequestLog(run))
    assert old is not None
    before = old.model_copy(update={"time": datetime(2025, 1, 1, tzinfo=UTC)})
    stale = advise(Traffic(), kept_looks(RequestLog(run)), before, None)
    assert stale.act == "label rows" and "before the inputs changed" in stale.reasons[0]
    assert fell.act == "tune again" and "60 newly labelled rows" in fell.told and "points" in fell.reasons[0]


def test_failures_come_before_tuning(run: RunFolder) -> None:
    fill(run, TRAINED[:20])
    fill(run, TRAINED[:20], 50, output="", error="too long")
    found = watched(run).advice
    assert found.act == "mend failures" and "too long (20)" in found.reasons[0]
    one = Traffic(requests=3, failed=summarize([1.0, 0.0, 0.0]))
    assert advise(one, kept_looks(RequestLog(run)), None, None).act != "mend failures"


def test_the_rows_to_label_follow_from_the_test_split() -> None:
    """Two shares, 0.9 and 0.8: about 200 of each are needed for 80 % power (Fleiss 1981, without correction)."""
    assert 150 <= rows_to_see(0.1, summarize([1.0] * 900 + [0.0] * 100)) <= 200
    assert rows_to_see(0.1, None) == 100


def test_a_run_without_a_result_is_refused(run: RunFolder) -> None:
    (run.adapter / "adapter_config.json").unlink()
    with pytest.raises(RunError, match="no result that could be served"):
        watched(run)
