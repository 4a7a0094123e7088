"""Nothing is asked twice, and what was answered stays, whatever happens then."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from assistant.answers import Asker
from assistant.background import Stopped
from prompts.allowed import Allowed
from prompts.chat_model import Message
from prompts.errors import EngineError
from prompts.versions import PromptVersion
from tests.fakes import MemoryShelf, ScriptedModel

PROMPT = PromptVersion(system="Parrot.")
INPUTS = [f"row {n}" for n in range(10)]


def parrot(messages: Sequence[Message]) -> str:
    return messages[-1].content.upper()


def asker(model: ScriptedModel, shelf: MemoryShelf | None = None, key: str = "base", limit: int = 8) -> Asker:
    return Asker(shelf or MemoryShelf(), key, limit, lambda say: model)


def test_answers_come_in_order_and_only_new_inputs_are_asked() -> None:
    model, shelf = ScriptedModel(answer=parrot), MemoryShelf()
    one = asker(model, shelf)
    assert [a.text for a in one.ask(PROMPT, INPUTS[:4])] == ["ROW 0", "ROW 1", "ROW 2", "ROW 3"]
    assert [a.text for a in one.ask(PROMPT, ["row 2", "new", "row 2", "new"])] == ["ROW 2", "NEW", "ROW 2", "NEW"]
    assert len(model.heard) == 5
    assert one.cost(PROMPT, ["row 0", "other", "other"]) == 1


def test_nobody_is_called_where_all_is_known() -> None:
    shelf = MemoryShelf()
    asker(ScriptedModel(answer=parrot), shelf).ask(PROMPT, INPUTS)

    def fail(say: object) -> ScriptedModel:
        raise AssertionError("the engine was started")

    known = Asker(shelf, "base", 8, fail)
    assert [a.text for a in known.ask(PROMPT, INPUTS)] == [text.upper() for text in INPUTS]
    assert known.known(PROMPT, INPUTS) is not None
    assert known.known(PROMPT, [*INPUTS, "one more"]) is None


@pytest.mark.parametrize(
    ("version", "key", "limit"),
    [
        (PromptVersion(system="Other."), "base", 8),
        (PROMPT.revised(reason="", allowed=Allowed(choices=("A", "B"))), "base", 8),
        (PROMPT, "another model", 8),
        (PROMPT, "base", 9),
    ],
)
def test_another_prompt_model_or_length_is_another_answer(version: PromptVersion, key: str, limit: int) -> None:
    shelf = MemoryShelf()
    asker(ScriptedModel(answer=parrot), shelf).ask(PROMPT, INPUTS)
    model = ScriptedModel(answer=parrot)
    asker(model, shelf, key, limit).ask(version, INPUTS)
    assert len(model.heard) == len(INPUTS)
    assert {s.allowed for s in model.sampled} == {version.allowed}


def test_an_engine_that_dies_halfway_leaves_what_it_answered() -> None:
    shelf, dying = MemoryShelf(), ScriptedModel(answer=parrot)
    told: list[int] = []

    def count(done: int) -> None:
        told.append(done)
        if done >= 4:
            dying.fails_at, dying.error = 0, EngineError("gone")

    dying.pace = 0.01
    inputs = [f"row {n}" for n in range(40)]
    with pytest.raises(EngineError, match="gone"):
        asker(dying, shelf).ask(PROMPT, inputs, on_done=count)
    kept = len(shelf.kept[next(iter(shelf.kept))])
    assert 4 <= kept < 40
    model = ScriptedModel(answer=parrot)
    assert len(asker(model, shelf).ask(PROMPT, inputs)) == 40
    assert len(model.heard) == 40 - kept


def test_who_stops_keeps_what_was_answered() -> None:
    shelf = MemoryShelf()

    def stop(done: int) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        asker(ScriptedModel(answer=parrot), shelf).ask(PROMPT, INPUTS, on_done=stop)
    assert len(shelf.kept[next(iter(shelf.kept))]) >= 3


def test_a_reply_that_did_not_end_is_marked() -> None:
    class Rambling(ScriptedModel):
        async def stream(self, *args: object, **how: object):  # type: ignore[no-untyped-def, override]
            async for chunk in super().stream(*args, **how):  # type: ignore[arg-type]
                yield chunk.model_copy(update={"finish_reason": chunk.finish_reason and "length"})

    assert [a.cut for a in asker(Rambling()).ask(PROMPT, INPUTS[:2])] == [True, True]
