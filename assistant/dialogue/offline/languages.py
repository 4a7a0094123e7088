"""Which languages a message names, and whether each is the answer's or that of what comes in.

Owns the names of languages (from CLDR) and the words that give them a role. Refuses to guess: a language that has no
role in its sentence is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from assistant.dialogue.offline.text import fold, lexicon, pattern, sentences, words
from prompts.spec import TaskSpec

_INTO, _FROM = "language", "input_language"
# How a language's name goes on as an adjective: "deutsche Mails", "francaises", "alemanas".
_ENDINGS = r"(?:e[nrsm]?|n?es?|s|as?|os?|sprachige?[nrs]?)?"
_CODES = re.compile(r"\b([a-z]{2}) ?(?:->|=>|>|/|-| to | nach | vers | al? ) ?([a-z]{2})\b")


@dataclass(frozen=True)
class _Name:
    """A language named in a sentence, with the folded sentence before and after its name."""

    code: str
    before: str
    after: str
    sentence: int = 0  # where it begins


def languages(text: str, task: str | None, spec: TaskSpec, *, correcting: bool) -> dict[str, str]:
    """`input_language` and `language` as ISO codes, where the statement says them."""
    names = _names_in(text)
    if task == "translation":
        return _codes_in(text) or _direction(names, spec, correcting=correcting)
    facts: dict[str, str] = {}
    for name in names:
        if changed := _changed(name, spec, correcting=correcting):
            facts.setdefault(changed, name.code)
        elif role := _role(name):
            # A label or a key has no language: what is "in German" is what comes in.
            answers = task not in ("classification", "extraction") or pattern("out_cue").search(name.before)
            facts.setdefault(role if answers else _FROM, name.code)
    return facts


def _changed(name: _Name, spec: TaskSpec, *, correcting: bool) -> str:
    """The role of a language that only takes another's place: "make it Italian instead"."""
    in_place = pattern("instead").match(name.after) or not re.search(r"\w", name.after)
    if not in_place or not (correcting or pattern("instead").match(name.after)):
        return ""
    return _INTO if spec.language else _FROM if spec.input_language else ""


def names_two_ways(text: str) -> bool:
    """Whether a sentence names two languages, one of them as a direction: "Finnish manuals into Estonian"."""
    if _codes_in(text):
        return True
    names = _names_in(text)
    pairs = [(one, two) for one in names for two in names if one.code != two.code and one.sentence == two.sentence]
    ways = [pair for pair in pairs if _brought_into(pair[1]) and not _joined(*pair)]
    return bool(ways) and not pattern("answers_or_sums_up").search(fold(text))


def names_a_target(text: str) -> bool:
    """Whether a text names a language that something may be brought into."""
    return bool(_codes_in(text)) or any(_brought_into(name) for name in _names_in(text))


def _brought_into(name: _Name) -> bool:
    """Whether something becomes this language; "into plain English" only changes its style."""
    return _directed(name) == _INTO and not pattern("style").search(name.before)


def _joined(one: _Name, two: _Name) -> bool:
    """ "Turkish and Arabic"."""
    first, second = sorted((one, two), key=lambda name: len(name.before))
    return bool(re.search(rf"{re.escape(first.before)}\w+\W+(?:and|or|und|oder|et|ou|y|o)\W+$", second.before))


# Names


@cache
def _codes() -> dict[str, str]:
    """Folded language name in any of the four languages to its ISO 639-1 code, from CLDR."""
    from babel import Locale

    wanted = words("codes")
    names: dict[str, str] = {}
    for reader in ("en", "de", "fr", "es"):
        for code, name in Locale(reader).languages.items():
            if code in wanted and len(name) > 3:
                names.setdefault(fold(name), "no" if code == "nb" else code)
    return {**names, **lexicon()["other_names"]}


@cache
def _named() -> re.Pattern[str]:
    stems = {re.sub(r"(?<=[a-z]{4})(?:o|e)$", "", name) for name in _codes()} | set(_codes())
    longest_first = sorted((re.escape(stem) for stem in stems), key=len, reverse=True)
    return re.compile(rf"\b(?P<name>{'|'.join(longest_first)})(?P<ending>{_ENDINGS})\b(?!-\d)")


def _code(name: str) -> str:
    return next((_codes()[full] for full in (name, name + "o", name + "e", name + "a") if full in _codes()), "")


def _names_in(text: str) -> list[_Name]:
    found = []
    for begin, end in sentences(text):
        sentence = fold(text[begin:end])
        for match in _named().finditer(sentence):
            code, before, after = _code(match.group("name")), sentence[: match.start()], sentence[match.end() :]
            if "sprachig" in match.group("ending"):
                after = f" speaking{after}"
            # "polish our letters" is no language.
            verb = match.group() == "polish" and text[begin + match.start()].islower()
            if code and not verb and not _rejected(before, after):
                found.append(_Name(code, before, after, begin))
    return found


def _rejected(before: str, after: str) -> bool:
    rejected = pattern("not_wanted_before").search(before) or pattern("not_wanted_after").match(after)
    return bool(rejected or pattern("person").match(after) or pattern("learning").search(before))


def _codes_in(text: str) -> dict[str, str]:
    for source, target in _CODES.findall(fold(text)):
        if source != target and {source, target} <= words("codes"):
            return {_FROM: source, _INTO: target}
    return {}


# A translation's direction


def _direction(names: list[_Name], spec: TaskSpec, *, correcting: bool) -> dict[str, str]:
    """Source and target: by the words around the names, else by what is still open."""
    facts: dict[str, str] = {}
    undecided: list[_Name] = []
    for name in names:
        role = _directed(name)
        if not role:
            undecided.append(name)
        elif role not in facts or role == _INTO:
            facts[role] = name.code
    into = [name for name in names if _directed(name) == _INTO]
    # "Into German, French and Spanish": the first is taken, the others are no source.
    undecided = [name for name in undecided if not any(_listed_after(name, first) for first in into)]
    for name in undecided:
        _settle(name, facts, spec, correcting=correcting)
    return facts


