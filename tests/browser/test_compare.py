"""The Compare panel in a browser: conversations, blind rounds by keyboard, what votes say, files, and programs.

The tests of this file share one app and build on each other in file order.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from assistant.arena.asking import Arm, Pane
from assistant.pipeline import Pipeline
from assistant.settings import Settings
from assistant.ui.compare_panes import Turn, turn
from assistant.votes import Vote
from assistant.workbench import NEW_PROJECT
from prompts.versions import PromptVersion
from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import open_panel, selected, visit
from tests.fakes import ScriptedModel
from tests.trainers.checked import write_made_up_tickets
from tests.trainers.runs import wait_until_ended
from trainers.paths import Paths

_LONG = 240_000
_NAMES = ("Base", "Tuned", "tiny", "lora", "prompt")
EVIL = "where is my <b>kettle</b>?</textarea><img src=x onerror=\"document.title='owned'\">"
# Within the page: on a busy machine a click from outside comes when a tiny model has said all it has to say.
_STOP_SOON = """
() => new Promise(resolve => {
  const timer = setInterval(() => {
    if ((document.querySelector('#pane-a .tw-answer')?.innerText || '').length < 9) return;
    clearInterval(timer);
    document.querySelector('#compare-stop').click();
    resolve();
  }, 5);
})
"""
_KEYS = {"1": "left", "ArrowLeft": "left", "2": "right", "ArrowRight": "right", "3": "tie", "4": "both bad"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Folders with a project whose tiny model was tuned on 400 made-up tickets for one epoch: 20 are left to judge."""
    root = tmp_path_factory.mktemp("compare")
    paths = Paths(home=root / "home", cache=root / "cache")
    with pytest.MonkeyPatch.context() as environment:  # the worker finds its folders there
        environment.setenv("TUNEWRIGHT_HOME", str(paths.home))
        environment.setenv("TUNEWRIGHT_CACHE", str(paths.cache))
        pipeline = Pipeline(Settings(paths=paths, engine="embedded"))
        id = pipeline.store.create_project(NEW_PROJECT).id
        pipeline.edit_spec(
            id, {"base_model": str(tiny_model), "description": "Route tickets", "task": "classification"}
        )
        plan = pipeline.plan(pipeline.add_file(id, write_made_up_tickets(root / "tickets.csv", 400)))
        once = plan.training.model_copy(update={"epochs": 1.0, "learning_rate": 5e-3})
        pipeline.set_plan(id, plan.model_copy(update={"training": once}))
        run = pipeline.start_training(id)
        assert wait_until_ended(run).state == "done", run.log_tail()
        pipeline.close()
    return root


@pytest.fixture(scope="module")
def app(root: Path) -> Iterator[RunningApp]:
    with running_app(root, "embedded") as app:
        yield app


def compare(page: Page, app: RunningApp, tab: str) -> None:
    """Open a tab of the Compare panel, after the page has told of the run's end and gone to the report."""
    visit(page, app)
    expect(page.locator("#chat")).to_contain_text("Training is finished")
    expect(page.locator("#tw-stepper")).to_contain_text("✓ Report")
    open_panel(page, "Compare")
    page.locator("#compare-tabs").get_by_role("tab", name=tab).click()


def votes(app: RunningApp) -> list[Vote]:
    """What is in the database, read without the app."""
    with sqlite3.connect(app.home / "tunewright.sqlite3") as db:
        return [Vote.model_validate_json(row[0]) for row in db.execute("SELECT record FROM vote ORDER BY id")]


def phase(page: Page, name: str) -> Locator:
    return page.locator(f".tw-bl[data-phase={name}]")


# Talk


def send(page: Page, message: str) -> None:
    page.locator("#compare-message textarea").fill(message)
    page.locator("#compare-message textarea").press("Enter")
    answered(page, message)


