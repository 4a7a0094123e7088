"""Blind rounds: which pairs of answers are worth a judgement, in which order, and which of the two stands where.

Owns drawing rounds and what a verdict on one is kept as. Refuses to ask models, to count votes and to store them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from assistant.arena.asking import Pane
from assistant.arena.differences import disagreement, names_itself
from assistant.arena.table import BatchTable
from assistant.votes import ME, ArmAnswer, Verdict, Vote
from prompts.chat_model import GREEDY, Sampling
from prompts.errors import RunError
from trainers.data import normal

Judged = tuple[str, frozenset[str]]  # an input as `normal` has it, and the two arms' keys
_Any = TypeVar("_Any")
_Outcome = Literal["open", "alike", "failed", "judged"]


@dataclass(frozen=True)
class Round:
    """Two answers to one message, as they stand on the screen. Its `id` is the same with the sides changed.

    The sides carry their names, which the screen keeps to itself until there is a verdict. `typed` tells whether a
    person wrote the message; `sampling` and `engine` are how the answers came to be.
    """

    message: str
    left: ArmAnswer
    right: ArmAnswer
    id: str = ""
    typed: bool = False
    sampling: Sampling = GREEDY
    engine: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.id or _id(self.message, self.left, self.right))

    @property
    def alike(self) -> bool:
        """Whether the two say the same, so that there is nothing to judge."""
        return normal(self.left.text) == normal(self.right.text)


_Ranked = tuple[float, float, Round]  # less for what comes earlier, and a draw where that is equal


@dataclass(frozen=True)
class Prepared:
    """The rounds to judge, in order, and how many pairs are none of them and why.

    `alike` said the same, of `failed` an answer is missing, and `judged` have a vote already.
    """

    rounds: tuple[Round, ...]
    alike: int = 0
    failed: int = 0
    judged: int = 0

    @property
    def told(self) -> str:
        """What is not to be judged, as sentences; empty where everything is."""
        total = len(self.rounds) + self.alike + self.failed + self.judged
        said = []
        if self.alike:
            said.append(f"{self.alike} of {total} answered alike; nothing to judge there.")
        if self.failed:
            said.append(f"{self.failed} of {total} lack an answer.")
        if self.judged:
            said.append(f"{self.judged} of {total} are judged already.")
        return " ".join(said)


def prepare(
    table: BatchTable, judged: Collection[Judged] = (), seed: int | None = None, *, engine: str = ""
) -> Prepared:
    """A round for every input and every two arms that said something different and were not judged on it.

    The answers that differ most come first, equals in an order by `seed`. With more than two arms the pairs take turns,
    those with the fewest verdicts in `judged` first, so that wherever a person stops, each pair was judged about as
    often. Sides are drawn one by one from `seed`, by default one that nobody knows: neither the order nor earlier
    rounds tell where an arm stands.
    """
    draw = _drawing(seed)
    outcomes: Counter[_Outcome] = Counter()
    of_pair: dict[frozenset[str], list[_Ranked]] = defaultdict(list)
    for outcome, arms, one in _pairs(table, frozenset(judged), engine):
        outcomes[outcome] += 1
        if outcome == "open":
            of_pair[arms].append((-disagreement([one.left.text, one.right.text]), draw.random(), one))
    had = Counter(arms for _, arms in judged)
    turns = [
        (had[arms] + turn, ranked)
        for arms, rounds in of_pair.items()
        for turn, ranked in enumerate(sorted(rounds, key=lambda ranked: ranked[:2]))
    ]
    turns.sort(key=lambda turn: (turn[0], turn[1][:2]))
    rounds = tuple(_sides_drawn(one, draw) for _, (_, _, one) in turns)
    return Prepared(rounds, outcomes["alike"], outcomes["failed"], outcomes["judged"])


def _pairs(
    table: BatchTable, judged: Collection[Judged], engine: str
) -> Iterator[tuple[_Outcome, frozenset[str], Round]]:
    """Every pair of answers once, with its arms; a file may hold the same row twice."""
    seen: set[str] = set()
    for row in table.rows:
        for one, other in itertools.combinations(row.cells, 2):
            drawn = Round(row.input, one.answer, other.answer, sampling=table.sampling, engine=engine)
            arms = frozenset((one.answer.arm, other.answer.arm))
            if drawn.id in seen:
                continue
            seen.add(drawn.id)
            if (normal(row.input), arms) in judged:
                yield "judged", arms, drawn
            elif one.error or other.error:
                yield "failed", arms, drawn
            else:
                yield "alike" if drawn.alike else "open", arms, drawn


def judged_in(votes: Iterable[Vote], voter: str = "") -> set[Judged]:
    """What is not to be judged again: of one voter, or of all where none is named."""
    name = _spelled(voter) if voter else ""
    return {
        (normal(vote.message), frozenset(answer.arm for answer in vote.answers))
        for vote in votes
        if len(vote.answers) == 2 and name in ("", vote.voter)
    }


def two_of(things: Sequence[_Any], seed: int | None = None) -> tuple[_Any, _Any]:
    """Two of them in an order that nobody can guess, such as the arms that a message is sent to; without a `seed` each
    draw is another. Raises `RunError` where there are fewer than two.
    """
    if len(things) < 2:
        raise RunError("A blind round needs two sides.", hint="Choose two models or more.")
    left, right = _drawing(seed).sample(things, 2)
    return left, right


def round_of(
    message: str,
    panes: Sequence[Pane],
    seed: int | None = None,
    *,
    sampling: Sampling = GREEDY,
    engine: str = "",
) -> Round:
    """A round of what was just asked: two of the panes, with sides drawn anew. `message` is what the person typed.

    Raises `RunError` where no two panes have ended well.
    """
    there = [pane.answer() for pane in panes if pane.done and not pane.error]
    if len(there) < 2:
        raise RunError("There are no two answers to judge yet.", hint="Send a message and wait for both.")
    left, right = two_of(there, seed)
    return Round(message, left, right, typed=True, sampling=sampling, engine=engine)


def second_opinion(votes: Sequence[Vote], voter: str, seed: int | None = None) -> list[Round]:
    """The blind rounds that others have judged and this voter has not, as they were answered, with sides drawn anew.

    Those with the fewest opinions come first, the rest is by `seed`. Each keeps the id of its round, so that the
    verdicts can be held against each other.
    """
    draw, name = _drawing(seed), _spelled(voter)
    own = {vote.round for vote in votes if vote.voter == name}
    others: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        if vote.blind and len(vote.answers) == 2 and vote.round not in own:
            others[vote.round].append(vote)
    ranked = sorted((len(judged), draw.random(), round) for round, judged in others.items())
    return [_sides_drawn(_again(others[round][0]), draw) for *_, round in ranked]


def _again(vote: Vote) -> Round:
    left, right = vote.answers
    return Round(vote.message, left, right, vote.round, vote.typed, vote.sampling, vote.engine)


def as_vote(
    judged: Round,
    verdict: Verdict,
    voter: str = ME,
    reason: str = "",
    edited: str = "",
    *,
    sampling: Sampling | None = None,
    engine: str | None = None,
    typed: bool | None = None,
) -> Vote:
    """The record of a verdict on a blind round; what is not given is as the round has it.

    A side is flagged where its answer names a model, base or run of either side, or tells of its own making.
    """
    answers = (judged.left, judged.right)
    names = [name for answer in answers for name in (answer.title, answer.model, answer.parent) if name]
    sides: tuple[Literal["left", "right"], ...] = ("left", "right")
    told = [bool(names_itself(answer.text, names, judged.message)) for answer in answers]
    return Vote(
        round=judged.id,
        message=judged.message,
        answers=answers,
        verdict=verdict,
        blind=True,
        voter=voter,
        reason=reason,
        edited=edited,
        flagged=tuple(itertools.compress(sides, told)),
        typed=judged.typed if typed is None else typed,
        sampling=sampling or judged.sampling,
        engine=judged.engine if engine is None else engine,
    )


def _drawing(seed: int | None) -> random.Random:
    return random.Random(secrets.randbits(128) if seed is None else seed)


def _sides_drawn(drawn: Round, draw: random.Random) -> Round:
    swapped = draw.random() < 0.5
    return replace(drawn, left=drawn.right, right=drawn.left) if swapped else drawn


def _spelled(voter: str) -> str:
    """The name as votes have it."""
    return Vote(message="", answers=(), voter=voter).voter


def _id(message: str, *answers: ArmAnswer) -> str:
    """Of the message and of who said what, whoever stands left."""
    said = [message, sorted((answer.arm, answer.text) for answer in answers)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
