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
from assistant.refining import refine
from assistant.settings import Settings
from assistant.spec_file import read_asked
from prompts.errors import TunewrightError
from tests.assistant.journey import measured
from tests.assistant.test_workshop import finish
from tests.trainers.checked import made_up_tickets
from trainers.paths import Paths


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_missing_spec_or_file_is_one_line(tmp_path: Path) -> None:
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