def answered(page: Page, message: str) -> None:
    expect(page.locator("#compare-now .tw-asked")).to_have_text(message, timeout=_LONG)
    for pane in ("#pane-a", "#pane-b"):
        expect(page.locator(f"{pane} .tw-foot")).to_contain_text("tokens", timeout=_LONG)
    expect(page.locator("#compare-now .tw-cursor")).to_have_count(0, timeout=_LONG)


def tokens_read(page: Page, pane: str) -> int:
    found = re.search(r"([\d,]+) \+ [\d,]+ tokens", page.locator(f"{pane} .tw-foot").inner_text())
    assert found
    return int(found[1].replace(",", ""))


def test_a_conversation_is_edited_and_asked_again(app: RunningApp, page: Page) -> None:
    compare(page, app, "Talk")
    expect(page.locator("#compare-who")).to_contain_text("not loaded yet")
    page.get_by_text("How answers are drawn").click()
    page.get_by_label("Most tokens").fill("12")
    page.locator("#compare-conversation input").check()
    send(page, "my parcel is late")
    first = page.locator("#pane-b").inner_text()
    assert re.search(r"Tuned\nanswered by \d{8}-\d{6}-lora-\w+, of tiny · weights \w+ · prompt \w+", first)
    assert "answered by tiny · prompt" in page.locator("#pane-a").inner_text()
    expect(page.locator("#pane-a .tw-foot")).to_contain_text("cut at the limit")
    expect(page.locator("#pane-a mark").first).to_be_visible()  # the two differ
    expect(page.locator("#compare-who")).to_contain_text("apart from the base by")
    read = tokens_read(page, "#pane-a")

    send(page, "and the invoice is wrong")
    expect(page.locator("#compare-past .tw-turn")).to_have_count(1)
    assert tokens_read(page, "#pane-a") > read + 12, "the second turn is sent with the first"

    page.locator("#compare-edit").click()
    expect(page.locator("#compare-message textarea")).to_have_value("and the invoice is wrong")
    expect(page.locator("#compare-now .tw-asked")).to_have_text("my parcel is late")
    expect(page.locator("#compare-past .tw-turn")).to_have_count(0)
    send(page, "and the invoice is missing")
    read = tokens_read(page, "#pane-a")
    page.evaluate("document.querySelectorAll('#compare-now .tw-pane').forEach(pane => pane.remove())")
    page.locator("#compare-retry").click()
    answered(page, "and the invoice is missing")
    expect(page.locator("#compare-past .tw-turn")).to_have_count(1)
    assert tokens_read(page, "#pane-a") == read, "the last turn is replaced, not gone on with"

    # What is allowed holds all; without a conversation nothing is sent before.
    page.locator("#compare-conversation input").uncheck()
    page.locator("#compare-choices textarea").fill("yes\nno")
    send(page, "is it late?")
    expect(page.locator("#compare-past .tw-turn")).to_have_count(0)
    for pane in ("#pane-a", "#pane-b"):
        expect(page.locator(f"{pane} .tw-answer")).to_have_text(re.compile("^(yes|no)$"))


def test_an_answer_under_another_name_is_not_to_be_trusted() -> None:
    arm = Arm("Tuned", ScriptedModel(name="mine"), PromptVersion())
    assert "mine was asked, and &lt;other&gt; answered" in turn(
        Turn("x", (Pane(arm, text="y", model="<other>", done=True),))
    )
    assert "was asked" not in turn(Turn("x", (Pane(arm, text="y", model="mine", done=True),)))


def test_a_stop_keeps_what_was_said(app: RunningApp, page: Page) -> None:
    compare(page, app, "Talk")
    page.get_by_text("How answers are drawn").click()
    page.get_by_label("Most tokens").fill("900")
    page.locator("#compare-message textarea").fill("x")
    page.locator("#compare-send").click()
    page.evaluate(_STOP_SOON)
    expect(page.locator("#pane-a .tw-foot")).to_contain_text("stopped")
    expect(page.locator("#pane-a .tw-answer")).to_contain_text(re.compile(".{8}"))
    kept = page.locator("#pane-a").inner_text()
    page.reload()
    expect(page.locator("#chat")).to_contain_text("Training is finished")
    open_panel(page, "Compare")
    expect(page.locator("#pane-a")).to_have_text(re.compile(re.escape(kept.splitlines()[-1])))
    page.locator("#compare-clear").click()
    expect(page.locator("#pane-a")).to_have_count(0)