def _listed_after(name: _Name, first: _Name) -> bool:
    between = name.before[len(first.before) :] if first.sentence == name.sentence else ""
    return (
        bool(re.fullmatch(r"\w+(?:\W+(?:and|or|und|oder|et|ou|y|o|e)?\W*(?:\w+)?)*?\W*", between))
        and len(between.split()) <= 4
    )


def _settle(name: _Name, facts: dict[str, str], spec: TaskSpec, *, correcting: bool) -> None:
    """Gives a name without a direction the role that is still open."""
    if name.code in facts.values():
        return
    known = {_FROM: facts.get(_FROM) or spec.input_language, _INTO: facts.get(_INTO) or spec.language}
    # "Portuguese, not Spanish": the one named takes the other's place.
    instead = pattern("instead").match(name.after)
    if (correcting or instead) and known[_INTO] and _INTO not in facts:
        facts[_INTO] = name.code
    elif not known[_FROM]:
        facts[_FROM] = name.code
    elif not known[_INTO] and name.code != known[_FROM]:
        facts[_INTO] = name.code


def _directed(name: _Name) -> str:
    """The role that the words right around a name give it."""
    if re.match(
        r"\W*(?:rein|in\b(?! \w)|(?:ist|is|est|es) (?:die |the |la )?(?:quell|ausgangs|source|original))", name.after
    ):
        return _FROM
    if re.match(
        r"\W*(?:raus|out\b)|\W*(?:ist|is|est|es)\W+(?:das|the|le|el|la)\W+(?:ziel|target|but|destino|cible)", name.after
    ):
        return _INTO
    if re.match(r"\s*(?:to|into|nach|ins|vers|en|a|al|->|=>|>)\W", name.after) and not pattern("to").search(
        name.before
    ):
        return _FROM
    if _of_what_comes_in(name):
        return _FROM
    if re.search(r"\b(?:version|fassung|traduction|traduccion)\s+$", name.before):
        return _INTO
    if re.search(r"\b(?:destino|ziel|target|cible)\b[^.,]{0,12}$", name.before):
        return _INTO
    if pattern("from").search(name.before):
        return _FROM
    if pattern("to").search(name.before):
        return _INTO
    return _INTO if pattern("understands").search(name.before) else ""


def _of_what_comes_in(name: _Name) -> bool:
    """ "All texts are in English", "written in English", "la novela esta en gallego"; not "must be written in"."""
    return bool(pattern("state").search(name.before)) and not pattern("wanted").search(name.before[-40:])


# A language in any other task


def _role(name: _Name) -> str:
    """Whether a language is the answer's or that of what comes in; empty where neither is said."""
    before, after = re.split(r"[,;:(]|\b(?:but|while|aber|mais|pero) ", name.before)[-1], name.after
    if pattern("speaking").match(after):
        return _FROM
    if re.match(r"\s*(?:\(usted\)\s*)?(?:in|rein)\b(?!\s+\w)", after) or re.match(r"\s*ein\b", after):
        return _FROM
    if re.match(r"\s*(?:out|raus)\b", after):
        return _INTO
    if re.search(r"\b(?:alors que|while|although|wahrend|obwohl|aunque|mientras)\b", name.before):
        return _FROM
    if pattern("speaks").search(before):
        return _FROM if pattern("in_cue").search(before) else _INTO
    if re.search(r"\b(?:in|auf|en|au|into|im|ins|to)\s+(?:[\w']+\s+)?(?:l')?$", before):
        return _by_preposition(name, before)
    return _as_adjective(before, after)


def _by_preposition(name: _Name, before: str) -> str:
    """ "... in German": the nearest word before it that is of an answer or of what comes in decides."""
    if re.match(rf"\s+{lexicon()['out_noun']}", name.after) or re.match(
        r"\s+(?:zuruck|back|kommen|raus|out)\b", name.after
    ):
        return _INTO
    if re.match(rf"\s+{lexicon()['in_noun']}\b", name.after):
        return _FROM
    if _of_what_comes_in(name):
        return _INTO if re.search(rf"\b{lexicon()['out_noun']}\b", before) else _FROM
    if re.search(rf"\b{lexicon()['in_noun']}\s+(?:auf|in|en)\s+(?:\w+\s+)?$", before):
        return _FROM
    outs = [m.end() for m in pattern("out_cue").finditer(before)]
    ins = [m.end() for m in pattern("in_cue").finditer(before)]
    if max(ins, default=-1) > max(outs, default=-1):
        return _FROM
    # What comes in with a comma before it is still meant: "... Mails, auf Deutsch".
    return _INTO


def _as_adjective(before: str, after: str) -> str:
    if re.match(rf"\s+(?:\w+\s+)?{lexicon()['out_noun']}\b", after) or re.search(
        rf"\b{lexicon()['result_noun']}\s+$", before
    ):
        return _INTO
    if re.search(r"\b(?:become|becomes|should be|must be)\s+(?:\w+\s+)?$", before):
        return _INTO
    if re.search(r"\b(?:stay|stays|its|it.s|are|is|sind|ist|sont|est|son|estan)\s+(?:\w+\s+)?$", before):
        return _FROM
    adjective_of_input = re.match(r"\s+[a-z]", after) and not re.match(
        r"\s+(?:and|or|und|oder|et|ou|y|is|are|the|to|for|by)\b", after
    )
    noun_before = pattern("plural_noun").search(before)
    return _FROM if adjective_of_input or noun_before else ""
