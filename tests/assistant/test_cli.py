"""The command line as a person meets it: in a process of its own, by its output and its exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.assistant.journey import measured
from tests.trainers.runs import wait_for, wait_until_ended, write_tickets
from trainers.data import Mapping
from trainers.jobs import create_run, list_runs, status
from trainers.paths import Paths
from trainers.plan import DataPlan, EvaluationPlan, Optimization, TrainingPlan
from trainers.status import RunStatus
from trainers.strategies import LoraStrategy

COMMANDS = (
    "app", "describe", "profile", "train", "script", "runs", "cancel", "fetch", "evaluate", "report", "stop", "resume",
    "rename", "delete", "diff", "serve", "import", "export", "watch", "recommend", "prompt", "user", "votes",
)  # fmt: skip
HEAVY = ("torch", "gradio", "transformers", "pandas", "scipy", "datasets", "peft", "trl", "openai")


def tunewright(*arguments: str | Path, timeout: float = 180, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assistant", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def the_error(ran: subprocess.CompletedProcess[str]) -> str:
    """The one clear line on stderr, after everything else about a refusal was checked."""
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.startswith("error: "), ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran.stderr.removeprefix("error: ").strip()


@pytest.fixture
def ready(paths: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Folders of one's own in which this machine is measured already."""
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    return paths


@pytest.fixture
def plan(tmp_path: Path, tiny_model: Path) -> TrainingPlan:
    """One epoch of the tiny model on a few rows."""
    return TrainingPlan(
        base_model=str(tiny_model),
        data=DataPlan(
            path=write_tickets(tmp_path / "tickets.csv", rows=40), columns=Mapping(input="text", output="label")
        ),
        training=Optimization(epochs=1, learning_rate=5e-3, batch_size=4, max_tokens=128),
        evaluation=EvaluationPlan(probes=(), few_shot=0),
    )


@pytest.fixture
def plan_file(plan: TrainingPlan, tmp_path: Path) -> Path:
    return written(plan, tmp_path)


@pytest.fixture
def long_plan_file(plan: TrainingPlan, tmp_path: Path) -> Path:
    return written(plan.model_copy(update={"training": plan.training.model_copy(update={"epochs": 100.0})}), tmp_path)


def written(plan: TrainingPlan, folder: Path) -> Path:
    file = folder / "plan.yaml"
    file.write_text(plan.to_yaml(), "utf-8")
    return file


# Help.


