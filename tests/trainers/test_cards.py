"""Reports for others: a card that the hub's library reads, a page that needs nobody else, JSON; and nothing made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from prompts.errors import PlanError
from prompts.spec import TaskSpec
from prompts.versions import Demonstration, PromptVersion
from tests.reports import EVIL, predictions, write_full_report
from trainers.cards import FILES, card_text, html_page, report_json, write_all
from trainers.cards.plots import heat
from trainers.energy import Energy, Rates
from trainers.evaluation.records import Confusion
from trainers.jobs import create_run
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.status import RunFolder


@pytest.fixture
def bare(tiny_plan: Callable[..., TrainingPlan], paths: Paths) -> RunFolder:
    """A run without a report."""
    return create_run(tiny_plan(), paths)


@pytest.fixture
def run(bare: RunFolder) -> RunFolder:
    """A run with a full, invented report."""
    write_full_report(bare)
    return bare


class Strict(HTMLParser):
    """Whether every element is closed, and which scripts and addresses a page has."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.wrong: list[str] = []
        self.feed(text)
        self.wrong += self.open

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.wrong += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "onclick")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")


def test_the_card_is_read_by_the_hubs_library(run: RunFolder) -> None:
    card = ModelCard(card_text(run))
    [result] = card.data.eval_results
    assert result.metric_type == "exact_match" and result.dataset_split == "test"
    report = run.report()
    assert report and result.metric_value == pytest.approx(report.tuned.value, abs=1e-4)
    assert f"n={report.tuned.n}" in result.metric_name
    assert card.data.model_name == run.name and card.data.library_name == "peft"
    assert card.data.base_model is None  # a folder of this machine is no id


def test_the_card_tells_figures_gates_limits_and_prompts(run: RunFolder) -> None:
    run.write_spec(TaskSpec(description="Route tickets", task="classification", licence="commercial use"))
    text = card_text(run)
    report = run.report()
    assert report and report.verdict
    for told in (
        report.verdict.headline,
        "# Route tickets",
        "| Base, best prompt | 77aa10cc9d2e |",
        "| Learned by heart | Overfitting | look at this |",
        "| Perplexity | 18.2 (15.1 to 22.9, n=48) | 32.7 (27 to 39.4, n=48) | not measured |",
        "Rows that it would give away",
        "2 without an answer",
        "commercial use",
        f"version {run.plan().prompt.id}",
        "epochs: 3",
    ):
        assert told in text, told


def test_the_card_holds_no_rows_and_no_folders_of_this_machine(run: RunFolder) -> None:
    text = card_text(run)
    assert "Tuesday" not in text and "Where is my" not in text
    assert str(run.plan().data.path.parent) not in text and run.plan().base_model not in text
    assert "tickets.csv" in text


def test_what_was_not_measured_says_so_and_why(bare: RunFolder) -> None:
    text, page, machine = card_text(bare), html_page(bare), report_json(bare)
    assert "Not measured: this run has no report" in text and "Not measured" in page
    assert machine["evaluation"] is None and machine["verdict"] is None
    assert ModelCard(text).data.eval_results is None
    for told in ("Energy: not measured: ", "Carbon: not measured: ", "Cost: not measured: nothing was trained"):
        assert told in text
    assert machine["energy_kwh"]["value"] is None and machine["energy_kwh"]["why_not"]
    assert "Licence: not stated" in text


def test_a_report_from_before_there_were_probes_is_still_told(run: RunFolder) -> None:
    report = run.report()
    assert report is not None
    old = report.model_copy(
        update={"verdict": None, "parts": (), "gates": (), "arms": (), "confusion": (), "calibration": ()}
    )
    run.write_report(old, predictions())
    assert "Yes, it really got better." in html_page(run)
    text = card_text(run)
    assert "Not measured: overfitting, lost abilities and bias" in text and "| base |" in text