# Judge blind


def judge(page: Page, key: str, *, click: bool = False) -> None:
    """A verdict by key or by its button, on a card that names nobody; then the names are there."""
    expect(phase(page, "judge")).to_be_visible()
    text = page.locator(".tw-bl .tw-panes").inner_text()
    assert not any(name in text for name in _NAMES), text
    if click:
        phase(page, "judge").locator(f"button[data-keys~='{key}']").click()
    else:
        page.keyboard.press(key)
    expect(phase(page, "told")).to_be_visible()
    text = page.locator(".tw-bl .tw-panes").inner_text()
    assert "Base" in text and "Tuned" in text and "answered by tiny" in text


def preferred(page: Page, verdict: str) -> str:
    """Who won by what the card tells: a title, or the verdict where nobody did."""
    told = re.search(r"Left was (\w+), right was (\w+)\.", phase(page, "told").inner_text())
    assert told
    return {"left": told[1], "right": told[2]}.get(verdict, verdict)


def test_ten_rounds_by_keyboard_and_buttons(app: RunningApp, page: Page) -> None:
    compare(page, app, "Judge blind")
    expect(page.locator("#blind-card")).to_contain_text("Then you judge two answers at a time")
    page.locator("#blind-start").click()
    expect(phase(page, "judge")).to_be_visible(timeout=_LONG)
    expect(page.locator("#blind-progress")).to_contain_text("0 judged")

    # Keys are letters where somebody types.
    box = page.locator(".tw-bl textarea[name=reason]")
    page.keyboard.press("r")
    page.keyboard.type("1234nu, the left")
    expect(box).to_have_value("1234nu, the left")
    page.locator("#chat-box textarea").click()
    page.keyboard.type("1234")
    page.wait_for_timeout(2500)  # a tick of the clock
    expect(box).to_have_value("1234nu, the left")
    assert votes(app) == []
    page.locator("#chat-box textarea").fill("")
    box.click()
    page.keyboard.press("Escape")
    said = []
    for number, key in enumerate(("1", "ArrowRight", "3", "2", "ArrowLeft", "4", "1", "2", "2", "1")):
        judge(page, key, click=number in (3, 6))
        said.append(preferred(page, _KEYS[key]))
        page.keyboard.press("Enter" if number % 2 else "n")
    expect(phase(page, "judge")).to_be_visible()
    expect(page.locator("#blind-progress")).to_contain_text("10 judged")
    kept = votes(app)
    assert [vote.verdict for vote in kept] == [
        "left", "right", "tie", "right", "left", "both bad", "left", "right", "right", "left"
    ]  # fmt: skip
    assert said == [vote.winner.title if vote.winner else vote.verdict for vote in kept]
    assert kept[0].reason == "1234nu, the left" and not any(vote.reason for vote in kept[1:])
    assert all(vote.blind and not vote.typed and vote.voter == "local" for vote in kept)
    assert len({vote.round for vote in kept}) == 10

    # The last one is taken back, and judged otherwise with a better answer.
    message = kept[-1].message
    page.keyboard.press("u")
    expect(page.locator(".tw-bl .tw-asked")).to_have_text(message)
    expect(phase(page, "judge")).to_be_visible()
    assert len(votes(app)) == 9
    page.keyboard.press("e")
    page.keyboard.type("a better answer")
    page.keyboard.press("Escape")
    judge(page, "2")
    assert len(votes(app)) == 10
    last = votes(app)[-1]
    assert (last.verdict, last.edited, last.message) == ("right", "a better answer", message)
    assert last.winner is not None and last.winner.title == preferred(page, "right")