def test_help_lists_every_command(paths: Paths) -> None:
    ran = tunewright("--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    listed = [line.split()[0] for line in ran.stdout.split("Commands:")[1].splitlines() if line.strip()]
    assert tuple(listed) == COMMANDS
    assert not paths.home.exists(), "asking for help leaves nothing behind"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    ran = tunewright(command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Usage:" in ran.stdout


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, assistant.cli; print(sorted(set({HEAVY!r}) & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["train"], ["nonsense"], ["app", "--port", "0"], ["app", "--port", "http"]])
def test_a_wrong_call_is_code_2_with_the_usage(arguments: list[str]) -> None:
    ran = tunewright(*arguments)
    assert ran.returncode == 2
    assert "Usage:" in ran.stderr and "Traceback" not in ran.stderr


# Bad input: one line, code 1.

GOOD = "data: {path: rows.csv, columns: {input: text, output: label}}\n"
ROWS = "text,label\n" + "".join(f"row {n},{'ab'[n % 2]}\n" for n in range(20))


@pytest.mark.parametrize(
    ("text", "rows", "words"),
    [
        (None, ROWS, "There is no plan"),
        ("", ROWS, "it holds no keys"),
        ("data: [", ROWS, "plan.yaml is not valid YAML"),
        ("base_model: embedded\n", ROWS, "'data' is missing"),
        (GOOD + "trainig: {epochs: 1}\n", ROWS, "unknown key 'trainig'. Did you mean 'training'?"),
        (GOOD + "training: {epochs: -1}\n", ROWS, "'training.epochs' is -1, but it should be greater than 0"),
        (GOOD + "training: {epochs: many}\n", ROWS, "'training.epochs' is 'many'"),
        (GOOD + "evaluation: {metric: vibes}\n", ROWS, "the metrics are: exact match, macro-F1"),
        (GOOD + "prompt: {template: hello}\n", ROWS, "the template never uses {{ input }}"),
        (GOOD, None, "There is no file"),
        (GOOD, "", "rows.csv is empty"),
        (GOOD, "text,label\n", "rows.csv has a header but no rows"),
        (GOOD, "just words\nand more\n", "rows.csv is neither CSV nor JSONL"),
        (GOOD, "text,label\na,b,c\n", "rows.csv, row 1 (line 2) has 3 fields, but the header has 2"),
        (GOOD, "text,team\na,b\n", "rows.csv has no column 'label' for the output. Its columns are: text, team."),
    ],
)
def test_a_plan_or_data_that_cannot_be_used(
    paths: Paths, tmp_path: Path, text: str | None, rows: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "plan.yaml").write_text(text)
    if rows is not None:
        (tmp_path / "rows.csv").write_text(rows)
    ran = tunewright("train", tmp_path / "plan.yaml")
    assert words in the_error(ran)
    assert ran.stdout == ""
    assert list_runs(paths) == []


def test_a_plan_that_is_a_folder(paths: Paths, tmp_path: Path) -> None:
    assert "cannot be read" in the_error(tunewright("train", tmp_path))


@pytest.mark.parametrize("command", ["cancel", "report"])
def test_a_run_that_is_not_there(paths: Paths, command: str) -> None:
    assert the_error(tunewright(command, "nonsense")) == "There is no run 'nonsense'. `tunewright runs` lists them."


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no/such", "The model 'no/such' is not on this machine and the hub cannot be reached."),
        ("./nowhere", "There is no base model './nowhere'"),
        ("", "There is no base model ''"),
        ("{folder}", "holds no model: it has no config.json"),
        ("{folder}/notes.gguf", "is not a GGUF file"),
    ],
)
def test_a_model_that_cannot_be_had(paths: Paths, tmp_path: Path, model: str, words: str) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "notes.gguf").write_text("no model")
    if model == "{folder}":
        (folder / "notes.gguf").unlink()
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}  # nobody answers there
    assert words in the_error(tunewright("fetch", model.format(folder=folder), **closed))


def test_a_port_in_use(paths: Paths) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = the_error(tunewright("app", "--no-open", "--port", str(port)))
    assert told.startswith(f"Port {port} is in use.") and "--port" in told


def test_an_unknown_engine(paths: Paths) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ran = tunewright("app", "--no-open", "--port", str(port), TUNEWRIGHT_ENGINE="llama")
    assert the_error(ran) == "There is no engine 'llama'. Use one of: auto, vllm, embedded."


