"""What every panel is. Owns the protocol and the wrapper that turns errors into toasts; refuses to draw."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import gradio as gr

from assistant.conversation import Conversation
from assistant.minds import minds_for
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.projects import Projects
from prompts.errors import TunewrightError


class Desk:
    """What the panels share: the pipeline, the chat, the projects, and the id of the one on the screen."""

    def __init__(self, pipeline: Pipeline, project_id: gr.State) -> None:
        self.pipeline = pipeline
        self.conversation = Conversation(pipeline, minds_for(pipeline))
        self.projects = Projects(pipeline)
        self.project_id = project_id
        self._waiting: list[Any] = []
        self.scripts: list[str] = []
        self._holds: list[Callable[[str], bool]] = []

    def hold_while(self, is_busy: Callable[[str], bool]) -> None:
        """Leave panels that wait for something as they are while a project, by its id, is busy: when somebody decides
        on row after row, each would have the data looked through again."""
        self._holds.append(is_busy)

    def on_open(self, script: str) -> None:
        """JavaScript to run once when a page opens."""
        self.scripts.append(script)

    def then_redraw(self, event: Any) -> Any:
        """After an event that succeeded, show what changed. May be called before the redraw is known."""
        self._waiting.append(event)
        return event

    def edits(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """A handler that changes the project whose id comes first: guarded, and taken back by "go back" in the chat."""

        @functools.wraps(act)
        def wrapper(id: str, *values: Any) -> Any:
            with self.pipeline.undoable(id):
                return act(id, *values)

        return guarded(wrapper)

    def must_wait(self, panel: Any, project: Project) -> bool:
        """Whether a panel that shows the profile, or rows of a split, has to wait for them, as a page never does."""
        awaited = getattr(panel, "waits_for", None)
        if awaited is None or project.data is None:
            return False
        if any(is_busy(project.id) for is_busy in self._holds):
            return True
        if awaited == "rest":
            return False
        job = self.pipeline.profiling(project)
        return not (job.done or (awaited == "splits" and self.pipeline.is_divided(project)))

    def connect_redraw(self, connect: Callable[[Any], None]) -> None:
        for event in self._waiting:
            connect(event)


class Panel(Protocol):
    """One part of the screen. It is drawn again only when its signature changes, so that no typing is lost."""

    @property
    def outputs(self) -> Sequence[Any]:
        """The components that `draw` fills."""
        ...

    def signature(self, project: Project) -> Hashable:
        """A cheap value that changes whenever the panel would look different."""
        ...

    def draw(self, project: Project) -> list[Any]:
        """One value or update for each of `outputs`."""
        ...


def guarded(act: Callable[..., Any]) -> Callable[..., Any]:
    """Show a `TunewrightError` as a toast, word for word, and stop the event there."""

    @functools.wraps(act)
    def wrapper(*args: Any) -> Any:
        try:
            return act(*args)
        except TunewrightError as error:
            raise gr.Error(str(error), title="That did not work", duration=15, print_exception=False) from error

    return wrapper


def listed(text: str) -> tuple[str, ...]:
    """A comma-separated field as a tuple."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
