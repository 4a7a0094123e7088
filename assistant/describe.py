"""What the chat would understand and answer, without the app: for scripts, and for measuring the minds.

Owns a conversation that leaves nothing behind. The code is the chat's own; only the folder is a passing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assistant.conversation import Conversation
from assistant.dialogue.wording import open_question
from assistant.minds import minds_for
from assistant.pipeline import Pipeline
from assistant.project import LOCAL
from assistant.settings import Settings
from assistant.workbench import NEW_PROJECT
from trainers.paths import Paths


def describe(turns: Sequence[str], settings: Settings) -> dict[str, Any]:
    """The spec after these messages, the question that is open then, and the last reply.

    `spec` has every field of the task spec and `origins`; `question` is empty where nothing is asked.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        passing = replace(settings, paths=Paths(home=Path(folder), cache=settings.paths.cache), database_url="")
        pipeline = Pipeline(passing)
        try:
            conversation = Conversation(pipeline, minds_for(pipeline))
            id = pipeline.store.create_project(NEW_PROJECT, LOCAL).id
            for text in turns:
                conversation.hear(id, text)
                conversation.answer(id, text)
            project = pipeline.project(id)
            question = open_question(project)
            return {
                "spec": project.spec.model_dump(mode="json"),
                "question": question.text if question else "",
                "reply": conversation.turns(id)[-1].text,
            }
        finally:
            pipeline.close()
