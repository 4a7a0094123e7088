"""The one place where the screen's events are let in: each project that comes in must be its user's own.

Owns that check, for every event that there is or will be: no panel can forget it. Refuses to know what events do.
Where a page keeps its project is no proof, as somebody may present the session of somebody else.
"""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from assistant.project import LOCAL
from assistant.projects import Projects
from prompts.errors import RunError


def user_of(request: gr.Request | None) -> str:
    """Who asks: the name they logged in with, or the local user where there is no login."""
    return (request.username if request else None) or LOCAL


class Border(gr.Blocks):
    """Blocks whose events with a watched project as input only begin for that project's owner."""

    watched: gr.State | None = None
    projects: Projects | None = None

    def watch(self, project_id: gr.State, projects: Projects) -> None:
        """From now on, let nobody in on a project that is not theirs."""
        self.watched, self.projects = project_id, projects

    async def call_function(
        self,
        block_fn: Any,
        processed_input: list[Any],
        iterator: Any = None,
        requests: Any = None,
        *more: Any,
        **named: Any,
    ) -> Any:
        """Gradio calls every event through here; a generator again for each piece, then without its inputs."""
        if iterator is None and self.projects and self.watched in block_fn.inputs:
            request = requests[0] if isinstance(requests, list) else requests
            id = processed_input[block_fn.inputs.index(self.watched)]
            try:
                await asyncio.to_thread(self.projects.refuse_strangers, user_of(request), id)
            except RunError as error:
                raise gr.Error(str(error), title="That did not work", print_exception=False) from error
        return await super().call_function(block_fn, processed_input, iterator, requests, *more, **named)
