"""What differs between answers to one message, and what in an answer tells which model gave it.

Owns comparing texts and reading them for names. Refuses to know who answered and what follows from it.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

from prompts.diff import Segment, compare_texts, pieces
from trainers.data import normal

_SHORTEST = 3  # letters of a name that is looked for
# Of a name that is made of these alone nothing is known but the kind of model: "I am the base model" tells, "base" not.
_KINDS = frozenset(
    re.findall(
        r"\w+",
        """adalora adapted adapter assistant base best bot chat checkpoint dora fine finetuned freeze full galore gguf
        head instruct loha lokr lora model original pissa plain prefix prompt qlora rslora run sft soft test trained
        tuned tuning untrained untuned vera version weights""",
    )
)
# Families whose names are also words, or people's: "se llama" is Spanish for "is called".
_ALSO_WORDS = frozenset(
    re.findall(r"\w+", "aya bloom claude command falcon gemma gpt granite llama nova opt orca phi vicuna yi zephyr")
)
_FAMILIES = frozenset(re.findall(r"\w+", "chatgpt deepseek mistral mixtral olmo pythia qwen smollm tinyllama"))
_FAMILY = (
    r"(?:SmolLM|Qwen|ChatGPT|TinyLlama|Mi[sx]tral|DeepSeek|OLMo|Pythia|(?:GPT|Llama|Gemma|Phi)[- ]?\d)(?:[\w.-]*\w)?"
)
_MAKER = "(?:OpenAI|Hugging ?Face|Alibaba|Meta|Google|Mistral|Microsoft|Anthropic|DeepSeek|Cohere|Nvidia|EleutherAI)"
_A = "(?:the |an? |your |das |die |der |ein |eine |le |la |un |une |el )?"
_I_AM = r"\b(?:I am|I['’]m|my name is|call me|ich bin|mein name ist|je suis|je m['’]appelle|soy|me llamo) "
_MODEL = r"[- ](?:AI |language )?(?:model|version|checkpoint|variant|adapter|modell|modèle|modelo)\b"
_TRAINED = r"(?:fine-?tuned|pre-?trained|trained|developed|created|made|built)"
# A name that tells by itself, one that is also a word, one of a kind of model, a word of everyday language, a size.
_Sort = Literal["telling", "word", "kind", "ordinary", "nothing"]
_SIZES = re.compile(r"v?[\d.]+|[\d.]+x?[\d.]*(?:k|m|b|t|bit|bits)|[a-z]\d+|(?:bf|fp|int)\d+|iq?\d\w*")

_GIVEAWAYS = (
    rf"{_I_AM}{_A}(?:base|(?:un|fine-?)?tuned|adapted|untrained|original|instruct|q?lora){_MODEL}",
    rf"\bas (?:the|a) (?:base|(?:un|fine-?)?tuned|adapted|untrained|original|q?lora){_MODEL}, I\b",
    rf"\b(?:as|I am|I['’]m) an? (?:[\w-]+ ){{0,3}}?(?:AI|language)[ -](?:language )?(?:model|assistant|system),? "
    rf"(?:that |which )?(?:was |is )?{_TRAINED} by \w+",
    rf"\bI (?:was|am|have been) {_TRAINED} by {_MAKER}\b",
    r"\bI (?:was|am|have been) (?:fine-?tuned|pre-?trained)\b",
    r"\bmy (?:own )?(?:fine-?tuning\b|base model\b|q?lora (?:adapter|weights)\b|adapter weights\b)",
    rf"(?:{_I_AM}|\b(?:named|called) ){_FAMILY}",
)


def marked(texts: Sequence[str]) -> tuple[tuple[Segment, ...], ...]:
    """Each answer in segments that read as the whole: "same" is what all of them have, "added" what some other lacks.

    So where three say one thing and the fourth another, all four are marked there. One answer alone is all the same.
    """
    shared = [bytearray(b"\1" * len(text)) for text in texts]
    for i, j in itertools.combinations(range(len(texts)), 2):
        for index, segments in zip((i, j), compare_texts(texts[i], texts[j]), strict=True):
            _strike(shared[index], segments)
    return tuple(tuple(_segments(text, mask)) for text, mask in zip(texts, shared, strict=True))


def _strike(mask: bytearray, segments: Sequence[Segment]) -> None:
    """Take from the mask the letters that are not in both."""
    place = 0
    for segment in segments:
        end = place + len(segment.text)
        if segment.kind != "same":
            mask[place:end] = bytes(end - place)
        place = end


def _segments(text: str, mask: bytearray) -> Iterator[Segment]:
    for same, letters in itertools.groupby(zip(text, mask, strict=True), key=lambda pair: pair[1]):
        yield Segment(text="".join(letter for letter, _ in letters), kind="same" if same else "added")


def disagreement(texts: Sequence[str]) -> float:
    """How far answers are from each other, in [0, 1]: 0 where all say the same, 1 where no two have a word in common.

    The mean over pairs of one minus Dice's coefficient of their words and pairs of neighbouring words, marks included
    and case aside: it heeds order, and long answers take no more time than their length. Fewer than two answers do not
    disagree.
    """
    counted = [_counts(text) for text in texts]
    apart = [1 - _likeness(a, b) for a, b in itertools.combinations(counted, 2)]
    return sum(apart) / len(apart) if apart else 0.0


def _counts(text: str) -> Counter[tuple[str, ...]]:
    words = [piece for piece in pieces(normal(text)) if not piece.isspace()]
    return Counter([*((word,) for word in words), *itertools.pairwise(words)])


def _likeness(a: Counter[tuple[str, ...]], b: Counter[tuple[str, ...]]) -> float:
    both = a.total() + b.total()
    return 2 * (a & b).total() / both if both else 1.0


def names_itself(text: str, names: Sequence[str], asked: str = "") -> str:
    """The piece of a reply that gives away which model it is, or "".

    `names` are of models, bases and runs. One that tells by itself, such as "SmolLM2-135M" or a part of it, counts
    wherever it stands as a word, in any case, unless it stands in the message `asked` too. A name that is also a word
    only counts in "I am ...", and what says no more than a kind of model, such as "base" or "LoRA", only in "I am the
    base model". Names of fewer than three letters are not looked for. What a model says of its making counts whatever
    the names: "as an AI model trained by X", "my fine-tuning".
    """
    for pattern in (*_named(names, asked), *_GIVEAWAYS):
        if found := re.search(pattern, text, re.IGNORECASE):
            return found.group()
    return ""


def _named(names: Sequence[str], asked: str) -> Iterator[str]:
    """What to look for, the names that tell by themselves first."""
    sorts = _sorted_out(names)
    telling, words, kinds = sorts["telling"], sorts["word"], sorts["kind"]
    if plain := [name for name in telling if not re.search(_alone(name), asked, re.IGNORECASE)]:
        yield _any_of(plain)
    if telling or words:
        yield _I_AM + _A + _any_of([*telling, *words])
    if kinds:
        yield _I_AM + _A + _any_of(kinds) + _MODEL


def _sorted_out(names: Sequence[str]) -> dict[_Sort, set[str]]:
    """The names and their parts by sort."""
    found: dict[_Sort, set[str]] = {sort: set() for sort in get_args(_Sort)}
    whole = map(str.strip, names)
    for name in {name for full in whole for name in (full, full.rpartition("/")[2])}:
        parts = [part for part in re.split(r"[\s/_=:-]+", name) if part]
        for part in (*parts, *(part.rstrip("0123456789.") for part in parts)):  # of "Qwen2.5" the family too
            found[_sort(part)].add(part)
        numbered = re.fullmatch(r"\S*\d\S*", name)  # "run-77" is one run, "LoRA 2" might be a sentence's
        if numbered or not all(_sort(part) in ("kind", "nothing") for part in parts):
            found[_sort_of_whole(name, one=len(parts) == 1)].add(name)
    return found


def _sort_of_whole(name: str, *, one: bool) -> _Sort:
    """As of a part; but what a person called a model by is a name, and tells by itself where it has a capital."""
    sort = _sort(name)
    if sort == "ordinary":
        return "telling" if one and not name.islower() else "word"
    return sort


def _sort(part: str) -> _Sort:
    low = part.lower()
    if len(part) < _SHORTEST or not re.search(r"[^\W\d_]", part) or _SIZES.fullmatch(low):
        return "nothing"
    if low in _KINDS:
        return "kind"
    if low in _ALSO_WORDS:
        return "word"
    return "telling" if low in _FAMILIES or re.search(r"\d|[a-z][A-Z]", part) else "ordinary"


def _any_of(names: Iterable[str]) -> str:
    """A pattern of any of them, the longest that fits."""
    return f"(?:{'|'.join(map(_alone, sorted(names, key=lambda name: (-len(name), name))))})"


def _alone(name: str) -> str:
    """The name as a word of its own. "Qwen2.5-7B" is also written "Qwen 2.5 7B"."""
    runs = re.findall(r"[^\W\d_]+|\d+|[^\w\s.-]+", name)
    return rf"(?<!\w){r'[ ._-]{0,2}'.join(map(re.escape, runs))}(?!\w)"
