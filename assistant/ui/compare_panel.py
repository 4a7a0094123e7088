"""The Compare panel: who is compared, and the ways to compare them.

Owns the order of its parts. Refuses to know what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import gradio as gr

from assistant.project import Project
from assistant.ui.compare_arms import ArmsPanel
from assistant.ui.compare_blind import BlindPanel
from assistant.ui.compare_file import FilePanel
from assistant.ui.compare_program import ProgramPanel
from assistant.ui.compare_talk import TalkPanel
from assistant.ui.compare_votes import TITLE, VotesPanel
from assistant.ui.panel import Desk, Panel

_TABS: dict[str, Callable[[Desk], Any]] = {
    "Talk": TalkPanel,
    "Judge blind": BlindPanel,
    "Whole file": FilePanel,
    TITLE: VotesPanel,
    "From your program": ProgramPanel,
}


class ComparePanel:
    """The head with the choice, and a tab for each way."""

    def __init__(self, desk: Desk) -> None:
        arms = ArmsPanel(desk)
        opened, built = gr.State(""), {}
        with gr.Tabs(elem_id="compare-tabs"):
            for title, panel in _TABS.items():
                with gr.Tab(title) as tab:
                    built[title] = panel(desk)
                tab.select(lambda title=title: title, None, opened, show_progress="hidden")
        built[TITLE].follow(opened)
        self.parts: tuple[Panel, ...] = (arms, *built.values())
        self.outputs: list[Any] = []

    def signature(self, project: Project) -> Hashable:
        return None

    def draw(self, project: Project) -> list[Any]:
        return []
