"""How long every row of a data set is in tokens, for a million rows in half a minute.

Owns the short cut. A chat template puts the same frame around input and answer in nearly every row, and a tokenizer
never joins what stands on both sides of a special token. So the frame is counted once, and of each row only what stands
between the special tokens around its input; an answer that comes again is counted once. The short cut is taken for a
model and a prompt only after it was tried on texts of many kinds, and for a row only if nothing in it could make the
template do anything else. All other rows are rendered and counted whole. Refuses to guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from jinja2 import Environment, nodes

from prompts.chat_model import Message
from prompts.errors import ModelError
from prompts.versions import PromptVersion
from trainers.data import Example
from trainers.tokens import TokenCounter

_CHUNK = 2048  # rows between two words about progress, 0.1 s
_MOST_ANSWERS = 10_000  # remembered; where there are more, few of them come again
_INPUT, _ANSWER = "Xinputx", "Xanswerx"
# Texts on which the short cut is tried.
_PROBES = (
    "one",
    "1",
    "Two words.",
    "naïve 😀 日本語 ... \u200d\u00a0x",
    "a line\n\n\tand  another\r\n - 2",
    "\"quotes\" and 'others', <b>&amp;</b> {{ x }} {% y %} [z] \\n",
    "user system assistant",
    "long " * 600 + "end",
)
_EDGES = ("", " ", "\n", " a", "a ", "\na", "a\n", "\t\n a: \r\n\n")  # of which many templates take the space
_SIGNS = re.compile(r"[<>\[\]{}|]")


def row_lengths(
    examples: Sequence[Example], prompt: PromptVersion, tokens: TokenCounter, say: Callable[[float], None]
) -> tuple[tuple[int, ...], int]:
    """Tokens of each whole row, and of the longest answer. `say` is told the share that is done."""
    if not examples:
        return (), 0
    counting = _Counting(prompt, tokens, examples[0].input)
    lengths: list[int] = []
    for start in range(0, len(examples), _CHUNK):
        say(start / len(examples))
        lengths += counting.of(examples[start : start + _CHUNK])
    return tuple(lengths), counting.longest_answer


class _Counting:
    """Counts rows of one prompt for one model. `longest_answer` is that of the rows so far."""

    def __init__(self, prompt: PromptVersion, tokens: TokenCounter, first_input: str) -> None:
        self.longest_answer = 0
        self._tokens = tokens
        self._before = prompt.messages(first_input)[:-1]
        self._turn = _turn_of(prompt)
        self._frame = _frame_of(tokens, self._before)
        self._answers: dict[str, int] = {}

    def of(self, examples: Sequence[Example]) -> list[int]:
        """The lengths of these rows."""
        asked = [(self._turn(example.input), example.output) for example in examples]
        frame = self._frame
        if frame is None:
            return self._whole(asked)
        self._learn(frame, {answer for _, answer in asked})
        plain = [n for n, (turn, answer) in enumerate(asked) if answer in self._answers and frame.holds(turn)]
        counts = self._tokens.counts([frame.around_input(asked[n][0]) for n in plain])
        lengths = dict(zip(plain, counts, strict=True))
        for n in plain:
            answer = self._answers[asked[n][1]]
            lengths[n] += frame.rest + answer
            self.longest_answer = max(self.longest_answer, frame.reply_rest + answer)
        others = [n for n in range(len(asked)) if n not in lengths]
        lengths |= zip(others, self._whole([asked[n] for n in others]), strict=True)
        return [lengths[n] for n in range(len(asked))]

    def _learn(self, frame: _Frame, answers: set[str]) -> None:
        if len(self._answers) > _MOST_ANSWERS:
            self._answers.clear()
        new = [answer for answer in answers if answer not in self._answers and frame.holds(answer)]
        self._answers |= zip(new, self._tokens.counts([frame.around_answer(one) for one in new]), strict=True)

    def _whole(self, asked: Sequence[tuple[str, str]]) -> list[int]:
        """Without the short cut."""
        render = self._tokens.render
        chats = [_chat(self._before, turn) for turn, _ in asked]
        full = [_answered(chat, answer) for chat, (_, answer) in zip(chats, asked, strict=True)]
        lengths = self._tokens.counts([render(chat, for_reply=False) for chat in full])
        questions = self._tokens.counts([render(chat) for chat in chats])
        answers = [length - question for length, question in zip(lengths, questions, strict=True)]
        self.longest_answer = max([self.longest_answer, *answers])
        return lengths


def _chat(before: Sequence[Message], turn: str) -> list[Message]:
    return [*before, Message(role="user", content=turn)]


def _answered(chat: Sequence[Message], answer: str) -> list[Message]:
    return [*chat, Message(role="assistant", content=answer)]


def _turn_of(prompt: PromptVersion) -> Callable[[str], str]:
    """The user's turn for an input. Most templates only put text around it, which takes no Jinja."""
    parts = [part for block in Environment(keep_trailing_newline=True).parse(prompt.template).body
             for part in (block.nodes if isinstance(block, nodes.Output) else [block])]  # fmt: skip
    if not all(isinstance(part, nodes.TemplateData | nodes.Name) for part in parts):
        alone = prompt.model_copy(update={"system": "", "demonstrations": ()})
        return lambda text: alone.messages(text)[-1].content
    texts = [part.data if isinstance(part, nodes.TemplateData) else None for part in parts]
    return lambda text: "".join(text if part is None else part for part in texts)