def test_a_home_that_cannot_be_written(paths: Paths, plan_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    assert str(home) in the_error(tunewright("train", plan_file, TUNEWRIGHT_HOME=str(home)))


# Runs.


def test_a_plan_is_trained_and_reported(ready: Paths, plan_file: Path) -> None:
    ran = tunewright("train", plan_file)
    assert ran.returncode == 0, ran.stderr
    [run] = list_runs(ready)
    lines = ran.stdout.splitlines()
    assert lines[0] == f"run {run.id} in {run.path}"
    report = run.report()
    assert report is not None
    assert report.verdict is not None
    end = lines[lines.index(report.verdict.headline) :]
    assert end[1:3] == [f"base  exact match: {report.base}", f"tuned exact match: {report.tuned}"]
    assert end[3].startswith("difference: ") and report.comparison.verdict in end[3]
    assert end[4:-1] == [f"{gate.level:<8} {gate.name}: {gate.told}" for gate in report.gates]
    assert end[-1] == f"adapter: {run.adapter}"
    assert (run.adapter / "adapter_model.safetensors").is_file()
    # Later, and by the other commands.
    assert tunewright("report", run.id).stdout.splitlines() == end
    assert tunewright("report", run.path).stdout.splitlines() == end
    listed = tunewright("runs").stdout
    assert listed.split()[:2] == [run.id, "done"]
    assert f"base {report.base.value:.0%}, tuned {report.tuned.value:.0%}" in listed
    assert tunewright("cancel", run.id).stdout == f"{run.id} has ended already: done.\n"


def test_a_result_is_examined_anew_and_written_as_card_page_and_json(
    ready: Paths, plan_file: Path, tmp_path: Path
) -> None:
    tunewright("train", plan_file)
    [run] = list_runs(ready)
    before = run.report()
    assert before is not None and before.parts == ()
    wrong = the_error(tunewright("evaluate", run.id, "--probe", "curve"))
    assert "curve" in wrong and "curves" in wrong
    assert the_error(tunewright("evaluate", run.id, "--pairs", "gone.csv")).startswith("There is no file")
    assert run.report() == before, "what cannot be done changes nothing"
    ran = tunewright("evaluate", run.id, "--probe", "curves", "--rows", "4", "--json")
    assert ran.returncode == 0, ran.stderr
    told, after = json.loads(ran.stdout), run.report()
    assert after is not None and told == after.model_dump(mode="json")
    assert [part["probe"] for part in told["parts"]] == ["curves"] and "examined" in ran.stderr
    card = tunewright("report", run.id, "--format", "card").stdout
    assert card.startswith("---\n") and after.verdict and after.verdict.headline in card
    page = tmp_path / "report.html"
    tunewright("report", run.id, "--format", "html", "--to", page)
    assert after.verdict.headline in page.read_text("utf-8")
    assert json.loads(tunewright("report", run.id, "--json").stdout)["evaluation"]["tuned"]["n"] == after.tuned.n


def test_a_run_whose_base_is_gone_says_so(ready: Paths, plan: TrainingPlan, tmp_path: Path) -> None:
    run = create_run(plan, ready)
    run.write_status(RunStatus(state="done"))
    run.adapter.mkdir()
    (run.adapter / "adapter_config.json").write_text("{}")
    moved = plan.model_copy(update={"base_model": str(tmp_path / "gone")})
    (run.path / "plan.yaml").write_text(moved.to_yaml())
    assert str(tmp_path / "gone") in the_error(tunewright("evaluate", run.id))
    assert run.written_status().state == "done"


def test_a_run_that_failed_says_why(ready: Paths, plan: TrainingPlan) -> None:
    run = create_run(plan, ready)
    run.write_status(RunStatus(state="failed", message="Memory ran out.", hint="Use a smaller batch."))
    assert the_error(tunewright("report", run.id)) == "Memory ran out. Use a smaller batch."
    assert "failed" in tunewright("runs").stdout


def test_no_runs_yet(paths: Paths) -> None:
    ran = tunewright("runs")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "There are no runs yet" in ran.stdout


def test_a_training_left_to_itself_is_cancelled_by_its_id(ready: Paths, long_plan_file: Path) -> None:
    ran = tunewright("train", long_plan_file, "--detach")
    assert (ran.returncode, ran.stderr) == (0, "")
    [run] = list_runs(ready)
    assert ran.stdout.startswith(f"run {run.id} in {run.path}\nThe result will be served as a LoRA adapter")
    assert tunewright("cancel", run.id).stdout == f"{run.id}: asked to stop.\n"
    assert wait_until_ended(run, 30).state == "cancelled"
    assert tunewright("report", run.id).stdout == f"{run.id} is cancelled; it has no report.\n"
    assert tunewright("runs").stdout.split()[:2] == [run.id, "cancelled"]


def test_runs_are_named_laid_side_by_side_stopped_resumed_and_deleted(
    ready: Paths, plan: TrainingPlan, plan_file: Path, long_plan_file: Path
) -> None:
    first = create_run(plan, ready)
    first.write_status(RunStatus(state="cancelled"))
    assert tunewright("rename", first.id, "the first").stdout == f"{first.id}: the first\n"
    assert "the first" in tunewright("runs").stdout
    tunewright("train", long_plan_file, "--detach")
    second = list_runs(ready)[0]
    wait_for(lambda: status(second).step >= 1, "step")
    assert "what it has learned is kept" in tunewright("stop", second.id).stdout
    assert wait_until_ended(second).state == "done"
    assert (
        f"training.epochs\t{plan.training.epochs}\t{second.plan().training.epochs}"
        in tunewright("diff", first.id, second.id).stdout
    )
    assert tunewright("diff", first.id, first.id).stdout.endswith("These runs follow the same plan.\n")
    assert the_error(tunewright("resume", second.id)).startswith(f"{second.id} is done.")
    ran = tunewright("resume", first.id)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"run {first.id} goes on\n") and "difference: " in ran.stdout
    assert first.artefact is not None
    assert "is deleted;" in tunewright("delete", second.id).stdout
    assert [run.id for run in list_runs(ready)] == [first.id]
    ran = tunewright("import", first.adapter, plan_file)
    assert ran.returncode == 0, ran.stderr
    imported = list_runs(ready)[0]
    report, before = imported.report(), first.report()
    assert report is not None and before is not None and report.tuned == before.tuned and report.train_rows == 0


