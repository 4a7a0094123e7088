"""Several models at once: who speaks when, what is measured, and what a failure leaves alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest

from assistant.arena.asking import Arm, Pane, Talk, ask_all
from assistant.votes import ArmAnswer
from prompts.allowed import Allowed
from prompts.chat_model import GREEDY, Chunk, Message, Sampling
from prompts.errors import EngineError
from prompts.versions import PromptVersion
from tests.fakes import ScriptedModel

PROMPT = PromptVersion(system="Be brief.")
SAMPLING = Sampling(max_tokens=7)


def arm(model: ScriptedModel, title: str = "", prompt: PromptVersion = PROMPT) -> Arm:
    return Arm(title or model.name, model, prompt)


def all_rounds(arms: Sequence[Arm], message: str = "hi", earlier: Sequence[Talk] = ()) -> list[list[Pane]]:
    async def collect() -> list[list[Pane]]:
        return [panes async for panes in ask_all(arms, message, SAMPLING, earlier)]

    return asyncio.run(asyncio.wait_for(collect(), 20))


def test_both_stream_at_the_same_time_each_at_its_own_speed() -> None:
    said: list[str] = []

    def note(name: str, piece: str) -> None:
        said.append(name)

    slow = ScriptedModel("slow", ["s"] * 4, pace=0.12, on_piece=note)
    fast = ScriptedModel("fast", ["f"] * 8, pace=0.04, on_piece=note)
    rounds = all_rounds([arm(slow), arm(fast)])
    assert said[:2].count("fast") >= 1
    assert "slow" in said[: said.index("fast") + 6], "the slow one had begun before the fast one ended"
    assert said[-1] == "slow"
    assert [pane.text for pane in rounds[-1]] == ["ssss", "ffffffff"]
    both = [panes for panes in rounds if all(pane.text and not pane.done for pane in panes)]
    assert both, "there was a moment in which both panes were growing"
    assert all(pane.done for pane in rounds[-1])


def test_a_pane_only_ever_grows() -> None:
    model = ScriptedModel(pieces=["a", "b", "c", "d"], pace=0.06)
    texts = [panes[0].text for panes in all_rounds([arm(model)])]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert len(set(texts)) > 2


@pytest.mark.parametrize("error", [EngineError("It is out.", hint="Start it."), ValueError("bad bytes")])
def test_a_failure_stays_in_its_own_pane(error: Exception) -> None:
    broken = ScriptedModel("broken", ["par", "tial"], fails_at=1, error=error)
    fine = ScriptedModel("fine", ["all ", "good"], pace=0.1)
    failed, good = all_rounds([arm(broken), arm(fine)])[-1]
    assert failed.done and good.done
    assert str(error) in failed.error
    assert failed.text == "par"
    assert (good.text, good.error) == ("all good", "")


def test_closing_the_iterator_stops_every_model() -> None:
    endless = [ScriptedModel(name, ["x"] * 10_000, pace=0.01) for name in ("a", "b")]

    async def leave_early() -> list[int]:
        rounds = ask_all([arm(model) for model in endless], "hi", SAMPLING)
        async for panes in rounds:
            if all(pane.text for pane in panes):
                break
        running = [model.open for model in endless]
        await rounds.aclose()  # type: ignore[attr-defined]
        return running

    assert asyncio.run(asyncio.wait_for(leave_early(), 20)) == [1, 1]
    assert [model.open for model in endless] == [0, 0]


def test_what_is_measured() -> None:
    model = ScriptedModel("asked-for", ["", "a", "b", "c"], pace=0.05, served_name="who-answered", usage=17)
    [pane] = all_rounds([arm(model, "Tuned")])[-1]
    assert (pane.arm.title, pane.model, pane.arm.prompt, pane.tokens) == ("Tuned", "who-answered", PROMPT, 17)
    assert pane.first_token is not None
    assert 0.09 <= pane.first_token < pane.seconds, "an empty first chunk is no token"
    assert pane.tokens_per_second == pytest.approx(16 / (pane.seconds - pane.first_token))


class Counting(ScriptedModel):
    """Says how long the prompt was and why it ended, each once, as servers do."""

    async def stream(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> AsyncIterator[Chunk]:
        yield Chunk(text="a", model=self.name)
        yield Chunk(text="b", finish_reason="length")
        yield Chunk(completion_tokens=2, prompt_tokens=31)


def test_what_a_server_says_once_stays() -> None:
    [pane] = all_rounds([arm(Counting("m"))])[-1]
    assert (pane.text, pane.finish_reason, pane.prompt_tokens, pane.tokens) == ("ab", "length", 31, 2)


def test_the_record_of_an_answer_has_all_that_it_takes_to_ask_again() -> None:
    asked = Arm("Tuned", Counting("run-7"), PROMPT, parent="base", digest="abc")
    [pane] = all_rounds([asked], "hello")[-1]
    assert pane.answer() == ArmAnswer(
        title="Tuned",
        model="run-7",
        parent="base",
        digest="abc",
        prompt_id=PROMPT.id,
        messages=(Message(role="system", content="Be brief."), Message(role="user", content="hello")),
        text="ab",
        finish_reason="length",
        prompt_tokens=31,
        tokens=2,
        first_token=pane.first_token,
        seconds=pane.seconds,
    )
    assert pane.answer().arm == asked.key


def test_an_arm_is_its_model_weights_and_prompt_whatever_it_is_called() -> None:
    model = ScriptedModel("m")
    assert Arm("A", model, PROMPT).key == Arm("B", model, PROMPT, parent="p").key
    others = [
        Arm("A", ScriptedModel("n"), PROMPT),
        Arm("A", model, PromptVersion()),
        Arm("A", model, PROMPT, digest="d"),
    ]
    assert len({Arm("A", model, PROMPT).key, *(other.key for other in others)}) == 4


def test_a_message_goes_on_with_what_each_arm_said_itself() -> None:
    one, two = ScriptedModel("one"), ScriptedModel("two")
    panes = all_rounds([arm(one), arm(two)], "and then?", [[("first?", "one's")], [("first?", "two's")]])[-1]
    for model, pane, said in ((one, panes[0], "one's"), (two, panes[1], "two's")):
        talk = [(message.role, message.content) for message in model.heard[0]]
        assert talk == [("system", "Be brief."), ("user", "first?"), ("assistant", said), ("user", "and then?")]
        assert pane.messages == model.heard[0]


def test_without_earlier_talk_both_begin() -> None:
    models = [ScriptedModel("one"), ScriptedModel("two")]
    all_rounds([arm(model) for model in models], "hi", [])
    assert [len(model.heard[0]) for model in models] == [2, 2]


def test_an_arm_is_held_to_what_its_prompt_allows() -> None:
    held = PromptVersion(allowed=Allowed(choices=("yes", "no")))
    free, bound = ScriptedModel("free"), ScriptedModel("bound")
    all_rounds([arm(free), arm(bound, prompt=held)])
    assert (free.sampled, bound.sampled) == ([SAMPLING], [SAMPLING.model_copy(update={"allowed": held.allowed})])


def test_without_usage_the_pieces_are_counted() -> None:
    [pane] = all_rounds([arm(ScriptedModel(pieces=["a", "", "b"]))])[-1]
    assert pane.tokens == 2


@pytest.mark.parametrize("tokens", [0, 1])
def test_one_token_has_no_speed(tokens: int) -> None:
    assert Pane(arm(ScriptedModel()), tokens=tokens, first_token=0.1, seconds=0.2).tokens_per_second == 0


def test_every_arm_is_asked_with_its_own_prompt() -> None:
    one, two = ScriptedModel("one"), ScriptedModel("two")
    all_rounds([arm(one), arm(two, prompt=PromptVersion(template="Say: {{ input }}"))], "hello")
    assert one.heard == [(Message(role="system", content="Be brief."), Message(role="user", content="hello"))]
    assert two.heard == [(Message(role="user", content="Say: hello"),)]
    assert one.sampled == two.sampled == [SAMPLING]


def test_nobody_to_ask_is_no_wait() -> None:
    assert all_rounds([]) == [[]]
