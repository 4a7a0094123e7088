"""The GPU check's record: what came of each step stands in it, however the check ends. The steps need a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu_check import Record, Skipped


def failing() -> str:
    raise ValueError("no such\nkernel | here")


def skipping() -> str:
    raise Skipped("vLLM is not installed")


def test_every_step_stands_in_the_record_and_a_failed_one_does_not_end_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record(tmp_path / "check.md", machine=["NVIDIA H100, 80 GB"])
    record.step("one", skipping)
    record.step("two", lambda: "7 tokens/s")
    assert not record.failed
    record.step("three", failing)
    record.step("four", lambda: "8 tokens/s")
    assert record.failed
    text = (tmp_path / "check.md").read_text("utf-8")
    assert text.splitlines()[-6:] == [
        "| step | outcome | figures | seconds |",
        "|---|---|---|---|",
        "| one | skipped | vLLM is not installed | 0 |",
        "| two | ran | 7 tokens/s | 0 |",
        "| three | **failed** | ValueError: no such kernel \\| here | 0 |",
        "| four | ran | 8 tokens/s | 0 |",
    ]
    assert "- NVIDIA H100, 80 GB" in text
    assert "in failing" in capsys.readouterr().err, "where it failed is printed"


def test_the_record_is_there_before_the_last_step(tmp_path: Path) -> None:
    record = Record(tmp_path / "check.md")
    record.step("one", lambda: "so far")

    def look() -> str:
        assert "so far" in (tmp_path / "check.md").read_text("utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record.step("two", look)
    assert not record.failed


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Record(None).step("one", lambda: "so far")
    assert not list(tmp_path.iterdir())
