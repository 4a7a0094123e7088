"""From votes to preference data: which answer was liked more than which other, to the same message.

Owns what a vote and an edited answer prove, merging them, and TRL's format. Refuses to know storage and training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from assistant.votes import ArmAnswer, Vote
from prompts.chat_model import Message
from prompts.versions import PromptVersion
from trainers.data import normal

How = Literal["vote", "edit"]
_Prompts = Mapping[str, PromptVersion]
_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Pair:
    """A preferred answer and the one that it was preferred to.

    `votes` are the ids of the votes behind it, `count` how many they are, less those that say the contrary. `messages`
    is the chat that the preferred side was sent; empty where the two sides were asked with different prompts, or
    nobody kept it. `follows` tells that `input` went on with a chat, and means little without it.
    """

    input: str
    chosen: str
    rejected: str
    how: How
    votes: tuple[str, ...]
    count: int = 1
    messages: tuple[Message, ...] = ()
    follows: bool = False


def preference_pairs(votes: Sequence[Vote], prompts: _Prompts | None = None) -> list[Pair]:
    """What the votes prove, in the order of the votes, each pair once; case and spacing aside.

    A tie and "both bad" prove nothing by themselves. An edited answer is better than the one that it replaces: the
    preferred one, or both where none is. A pair whose contrary was voted for as often, or more often, is left out, as
    are equal and empty answers. `prompts`, by their ids, tell which messages went on with a chat.
    """
    groups: dict[_Key, list[Pair]] = defaultdict(list)
    for vote in votes:
        for pair in _said(vote, prompts or {}):
            groups[_key(pair)].append(pair)
    return [
        _merged(alike, count)
        for (asked, chosen, rejected), alike in groups.items()
        if (count := len(alike) - len(groups.get((asked, rejected, chosen), ()))) > 0
    ]


def as_trl(pairs: Sequence[Pair], prompt: PromptVersion) -> list[dict[str, Any]]:
    """Rows of TRL's conversational preference format (https://huggingface.co/docs/trl/dataset_formats#preference).

    The prompt is the chat that was sent; where the two sides were sent different ones, `prompt`'s.
    """
    return [
        {
            "prompt": [message.model_dump() for message in pair.messages or prompt.messages(pair.input)],
            "chosen": [{"role": "assistant", "content": pair.chosen}],
            "rejected": [{"role": "assistant", "content": pair.rejected}],
        }
        for pair in pairs
    ]


def _said(vote: Vote, prompts: _Prompts) -> Iterator[Pair]:
    """What one vote says, equal and empty answers left out."""
    better, worse = vote.winner, vote.loser
    replaced = (better,) if better else vote.answers if len(vote.answers) == 2 else ()
    said: list[tuple[How, ArmAnswer, str, str]] = []
    if better and worse:
        said.append(("vote", better, better.text, worse.text))
    said += [("edit", answer, vote.edited, answer.text) for answer in replaced]
    same_prompt = len({answer.prompt_id for answer in vote.answers}) == 1
    for how, side, chosen, rejected in said:
        if normal(chosen) and normal(rejected) and normal(chosen) != normal(rejected):
            follows = _follows(side, prompts)
            yield Pair(
                input=vote.message,
                chosen=chosen.strip(),
                rejected=rejected.strip(),
                how=how,
                votes=(vote.id,),
                messages=side.messages if same_prompt or follows else (),
                follows=follows,
            )


def _follows(side: ArmAnswer, prompts: _Prompts) -> bool:
    """Whether more was sent than the prompt itself says before a message."""
    prompt = prompts.get(side.prompt_id)
    if prompt is None:
        return False
    return len(side.messages) > bool(prompt.system.strip()) + 2 * len(prompt.demonstrations) + 1


def _key(pair: Pair) -> _Key:
    asked = "\n".join(message.content for message in pair.messages) if pair.follows else pair.input
    return normal(asked), normal(pair.chosen), normal(pair.rejected)


def _merged(alike: Sequence[Pair], count: int) -> Pair:
    """Pairs that say the same as one, worded as the first of them."""
    how: How = "vote" if any(pair.how == "vote" for pair in alike) else "edit"
    return replace(alike[0], how=how, votes=tuple(id for pair in alike for id in pair.votes), count=count)