@dataclass(frozen=True)
class _Frame:
    """What stands around input and answer from one special token to the next, and how many tokens all the rest takes.

    `odd` finds what the chat template might treat in a way of its own, spaces at the edges aside if it `trims`. `rest`
    is what a whole row has besides; `reply_rest` is what its answer has.
    """

    input: tuple[str, str]
    answer: tuple[str, str]
    odd: re.Pattern[str]
    trims: bool
    rest: int = 0
    reply_rest: int = 0

    def around_input(self, text: str) -> str:
        return self.input[0] + text + self.input[1]

    def around_answer(self, text: str) -> str:
        return self.answer[0] + text + self.answer[1]

    def holds(self, text: str) -> bool:
        """Whether the template surely puts the text there as it is."""
        return not self.odd.search(text) and not (self.trims and (text == "" or text != text.strip()))


class _Chats:
    """Chats that begin alike, rendered: the head, an input, the middle, an answer, the tail."""

    def __init__(self, tokens: TokenCounter, before: Sequence[Message]) -> None:
        self._render, self._before = tokens.render, before
        self.head, _, more = self.full(_INPUT, _ANSWER).partition(_INPUT)
        self.middle, _, self.tail = more.partition(_ANSWER)
        self.reply = self.asked(_INPUT).removeprefix(self.head + _INPUT)

    def asked(self, turn: str) -> str:
        return self._render(_chat(self._before, turn))

    def full(self, turn: str, answer: str) -> str:
        return self._render(_answered(_chat(self._before, turn), answer), for_reply=False)

    def put(self, turn: str, answer: str) -> bool:
        """Whether both come out as they are, and nothing else changes."""
        whole = self.head + turn + self.middle + answer + self.tail
        try:
            return self.asked(turn) == self.head + turn + self.reply and self.full(turn, answer) == whole
        except ModelError:  # a template may refuse an empty turn, say
            return False


def _frame_of(tokens: TokenCounter, before: Sequence[Message]) -> _Frame | None:
    """The frame of chats that begin so, None where there is no simple one."""
    chats = _Chats(tokens, before)
    heads, middles, tails = (list(tokens.marks.finditer(part)) for part in (chats.head, chats.middle, chats.tail))
    if not (heads and middles and tails and chats.reply.startswith(chats.middle[: middles[0].end()])):
        return None
    if not all(chats.put(one, other) for one in _PROBES for other in _PROBES):
        return None
    odd = [text for text in tokens.literals if _SIGNS.search(text) or not all(chats.put(p, p) for p in _with(text))]
    frame = _Frame(
        input=(chats.head[heads[-1].start() :], chats.middle[: middles[0].end()]),
        answer=(chats.middle[middles[-1].start() :], chats.tail[: tails[0].end()]),
        odd=re.compile("|".join(map(re.escape, odd)) or r"(?!)", re.IGNORECASE),
        trims=not all(chats.put(edge, other) and chats.put(other, edge) for edge in _EDGES for other in ("a", *_EDGES)),
    )
    return _counted(frame, chats, tokens, _PROBES if frame.trims else (*_PROBES, *_EDGES))


def _counted(frame: _Frame, chats: _Chats, tokens: TokenCounter, probes: Sequence[str]) -> _Frame | None:
    """The frame with its own tokens, None where they are not as many whatever it holds."""
    turned = [*probes[1:], probes[0]]
    inputs = tokens.counts([frame.around_input(probe) for probe in probes])
    answers = tokens.counts([frame.around_answer(probe) for probe in turned])
    rows = tokens.counts([chats.full(probe, other) for probe, other in zip(probes, turned, strict=True)])
    questions = tokens.counts([chats.asked(probe) for probe in probes])
    rest = {row - one - other for row, one, other in zip(rows, inputs, answers, strict=True)}
    reply_rest = {row - question - one for row, question, one in zip(rows, questions, answers, strict=True)}
    if len(rest) > 1 or len(reply_rest) > 1:
        return None
    return replace(frame, rest=rest.pop(), reply_rest=reply_rest.pop())


def _with(literal: str) -> list[str]:
    """Texts with a piece of the chat template in them, by which it may decide what to do."""
    texts = (literal, f"a{literal}", f"{literal}b", f"a{literal}b")
    return [text for text in texts if text == text.strip()]
