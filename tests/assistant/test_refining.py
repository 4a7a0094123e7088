"""`tunewright prompt refine`: a spec and a file in, a version and what it is worth out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assistant.cli import cli
from assistant.improving import Improving
from assistant.refining import read_asked, refine
from assistant.settings import Settings
from prompts.errors import DataError, TunewrightError
from tests.assistant.journey import measured
from tests.assistant.test_workshop import finish
from tests.trainers.checked import made_up_tickets
from trainers.paths import Paths


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_spec_is_read_with_its_prompt(tmp_path: Path) -> None:
    text = "task: classification\ninput: ticket\nlabels: [a, b]\nprompt:\n  system: Which team?\n"
    asked = read_asked(write(tmp_path / "spec.yaml", text))
    assert asked.spec.labels == ("a", "b") and asked.spec.origins["labels"] == "said"
    assert asked.prompt is not None and asked.prompt.system == "Which team?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: dance\n", "task: Input should be"),
        ("tsak: classification\n", "tsak: Extra inputs"),
        ("prompt: {template: '{{ question }}'}\n", "only {{ input }} is there"),
        ("just words", "holds no spec"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_spec_that_cannot_be_used_is_told_with_its_field(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as told:
        read_asked(write(tmp_path / "spec.yaml", text))
    assert words in str(told.value) and "spec.yaml" in str(told.value)


def test_a_missing_spec_or_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_asked(tmp_path / "none.yaml")
    spec = write(tmp_path / "spec.yaml", "task: classification\n")
    found = CliRunner().invoke(cli, ["prompt", "refine", "--spec", str(spec), "--data", str(tmp_path / "none.csv")])
    assert found.exit_code == 1 and isinstance(found.exception, TunewrightError)


def test_a_search_from_spec_and_file_to_json(
    tmp_path: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On the tiny model, for a few seconds: it cannot find much, and must say so in full."""
    data = tmp_path / "tickets.csv"
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([("ticket", "team"), *made_up_tickets(240)])
    paths = Paths(home=tmp_path / "home", cache=tmp_path / "cache")
    shutil.copytree(measured(tmp_path_factory.getbasetemp()), paths.cache)
    spec = write(
        tmp_path / "spec.yaml", f"task: classification\nbase_model: {tiny_model}\nprompt: {{system: 'Team?'}}\n"
    )
    told: list[str] = []

    def follow(job: Improving) -> None:
        finish(job)
        told.append(job.message)

    found = refine(read_asked(spec), data, 0.2, Settings(paths=paths, engine="embedded"), {}, follow)
    assert json.loads(json.dumps(found)) == found
    assert found["yours"]["system"] == "Team?" and found["told"] == told[0]
    assert found["better"] or found["prompt"]["id"] == found["yours"]["id"]
    assert {"score", "rows", "reason", "version"} <= found["candidates"][0].keys()
    assert list(paths.home.glob("*")) == [], "nothing is kept"
