"""`tunewright recommend` as a person meets it: advice for people and for scripts, bad input, and trials."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from assistant.advice.records import Advice
from assistant.cli_recommend import add_commands
from prompts.errors import TunewrightError
from tests.assistant.journey import measured
from tests.assistant.test_cli import the_error
from tests.assistant.test_cli import tunewright as in_a_process
from tests.trainers.runs import wait_for, write_tickets
from trainers.paths import Paths
from trainers.plan import read_plan
from trainers.trials import life
from trainers.trials.folder import TrialsFolder
from trainers.trials.records import Decision, Promise, TrialsStatus, Tried, Try


@pytest.fixture
def here(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Folders of one's own in which this machine is measured already."""
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return paths


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    return write_tickets(tmp_path / "tickets.csv", rows=60)


@pytest.fixture
def spec(tmp_path: Path, tiny_model: Path) -> Path:
    return written(tmp_path, base_model=str(tiny_model), description="Route tickets to a team")


def written(folder: Path, **facts: Any) -> Path:
    file = folder / "spec.yaml"
    file.write_text(yaml.safe_dump(facts), "utf-8")
    return file


def recommend(*arguments: str | Path) -> Any:
    cli = typer.Typer()
    add_commands(cli)
    cli.callback()(lambda: None)  # else typer takes the single command for the whole
    return CliRunner().invoke(cli, ["recommend", *map(str, arguments)])


def refused(*arguments: str | Path) -> str:
    ran = recommend(*arguments)
    assert isinstance(ran.exception, TunewrightError), ran.output
    return str(ran.exception)


# The spec.


# Advice by rules.


def test_the_advice_is_told_with_reasons_figures_and_the_other_options(
    here: Paths, spec: Path, tickets: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    ran = recommend("--spec", spec, "--data", tickets, "--plan-out", plan)
    assert ran.exit_code == 0, ran.output
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("Advised: ") and any(line.startswith("  - ") for line in lines)
    assert "How sure: By rules" in ran.stdout and "--measure tries the options on your own rows." in lines
    assert "Other options, the better first" in lines
    others = lines[lines.index("Other options, the better first") + 1 :]
    assert len([line for line in others if line.startswith("  ")]) >= 5
    assert any("tickets" in line or "60" in line or "rows" in line for line in lines if line.startswith("  - "))
    assert read_plan(plan).data.path == tickets.resolve(), "it names the person's own file"
    assert f"`tunewright train {plan}` follows it." in ran.stdout
    assert not here.home.exists(), "advice changes nothing"


def test_the_json_is_the_whole_advice(here: Paths, spec: Path, tickets: Path) -> None:
    ran = recommend("--spec", spec, "--data", tickets, "--json")
    found = json.loads(ran.stdout)
    assert set(found) == {"options", "conflicts", "facts", "evidence", "spec", "plan_file", "trials"}
    advice = Advice.model_validate({name: found[name] for name in Advice.model_fields})
    assert [option.standing for option in advice.options].count("advised") == 1 and advice.best.advised
    assert found["trials"] is None and found["plan_file"] is None
    assert found["spec"]["labels"] == ["billing", "returns"] and found["spec"]["origins"]["labels"] == "inferred"
    lora = advice.of("lora")
    assert lora is not None and lora.training is not None and lora.training.memory.total > 0 and lora.plan is not None


def test_a_spec_alone_is_advised_to_bring_data(here: Paths, spec: Path) -> None:
    ran = recommend("--spec", spec)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.startswith("Advised: ") and "data" in ran.stdout.splitlines()[0]
    assert "--measure" not in ran.stdout and "How sure" not in ran.stdout, "nothing can be tried without rows"


def test_one_row_is_no_crash_and_nothing_to_try(here: Paths, spec: Path, tmp_path: Path) -> None:
    one = write_tickets(tmp_path / "one.csv", rows=1)
    ran = recommend("--spec", spec, "--data", one, "--json")
    assert ran.exit_code == 0, ran.exception
    assert json.loads(ran.stdout)["options"][0]["kind"] in ("data", "prompt", "few_shot")
    assert "one.csv" in refused("--spec", spec, "--data", one, "--measure")


def test_wishes_that_cannot_be_kept_together_are_named_with_the_nearest(
    here: Paths, tickets: Path, tmp_path: Path, tiny_model: Path
) -> None:
    spec = written(tmp_path, base_model=str(tiny_model), has_preferences=True, task="classification")
    ran = recommend("--spec", spec, "--data", tickets)
    assert ran.exit_code == 0, ran.output
    first, second = ran.stdout.splitlines()[:2]
    assert first.startswith("! ") and second.startswith("  ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "There is nothing to advise on. Give --data FILE, --spec spec.yaml, or both."),
        (("--measure", "--budget", "0"), "A budget of 0 minutes leaves no time"),
        (("--measure", "--budget", "-1"), "A budget of -1 minutes leaves no time"),
        (("--measure", "--budget", "nan"), "A budget of nan minutes"),
        (("--budget", "5"), "--budget is about trials, and none were asked for. Add --measure"),
        (("--on", "ray://there:10001"), "--on is about trials"),
        (("--device", "tpu"), "There is no device 'tpu'. Use cpu or cuda"),
        (("--measure",), "There is no data, so that nothing can be tried."),
    ],
)
def test_what_makes_no_sense_is_refused(here: Paths, spec: Path, arguments: tuple[str, ...], words: str) -> None:
    given = ("--spec", spec) if arguments else ()
    assert words in refused(*given, *arguments)


