"""Reflection through GEPA itself, with a scripted endpoint: what it is shown, what comes of it, and its failures."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.answers import Asker
from assistant.improving import Improving, improve
from assistant.reflecting import reflector
from prompts.chat_model import Message
from prompts.errors import EngineError
from prompts.versions import PromptVersion
from tests.fakes import MemoryShelf, ScriptedModel
from tests.trainers.runs import wait_for
from trainers.data import Example

YOURS = PromptVersion(system="Say the colour.")
ROWS = tuple(Example(row=n, input=f"thing {n}", output=f"colour {n}") for n in range(120))
RIGHT = {row.input: row.output for row in ROWS}
GOOD = "Name the secret colour of the thing."


def student(chat: Sequence[Message]) -> str:
    """Knows the answers once it is told of the secret, else never."""
    return RIGHT[chat[-1].content] if "secret" in chat[0].content else "grey"


def search(endpoint: ScriptedModel, model: ScriptedModel) -> Improving:
    asker = Asker(MemoryShelf(), "scripted", 8, lambda say: model)
    how = {"metric": "exact match", "minutes": 0.3, "reflect": reflector(endpoint)}
    job = improve(YOURS, [], (), ROWS[:40], ROWS[40:100], asker, **how)  # type: ignore[arg-type]
    wait_for(lambda: not job.running, "end of the search", 60)
    return job


def test_a_prompt_that_reflection_wrote_is_proved_on_rows_it_never_saw() -> None:
    endpoint = ScriptedModel(answer=lambda chat: f"```\n{GOOD}\n```")
    model = ScriptedModel(answer=student)
    job = search(endpoint, model)
    assert job.outcome is not None and job.outcome.better, job.outcome
    assert job.outcome.kept.system == GOOD and job.outcome.kept.reason.endswith("reflected on failures")
    shown = "\n".join(turn.content for chat in endpoint.heard for turn in chat)
    assert "The right answer is: colour" in shown and "grey" in shown
    assert not any(f"thing {n}\n" in shown or f"colour {n}\n" in shown for n in range(40, 120)), "unseen rows"


def test_rubbish_leaves_yours() -> None:
    job = search(ScriptedModel(answer=lambda chat: "I cannot do that."), ScriptedModel(answer=student))
    assert job.outcome is not None and not job.outcome.better and job.outcome.kept == YOURS


def test_an_endpoint_that_fails_is_noted_and_the_search_goes_on() -> None:
    endpoint = ScriptedModel(fails_at=0, error=EngineError("The endpoint does not answer."))
    job = search(endpoint, ScriptedModel(answer=student))
    assert job.outcome is not None and job.outcome.kept == YOURS and not job.error
    assert any("does not answer" in note for note in job.outcome.notes)