def test_what_another_window_has_judged_is_told_and_the_next_round_comes(app: RunningApp, page: Page) -> None:
    compare(page, app, "Judge blind")
    expect(phase(page, "judge")).to_be_visible()
    shown, message = phase(page, "judge").get_attribute("data-round"), page.locator(".tw-bl .tw-asked").inner_text()
    pipeline = Pipeline(Settings(paths=Paths(home=app.home, cache=app.home.parent / "cache"), engine="embedded"))
    id = pipeline.store.projects()[0].id
    there = {"id": "another", "round": str(shown), "message": message, "verdict": "tie"}
    pipeline.vote(id, votes(app)[0].model_copy(update=there))
    page.keyboard.press("1")
    expect(page.locator(".toast-body")).to_contain_text("You have judged this pair already")
    expect(page.locator(".tw-bl .tw-asked")).not_to_have_text(message)
    expect(phase(page, "judge")).to_be_visible()
    undone = pipeline.undo_vote(id)
    assert undone is not None and undone.id == "another" and len(votes(app)) == 10


def wilson(wins: int, n: int) -> tuple[float, float]:
    """The 95 % interval, as the textbook has it."""
    z, p = 1.959964, wins / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def test_every_figure_is_that_of_the_votes(app: RunningApp, page: Page, tmp_path: Path) -> None:
    kept = votes(app)
    won = Counter(vote.winner.title if vote.winner else vote.verdict for vote in kept)
    assert won["tie"] == 1 and won["both bad"] == 1 and won["Base"] + won["Tuned"] == 8
    compare(page, app, "What the votes say")
    findings = page.locator("#votes-findings")
    expect(findings).to_contain_text("cannot be told apart")
    tiles = dict(
        zip(*(findings.locator(f".tw-{part}").all_inner_texts() for part in ("caption", "figure")), strict=True)
    )
    assert tiles == {
        "Base won": str(won["Base"]), "Tuned won": str(won["Tuned"]), "ties": "1", "both bad": "1"
    }  # fmt: skip
    title, figures = findings.locator(".tw-bar .tw-words > span").all_inner_texts()
    second = title.split(" over ")[0]
    low, high = wilson(won[second], 8)
    assert figures == f"{won[second] / 8:.0%} ({low:.0%} to {high:.0%}, n=8)"
    left = sum(vote.verdict == "left" for vote in kept)
    expect(findings).to_contain_text(f"{left} of 8 votes with a winner went to the left")
    page.locator("#votes-list button").first.click()
    expect(page.locator("#votes-list")).to_contain_text("1234nu, the left")
    expect(page.locator("#votes-list button").first).to_contain_text("10 votes")

    # Eight verdicts and one better answer, which stands for another pair.
    expect(page.locator("#votes-pairs button").first).to_contain_text("9 pairs of answers")
    page.locator("#votes-pairs button").first.click()
    with page.expect_download() as downloading:
        page.locator("#votes-export").click()
    downloading.value.save_as(tmp_path / "pairs.jsonl")
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == 9 and sum(pair["chosen"][0]["content"] == "a better answer" for pair in pairs) == 1
    expect(page.locator("#votes-round")).to_contain_text("9 pairs are few")