def test_a_base_that_fits_nowhere_is_named_and_never_fetched(
    tickets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model stands in for it: from the person's own cache, as converting it takes half a minute."""
    monkeypatch.setenv("TUNEWRIGHT_HOME", str(tmp_path / "home"))
    spec = written(tmp_path, base_model="Qwen/Qwen2.5-72B-Instruct")
    ran = recommend("--spec", spec, "--data", tickets)
    assert ran.exit_code == 0, ran.exception
    assert ran.stdout.startswith("! Qwen2.5-72B-Instruct takes about ") and "base model: " in ran.stdout
    told = refused("--spec", spec, "--data", tickets, "--measure")
    assert told.startswith("Nothing can be tried on Qwen/Qwen2.5-72B-Instruct: it is not on this machine.")


def test_files_and_columns_that_are_not_there(here: Paths, spec: Path, tickets: Path, tmp_path: Path) -> None:
    assert "gone.csv" in refused("--spec", spec, "--data", tmp_path / "gone.csv")
    assert "no column 'nothing'" in refused("--spec", spec, "--data", tickets, "--input", "nothing")


def test_a_refusal_is_one_line_and_code_1(paths: Paths) -> None:
    assert the_error(in_a_process("recommend")).startswith("There is nothing to advise on.")


# Trials: what they find is made up here, so that only what is done with it is looked at.


def made_up(folder: TrialsFolder) -> None:
    """Stands for the process that tries: every option once, and the second one wins."""
    order = folder.order()
    rows = [row.row for row in folder.splits().dev]
    for number, one in enumerate(order.candidates):
        scores = dict.fromkeys(rows, 1.0 if number == 1 else 0.0)
        folder.add(Tried(tried=Try(key=one.key, portion=1.0), rows=9, scores=scores, seconds=3.0))
    best = order.candidates[1]
    folder.write_decision(
        Decision(
            advised=best.key,
            best=best.key,
            alike=(best.key,),
            sentence=f"{best.title} was best: 100% (n={len(rows)}).",
            promises=(Promise(key=best.key, value=1.0, low=0.7, high=1.0, tried_in_full=True),),
        )
    )
    folder.write_status(TrialsStatus(state="done", message="All options are tried.", spent_seconds=12.0))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials that were started, by id."""
    ids: list[str] = []

    def start(folder: TrialsFolder) -> None:
        ids.append(folder.id)
        made_up(folder)

    monkeypatch.setattr(life, "start", start)
    return ids


def test_trials_are_followed_and_the_advice_rests_on_them(
    here: Paths, spec: Path, tickets: Path, started: list[str], tmp_path: Path
) -> None:
    ran = recommend("--spec", spec, "--data", tickets, "--measure", "--budget", "7", "--json")
    assert ran.exit_code == 0, ran.exception
    found = json.loads(ran.stdout)
    [folder] = life.list_all(here)
    assert started == [folder.id] == [found["trials"]["id"]]
    assert folder.order().budget_minutes == 7
    assert folder.order().candidates[0].plan.data.path == tickets.resolve(), "what a try leaves can be done again"
    titles = {one.key: one.title for one in folder.order().candidates}
    told = ran.stderr.splitlines()
    assert told[0] == f"trials {folder.id} have begun"
    for key, title in titles.items():
        [line] = [line for line in told if line.startswith(f"{title} on 9 rows: ")]
        assert line.endswith(", 3 s") and ("100%" in line) == (key == folder.order().candidates[1].key)
    assert (
        found["evidence"] == found["trials"]["decision"]["sentence"] and found["options"][0]["measured"]["value"] == 1
    )

    # The same once more: nothing is tried again. Other rows, or another task: that is something else.
    ran = recommend("--spec", spec, "--data", tickets, "--measure")
    assert ran.exit_code == 0 and len(started) == 1 and "were tried already" in ran.stderr
    assert f"How sure: {found['evidence']}" in ran.stdout and "--measure tries" not in ran.stdout
    more = write_tickets(tmp_path / "more.csv", rows=64)
    assert recommend("--spec", spec, "--data", more, "--measure").exit_code == 0 and len(started) == 2
    again = shutil.copyfile(tickets, tmp_path / "copy.csv")
    assert recommend("--spec", spec, "--data", again, "--measure").exit_code == 0 and len(started) == 2, "by content"
    asked = written(tmp_path, **yaml.safe_load(spec.read_text()), time_budget_minutes=20.0)
    assert recommend("--spec", asked, "--data", tickets, "--measure").exit_code == 0 and len(started) == 3


def test_a_larger_budget_goes_on_with_what_was_tried(
    here: Paths, spec: Path, tickets: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recommend("--spec", spec, "--data", tickets, "--measure", "--budget", "2").exit_code == 0
    [folder] = life.list_all(here)
    monkeypatch.setattr(life, "start", lambda folder: folder.write_status(TrialsStatus(state="done", message="Done.")))
    ran = recommend("--spec", spec, "--data", tickets, "--measure", "--budget", "30")
    assert ran.exit_code == 0, ran.exception
    assert [one.id for one in life.list_all(here)] == [folder.id] and folder.order().budget_minutes == 30
    assert "go on where they were" in ran.stderr


def test_trials_that_failed_say_why(here: Paths, spec: Path, tickets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: TrialsFolder) -> None:
        folder.write_status(TrialsStatus(state="failed", message="Memory ran out.", hint="Take a smaller base."))

    monkeypatch.setattr(life, "start", fail)
    assert refused("--spec", spec, "--data", tickets, "--measure") == "Memory ran out. Take a smaller base."


def test_control_c_keeps_what_was_tried_and_the_same_call_goes_on(here: Paths, spec: Path, tickets: Path) -> None:
    arguments = ("recommend", "--spec", spec, "--data", tickets, "--measure")
    command = [sys.executable, "-u", "-m", "assistant", *map(str, arguments), "--budget", "30"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, start_new_session=True) as trying:
        signal.signal(signal.SIGINT, before)
        wait_for(lambda: any(folder.tried() for folder in life.list_all(here)), "first try")
        os.killpg(trying.pid, signal.SIGINT)
        out, err = trying.communicate(timeout=90)
    [folder] = life.list_all(here)
    assert trying.returncode == 0, err
    assert "what was found is kept" in err and "Advised: " in out
    assert life.status(folder).state in ("cancelled", "done")
    kept = len(folder.tried())
    assert kept >= 1
    ran = in_a_process(*arguments, "--budget", "0.01")  # what was spent is more: it only decides
    assert ran.returncode == 0, ran.stderr
    assert [one.id for one in life.list_all(here)] == [folder.id] and len(folder.tried()) >= kept