def test_a_plan_that_cannot_work_leaves_no_run(ready: Paths, plan: TrainingPlan, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(plan.model_copy(update={"strategy": LoraStrategy(r=200)}).to_yaml())
    assert the_error(tunewright("train", file)).startswith("strategy.r: rank 200 is above the width of")
    assert list_runs(ready) == []


def test_control_c_cancels_the_training(ready: Paths, long_plan_file: Path) -> None:
    command = [sys.executable, "-u", "-m", "assistant", "train", str(long_plan_file)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A job in the background ignores Ctrl-C, and so would all that it starts: the tests may be such a job.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, **pipes, text=True, start_new_session=True) as training:
        signal.signal(signal.SIGINT, before)
        assert training.stdout is not None
        assert training.stdout.readline().startswith("run ")
        assert training.stdout.readline(), "it tells how it goes on"
        os.killpg(training.pid, signal.SIGINT)  # as a terminal does, to all in its group
        out, err = training.communicate(timeout=60)
    [run] = list_runs(ready)
    assert training.returncode == 3
    assert "Cancelling ..." in out
    assert f"{run.id} is cancelled; it has no report." in out
    assert err == ""
    assert wait_until_ended(run, 5).state == "cancelled"


# profile

DIRTY = "text,label\n" + "".join(f"where is parcel number {n},{'ab'[n % 2]}\n" for n in range(40))


def test_a_profile_is_printed_for_people_and_for_scripts(paths: Paths, tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text(f"{DIRTY}write to ann@example.org,a\nWhere is  parcel number 1,b\n,a\ntoo,many,fields\n")
    ran = tunewright("profile", str(file), "--model", str(tiny_model))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "data.csv: 43 rows, 42 examples; `text` goes in, `label` is the answer." in ran.stdout
    assert "1 row with personal data by its form: email 1" in ran.stdout and "to mend:" in ran.stdout
    ran = tunewright("profile", str(file), "--model", str(tiny_model), "--json")
    whole = json.loads(ran.stdout)
    assert (whole["rows"], whole["usable"], whole["set_aside"]) == (43, 42, [44])
    assert {finding["check"]: finding["rows"] for finding in whole["findings"]}["duplicates"] == [42]
    assert len(whole["tokens"]["of_each_row"]) == 42 and whole["labels"] == {"a": 21, "b": 21}
    assert sum(whole["splits"].values()) == 42
    assert not paths.home.exists(), "a profile changes nothing"


def test_the_columns_of_a_profile_can_be_named(paths: Paths, tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("text,label,note\n" + "".join(f"a {n},b,c {n % 2}\n" for n in range(6)))
    named = ("--input", "note", "--output", "text", "--json", "--model", str(tiny_model))
    mapping = json.loads(tunewright("profile", str(file), *named).stdout)["mapping"]
    assert (mapping["input"], mapping["output"]) == ("note", "text")
    ran = tunewright("profile", str(file), "--input", "nothing")
    assert ran.returncode == 1 and "has no column 'nothing' for the input" in ran.stderr
    ran = tunewright("profile", "nobody/nothing", "--model", str(tiny_model))
    assert ran.returncode == 1 and "hub cannot be reached" in ran.stderr