def test_a_vote_with_names_and_a_message_of_ones_own(app: RunningApp, page: Page) -> None:
    compare(page, app, "Judge blind")
    expect(phase(page, "judge")).to_be_visible()
    page.get_by_text("Judge a message of your own").click()
    page.locator("#blind-message textarea").fill(EVIL)
    page.locator("#blind-message textarea").press("Enter")
    expect(page.locator(".tw-bl .tw-asked")).to_have_text(EVIL)
    expect(phase(page, "judge")).to_be_visible(timeout=_LONG)
    page.locator("#blind-names input").check()
    expect(page.locator(".tw-bl .tw-panes")).to_contain_text("answered by tiny")
    page.locator("#blind-voter input, #blind-voter textarea").first.fill("  Ann  ")
    page.locator("#blind-card").get_by_text("Both bad").click()
    expect(page.locator(".tw-bl")).to_contain_text("does not count as blind")
    last = votes(app)[-1]
    assert (last.typed, last.blind, last.voter, last.verdict) == (True, False, "Ann", "both bad")
    page.keyboard.press("u")
    expect(phase(page, "judge")).to_be_visible()
    assert len(votes(app)) == 10

    # What another has judged is there for a second opinion.
    page.locator("#blind-names input").uncheck()
    page.locator("#blind-second input").check()
    expect(page.locator(".tw-bl .tw-asked")).not_to_have_text(EVIL)
    judge(page, "3")
    last = votes(app)[-1]
    assert last.voter == "Ann" and last.round in {vote.round for vote in votes(app)[:10]} and last.blind
    page.keyboard.press("u")
    expect(phase(page, "judge")).to_be_visible()
    assert page.title() == "Tunewright"


# Whole file


def test_a_file_goes_through_all_and_comes_back(app: RunningApp, page: Page, tmp_path: Path) -> None:
    rows = [("my parcel is late", "delivery"), ("=1+1", "billing"), ("the lamp will not switch on", "technical")]
    with (tmp_path / "more.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("ticket", "team"), *rows])
    compare(page, app, "Whole file")
    page.locator("#batch-file input[type=file]").set_input_files(tmp_path / "more.csv")
    expect(page.locator("#batch-progress")).to_contain_text("6 of 6 answers", timeout=_LONG)
    expect(page.locator("#batch-progress")).to_contain_text("exact match")
    expect(page.locator("#batch-progress .tw-fold")).to_have_count(2)
    expect(page.locator("#batch-table")).to_contain_text("the lamp will not switch on")
    back: dict[str, str] = {}
    for kind in ("csv", "jsonl"):
        with page.expect_download() as downloading:
            page.locator(f"#batch-{kind}").click()
        downloading.value.save_as(tmp_path / f"back.{kind}")
        back[kind] = (tmp_path / f"back.{kind}").read_text("utf-8")
    found = list(csv.DictReader(back["csv"].splitlines()))
    assert [(row["input"].lstrip("'"), row["expected"]) for row in found] == rows
    records = [json.loads(line) for line in back["jsonl"].splitlines()]
    assert [[answer["text"] for answer in record["answers"]] for record in records] == [
        [row["Base"].removeprefix("'"), row["Tuned"].removeprefix("'")] for row in found
    ]
    assert all(record["answers"][1]["model"].count("lora") for record in records)


# From a program


def test_the_lines_for_a_program_run(app: RunningApp, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    compare(page, app, "From your program")
    expect(page.locator("#program-head")).to_contain_text(f"Serving at {app.url}/v1")
    lines = []
    for block in page.locator("#program-1 .block:has(.cm-editor)").all():
        block.get_by_role("button").first.click()
        lines.append(page.evaluate("navigator.clipboard.readText()"))
    curl, python = lines
    reply = json.loads(subprocess.run(shlex.split(curl), capture_output=True, check=True, timeout=120).stdout)
    assert "lora" in reply["model"]
    said = subprocess.run([sys.executable, "-c", python], capture_output=True, check=True, timeout=120, text=True)
    assert said.stdout.rstrip("\n") == reply["choices"][0]["message"]["content"]


# The next round


def test_the_next_round_is_trained(app: RunningApp, page: Page) -> None:
    compare(page, app, "What the votes say")
    expect(page.locator("#votes-round")).to_contain_text("shape: preference")
    page.locator("#votes-train").click()
    expect(page.locator("#chat")).to_contain_text("Training has begun as run")
    assert "Train" in selected(page)
    expect(page.locator("#runs tr[data-run]", has_text="votes: 9 pairs")).to_be_visible()
    page.locator("#cancel-training").click()
    expect(page.locator("#train-progress")).to_contain_text("Cancelled", timeout=_LONG)
