"""No event of the screen begins on a project that is not its user's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import gradio as gr
import pytest

from assistant.pipeline import Pipeline
from assistant.project import LOCAL, Project
from assistant.projects import Projects
from assistant.ui.app import build_app
from assistant.ui.border import Border, user_of
from tests.assistant.journey import open_pipeline
from trainers.paths import Paths


@pytest.fixture
def pipeline(paths: Paths) -> Pipeline:
    return open_pipeline(paths)[0]


@pytest.fixture
def hers(pipeline: Pipeline) -> Project:
    return pipeline.change(Projects(pipeline).create("anna").id, name="Hers")


def asked(user: str | None) -> gr.Request:
    return gr.Request(username=user)


def on_a_project(app: Border) -> Iterator[Any]:
    """Every event that takes the project on the screen."""
    for event in app.fns.values():
        if app.watched in event.inputs and event.fn:
            yield event


def inputs(app: Border, event: Any, id: str) -> list[Any]:
    """The project, and what a page has kept when it opens."""
    kept = [deepcopy(component.value) if isinstance(component, gr.State) else {} for component in event.inputs]
    return [id if component is app.watched else value for component, value in zip(event.inputs, kept, strict=True)]


@pytest.mark.parametrize("user", ["ben", None, LOCAL, "", "Anna"])
def test_nobody_else_gets_into_any_event(pipeline: Pipeline, hers: Project, user: str | None) -> None:
    app = build_app(pipeline)
    assert isinstance(app, Border)
    events = list(on_a_project(app))
    assert len(events) > 25
    for event in events:
        with pytest.raises(gr.Error, match="does not exist any more"):
            asyncio.run(app.call_function(event, inputs(app, event, hers.id), requests=asked(user)))
    assert pipeline.project(hers.id) == hers
    assert pipeline.store.turns(hers.id) == []


def test_the_owner_gets_in(pipeline: Pipeline, hers: Project) -> None:
    app = build_app(pipeline)
    assert isinstance(app, Border)
    [redraw] = {event.fn: event for event in on_a_project(app) if event.fn.__name__ == "redraw"}.values()
    done = asyncio.run(app.call_function(redraw, inputs(app, redraw, hers.id), requests=asked("anna")))
    assert "Hers" in str(done["prediction"])


def test_without_a_login_everybody_is_the_local_user() -> None:
    assert user_of(None) == user_of(asked(None)) == user_of(asked("")) == LOCAL
    assert user_of(asked("anna")) == "anna"
