"""What an answer must never do, and the other rules that it keeps.

Owns what counts as a rule: limits on length, "always ...", "if ... then say ...", placeholders. Refuses what somebody
else must do: people, machines, licences, deadlines.
"""

from __future__ import annotations

import re

from assistant.dialogue.offline.numbers import in_digits
from assistant.dialogue.offline.text import Language, fold, lexicon, pattern, sentences

_LONGEST = 30  # words of a rule
# From so many on, lines and sentences are data; the first letters of a unit name it in four languages.
_DATA_FROM = {"line": 60, "lign": 60, "sent": 60, "phra": 60, "satz": 60, "zeil": 60, "fras": 60, "page": 4, "seit": 4}
_AND = re.compile(r"^(?:and|und|et|y) ", re.IGNORECASE)
_JOINTS = re.compile(
    r", (?=(?:and|und|et|y|but|aber|mais|pero)\b)"
    r"|, (?=(?:always|immer|toujours|siempre|never|niemals|nie|jamais|nunca|jamas)\b)"
    r"|\b(?:and|und|et|y) (?=(?:never|nie|niemals|jamais|nunca|must|always|immer)\b)"
)
_ADDS_EACH = re.compile(r"[^.,;\n]{0,12}?\b(?:max\w*|at most|each|hochstens|au plus|como maximo|como mucho)\b")
_COUNTED = re.compile(
    r"(?:\d+ ?(?:-|to|bis|a) ?)?(?P<number>(?:half a|eine halbe|une demi|[\w']+))[ -](?:short |kurze[nr]? |ganze )?$"
)


def never_in(text: str) -> tuple[str, ...]:
    """The clauses that say what must not be, whole: German and French put the object before the verb."""
    found = []
    for clause in _clauses(text):
        folded = fold(clause)
        if (
            pattern("never").search(folded)
            and not pattern("no_never").search(folded)
            and 1 < len(folded.split()) <= _LONGEST
        ):
            found.append(clause)
    return tuple(found)


def rules_in(text: str, language: Language, known: tuple[str, ...]) -> tuple[str, ...]:
    """Limits on length and other rules for every answer. `known`: earlier rules; one may get a new number."""
    found = _limits(text, language) or _changed_limit(text, language, known)
    for begin, end in sentences(text):
        sentence = text[begin:end].strip(" ,")
        folded = fold(sentence)
        if _is_conditional(folded) and not any(sentence in rule for rule in found):
            found.append(sentence)
    for clause in _clauses(text):
        if _is_always(fold(clause)) and not any(clause in rule for rule in found):
            found.append(clause)
    if match := pattern("placeholder").search(fold(text)):
        found.append(text[match.start() : match.end()].strip())
    return tuple(found)


def _clauses(text: str) -> list[str]:
    pieces = (piece for begin, end in sentences(text) for piece in _JOINTS.split(text[begin:end]))
    return [clause for piece in pieces if (clause := _AND.sub("", piece.strip(" ,")))]


def _is_conditional(folded: str) -> bool:
    condition = pattern("conditional").search(folded)
    return bool(condition and pattern("then").search(folded, condition.end())) and len(folded.split()) <= _LONGEST


def _is_always(folded: str) -> bool:
    if pattern("no_rule").search(folded) or pattern("never").search(folded) or not 1 < len(folded.split()) <= _LONGEST:
        return False
    if pattern("must_contain").search(folded):
        return True
    first_or_modal = pattern("rule_first").search(folded) or pattern("rule_modal").search(folded)
    return bool(pattern("always").search(folded) and first_or_modal)


# Limits on length


def _limits(text: str, language: Language) -> list[str]:
    folded, found = fold(text), []
    for unit in re.finditer(rf"\b{lexicon()['limit_unit']}\b", folded):
        start = _limit_start(text, folded, unit, language)
        in_compound = folded[unit.start() - 1 : unit.start()] == "-"  # "an 80-word summary"
        cued = start is not None and bool(re.match(rf"{lexicon()['limit_before']}\b", folded[start:]))
        goes_on = not in_compound and not cued and pattern("not_limit_after").match(folded[unit.end() :])
        if start is None or goes_on:
            continue
        end = _ADDS_EACH.match(folded, unit.end())
        found.append(text[start : end.end() if end else unit.end()].strip())
    return found


def _changed_limit(text: str, language: Language, known: tuple[str, ...]) -> list[str]:
    """The known limit with the number of a statement that gives it a new one: "make that 120 at most"."""
    number = re.search(rf"\b{lexicon()['limit_before']}\s+(\d+)\b(?!\s*\w|[.,]\d)", in_digits(text, language))
    limit = next((rule for rule in known if re.search(rf"\d+\W+{lexicon()['limit_unit']}\b", fold(rule))), None)
    return [re.sub(r"\d+", number.group(1), limit, count=1)] if number and limit else []


def _limit_start(text: str, folded: str, unit: re.Match[str], language: Language) -> int | None:
    """Where a limit on length begins, if there is a number right before its unit."""
    number = _COUNTED.search(folded[: unit.start()])
    if not number:
        return None
    written = number.group("number")
    digits = re.match(r"\d+", in_digits(text[slice(*number.span("number"))], language))
    if not digits and not re.fullmatch(lexicon()["limit_number"], written):
        return None
    if re.fullmatch(r"an?|une?|una|eine?", written) and pattern("small_unit").match(unit.group()):
        return None
    if digits and int(digits.group()) >= _DATA_FROM.get(unit.group()[:4], 10_000):
        return None
    cue = re.search(rf"\b{lexicon()['limit_before']}\s(?:~\s?)?$", folded[: number.start()])
    if not cue and pattern("not_limit_before").search(folded[: number.start()]):
        return None
    if not cue and written in ("une", "una", "eine", "ein", "un", "einen", "einem"):
        return None  # "transformer une phrase en formule"
    return cue.start() if cue else number.start()