def test_energy_carbon_and_cost_follow_from_what_was_measured_and_said(run: RunFolder) -> None:
    (run.path / "energy.json").write_text(Energy(kwh=0.25, source="a counter", seconds=560).model_dump_json())
    assert "Energy: 0.25 kWh, by a counter" in card_text(run)
    assert "Carbon: not measured: set TUNEWRIGHT_GRID_G_PER_KWH" in card_text(run)
    said = report_json(run, Rates(grams_per_kwh=400, cost_per_hour=1.8))
    assert said["carbon_g"]["value"] == pytest.approx(100)
    assert said["cost"]["value"] == pytest.approx(560 / 3600 * 1.8)
    (run.path / "energy.json").write_text(Energy(why="This machine shows no energy counter.").model_dump_json())
    assert "Energy: not measured: this machine shows no energy counter" in card_text(run, Rates(grams_per_kwh=400))
    assert report_json(run, Rates(grams_per_kwh=400))["carbon_g"]["value"] is None


def test_licences_are_those_that_cards_state(
    tiny_plan: Callable[..., TrainingPlan], paths: Paths, tmp_path: Path
) -> None:
    (tmp_path / "rows").mkdir()
    file = tmp_path / "rows" / "tickets.csv"
    file.write_text("text,label\n" + "".join(f"Ticket {i} about a,{'ab'[i % 2]}\n" for i in range(30)))
    (tmp_path / "rows" / "README.md").write_text("---\nlicense: cc-by-4.0\n---\nTickets.\n")
    plan = tiny_plan("embedded")
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"path": file})})
    run = create_run(plan, paths)
    text = card_text(run)
    assert "Licence: cc-by-4.0" in text and "Licence: Apache-2.0" in text
    assert ModelCard(text).data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_prompts_stand_in_the_card_letter_by_letter(run: RunFolder) -> None:
    hostile = PromptVersion(
        system=f"Say ```one``` label.\n{EVIL}", demonstrations=(Demonstration(input="a", output="b"),)
    )
    run.write_prompt(hostile)
    text = card_text(run)
    assert f"````\nSystem: Say ```one``` label.\n{EVIL}" in text
    assert f"version {run.plan().prompt.id}" in text  # the one that it was started from, too


def test_the_page_stands_alone_and_escapes_what_it_shows(run: RunFolder) -> None:
    page = html_page(run)
    strict = Strict(page)
    assert strict.wrong == []
    assert "script" not in strict.seen and "link" not in strict.seen
    assert "&lt;script&gt;" in page and "url(" not in page and "@import" not in page
    assert {"svg", "table", "style"} <= strict.seen
    assert "@page" in page


def test_the_page_has_the_headline_before_the_plots_and_these_before_the_details(run: RunFolder) -> None:
    page = html_page(run)
    order = [
        "It got better at the task",
        "was trained on 180 rows",
        "rp-bars",
        "rp-heat",
        "<svg",
        "Checks",
        "Rows won and lost",
    ]
    body = page[page.index("<body") :]
    places = [body.index(what) for what in order]
    assert places == sorted(places)
    assert "2 of 6 checks passed; 1 failed (General text); 2 ask for a look (" in body


def test_the_json_holds_every_row_and_is_json(run: RunFolder) -> None:
    machine = report_json(run)
    assert json.loads(json.dumps(machine)) == machine
    assert len(machine["rows"]) == 90 and machine["rows"][11]["tuned_failed"]
    assert machine["evaluation"]["tuned"]["n"] == 90
    assert len(machine["curves"]) == 64


def test_all_three_are_written(run: RunFolder, tmp_path: Path) -> None:
    written = write_all(run, tmp_path / "out")
    assert {path.name for path in written.values()} == set(FILES.values())
    assert all(path.stat().st_size > 1000 for path in written.values())
    assert json.loads(written["json"].read_text("utf-8"))["run"] == run.id


def test_a_run_whose_plan_is_gone_is_refused(run: RunFolder) -> None:
    (run.path / "plan.yaml").unlink()
    with pytest.raises(PlanError):
        card_text(run)


def test_of_many_labels_the_most_mistaken_are_drawn_and_no_row_is_lost() -> None:
    labels = tuple(f"label {i}" for i in range(30))
    counts = tuple(tuple(9 if i == j else int(j == (i + 1) % 30 and i < 10) for j in range(31)) for i in range(30))
    drawn = heat(Confusion(labels=labels, columns=(*labels, "(other)"), counts=counts), "Many")
    assert drawn.count("<tr>") == 15 and "(others)" in drawn and "16 labels with fewer mistakes" in drawn
    assert "label 0 answered as label 1: 1 of 10" in drawn
