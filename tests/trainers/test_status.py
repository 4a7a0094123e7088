"""A run's files, read while they are being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.errors import RunError
from trainers.data import Example
from trainers.status import RunFolder, RunStatus


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_an_empty_run_has_nothing_to_say(run: RunFolder) -> None:
    assert run.written_status() == RunStatus()
    assert run.metrics() == []
    assert run.report() is None
    assert run.predictions() == []
    assert run.log_tail() == ""
    with pytest.raises(RunError, match="has no test split"):
        run.split("test")


def test_a_status_is_read_as_written_and_stamped(run: RunFolder) -> None:
    run.write_status(RunStatus(state="running", message="Größe", seconds_left=3.5))
    read = run.written_status()
    assert (read.state, read.message, read.seconds_left) == ("running", "Größe", 3.5)
    assert read.updated > 0
    assert [path.name for path in run.path.iterdir()] == ["status.json"], "no draft is left behind"


def test_a_line_of_metrics_that_is_still_being_written_is_left_out(run: RunFolder) -> None:
    run.add_metrics(step=1, loss=2.5)
    run.add_metrics(step=1, eval_loss=2.0)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert run.metrics() == [{"step": 1, "loss": 2.5}, {"step": 1, "eval_loss": 2.0}]


def test_a_split_keeps_its_texts_whole(run: RunFolder) -> None:
    examples = tuple(Example(row=i, input=f"a{end}b", output="x") for i, end in enumerate("\n\r\u2028\x85\x1c"))
    run.write_split("train", examples)
    assert run.split("train") == examples
    run.write_split("dev", ())
    assert run.split("dev") == ()


def test_the_log_is_cut_to_its_last_lines_and_a_progress_bar_to_its_last_states(run: RunFolder) -> None:
    run.log.write_bytes(b"first\n" + b"\rstep 1\rstep 2\rstep 3\n" + b"caf\xe9\n")
    assert run.log_tail(3) == "step 2\nstep 3\ncaf\ufffd"
