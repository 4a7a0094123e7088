"""The prompt in the chat: wishes become proposals, proposals are decided on, versions are walked, searches begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.project import Turn
from tests.assistant.test_conversation import Chat, chat  # noqa: F401  the fixture
from tests.assistant.test_workshop import finish, knowing
from tests.fakes import ScriptedModel
from tests.trainers.runs import wait_for, write_tickets


@pytest.fixture
def ready(chat: Chat, tmp_path: Path) -> Chat:  # noqa: F811
    """With data, at the Prompt panel, and no question open."""
    chat.say("", write_tickets(tmp_path / "tickets.csv", rows=300))
    chat.pipeline.change(chat.id, skipped=("language", "tone", "must_never"), asked=None)
    assert chat.project.stage == "Prompt"
    return chat


def test_a_wish_is_proposed_with_its_reason_and_difference(ready: Chat) -> None:
    before = ready.project.prompt
    answer = ready.say("never promise refunds")
    proposal = ready.project.proposal
    assert proposal is not None and before is not None and ready.project.prompt == before
    assert proposal.system.endswith("Never promise refunds.")
    assert (proposal.parent, proposal.author) == (before.id, "tunewright")
    assert "```diff\n+Never promise refunds.\n```" in answer.text and "never promise refunds" in answer.text
    assert answer.options == ("Yes, accept it", "Keep mine", "Measure both")
    assert ready.project.spec.must_never == (), "what is tried on a prompt is not yet a demand"


def test_wishes_build_on_the_open_proposal(ready: Chat) -> None:
    current = ready.project.prompt
    ready.say("never promise refunds")
    ready.say("in German")
    proposal = ready.project.proposal
    assert proposal is not None and current is not None and proposal.parent == current.id
    assert proposal.system.endswith("Never promise refunds. Answer in German.")
    assert proposal.reason == "never promise refunds; answer in German"


@pytest.mark.parametrize("words", ["yes", "accept it", "Yes, accept it", "ja", "take the new version"])
def test_a_proposal_is_accepted_by_a_word(ready: Chat, words: str) -> None:
    ready.say("shorter")
    proposal = ready.project.proposal
    assert "version" in ready.say(words).text
    assert ready.project.prompt == proposal and ready.project.proposal is None
    ready.say("go back")
    assert ready.project.prompt != proposal


@pytest.mark.parametrize("words", ["keep mine", "no, keep my prompt", "reject it", "Keep mine"])
def test_a_proposal_is_dismissed_by_a_word(ready: Chat, words: str) -> None:
    before = ready.project.prompt
    ready.say("shorter")
    assert "stays" in ready.say(words).text
    assert (ready.project.prompt, ready.project.proposal) == (before, None)


def test_what_the_prompt_says_already_is_not_proposed_again(ready: Chat) -> None:
    ready.say("never promise refunds")
    ready.say("yes")
    assert "says that already" in ready.say("never promise refunds").text
    assert ready.project.proposal is None


def test_answers_are_held_to_the_labels_by_a_word(ready: Chat) -> None:
    ready.say("nothing but labels")
    ready.say("accept")
    prompt = ready.project.prompt
    assert prompt is not None and prompt.allowed is not None
    assert prompt.allowed.choices == ready.pipeline.labels(ready.project)


def test_facts_of_the_task_stay_facts_where_the_prompt_is_not_meant(chat: Chat) -> None:  # noqa: F811
    chat.say("Answer customer mails politely in German")
    assert chat.project.spec.language == "de" and chat.project.proposal is None


def test_an_answer_to_an_open_question_is_that(ready: Chat) -> None:
    ready.pipeline.change(ready.id, asked="language")
    ready.say("in German")
    assert ready.project.proposal is None


def test_remarks_are_told(ready: Chat) -> None:
    ready.say("prompt: Go.")
    answer = ready.say("what is wrong with my prompt?")
    assert "never says what to do" in answer.text and "Prompt" in answer.text
    assert "Improve the prompt" in answer.options


def test_versions_are_listed_compared_and_restored(ready: Chat) -> None:
    first = ready.project.prompt
    assert first is not None
    ready.room.model = ScriptedModel(answer=knowing(ready.pipeline, ready.project))
    finish(ready.conversation.measure(ready.id))
    ready.say("prompt: Look carefully.")
    finish(ready.conversation.measure(ready.id))
    answer = ready.say("show the versions")
    assert "**(current)**" in answer.text and f"Against `{first.id}`" in answer.text and "better: +" in answer.text
    ready.say("restore the version before")
    assert ready.project.prompt == first
    second = ready.pipeline.prompts(ready.id)[-1].version
    ready.say(f"restore version {second.id}")
    assert ready.project.prompt == second
    assert "There is no prompt version" in ready.say("restore version 0123456789ab").text


def ended_search(chat: Chat) -> Turn:  # noqa: F811
    job = chat.pipeline.improvements[chat.id]
    wait_for(lambda: not job.running, "end of the search", 60)
    return next(turn for turn in reversed(chat.turns) if "The search has ended" in turn.text)


def test_a_search_is_begun_by_a_word_and_its_find_is_proposed(ready: Chat) -> None:
    right = {row.input: row.output for row in ready.pipeline.examples(ready.project)}
    first = min(right.values())
    ready.room.model = ScriptedModel(answer=lambda c: right[c[-1].content] if len(c) > 4 else first)
    answer = ready.say("improve the prompt for 0.2 minutes")
    assert "0.2 minutes" in answer.text and "`stop`" in answer.text
    told = ended_search(ready)
    assert "Better: +" in told.text and "I propose version" in told.text and told.options[0] == "Yes, accept it"
    ready.say("yes")
    assert ready.project.prompt is not None and ready.project.prompt.demonstrations


def test_a_search_is_stopped_by_a_word(ready: Chat) -> None:
    ready.room.model = ScriptedModel(answer=lambda c: "billing", pace=0.02)
    ready.say("improve the prompt")
    assert "I stop the search" in ready.say("stop").text
    wait_for(lambda: not ready.pipeline.improvements[ready.id].running, "end of the search", 60)
