"""How an answer should sound.

Owns the two ways to say it: next to a word for sounding, where any word may be a tone ("a chirpy tone", "ton posé"),
and a known word for a tone in a clause of its own ("friendly, short"). Refuses words for a tone in any other place.
"""

from __future__ import annotations

import re

from assistant.dialogue.offline.text import fold, lexicon, pattern, words

_CLAUSES = re.compile(r"[.;!?\n,:()…]")
_PARTS = re.compile(r"\s*(?:,|\b(?:and|but|yet|und|aber|oder|et|mais|y|pero)\b)\s*(?:a bit\s+|un peu\s+|un poco\s+)?")


def tone_in(text: str, labels: tuple[str, ...]) -> str:
    """The tone that a statement asks for, in its own words; words that are labels of the task are none."""
    folded = fold(text)
    spans = [*_named(folded), *_known(folded)]
    taken = sorted({span for span in spans if not _denied(folded, span)})
    names = {fold(label) for label in labels}
    found = dict.fromkeys(text[begin:end] for begin, end in _apart(taken) if folded[begin:end] not in names)
    return ", ".join(found)


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of which none lies in another."""
    return [span for span in spans if not any(o != span and o[0] <= span[0] and span[1] <= o[1] for o in spans)]


def _denied(folded: str, span: tuple[int, int]) -> bool:
    before = folded[max(0, span[0] - 20) : span[0]]
    return bool(pattern("too").search(before) or pattern("not_tone_after").match(folded[span[1] :]))


def _named(folded: str) -> list[tuple[int, int]]:
    """Words next to one for sounding."""
    spans = []
    for expression in lexicon()["tone_named"]:
        for match in re.finditer(expression, folded):
            group = next((name for name, value in match.groupdict().items() if value), None)
            if group:
                spans += _parts(folded, *match.span(group))
    return spans


def _parts(folded: str, begin: int, end: int) -> list[tuple[int, int]]:
    """ "dark and dry" as two words; words that say nothing of a tone are left out."""
    spans, start = [], begin
    for joint in [*_PARTS.finditer(folded, begin, end), None]:
        stop = joint.start() if joint else end
        word = folded[start:stop]
        # After a comma another thing may begin: only a known word goes on with the tone.
        begins_new = start > begin and "," in folded[start - 3 : start] and not re.match(lexicon()["tone_words"], word)
        if len(word) > 2 and word[0].isalpha() and not begins_new and not set(word.split()) & words("no_tone"):
            spans.append((start, stop))
        start = joint.end() if joint else end
    return spans


def _known(folded: str) -> list[tuple[int, int]]:
    """Known words for a tone that make up a clause, or that something is to be made."""
    spans = []
    for match in re.finditer(rf"\b{lexicon()['tone_words']}(?![\w-])", folded):
        begin = max((m.end() for m in _CLAUSES.finditer(folded, 0, match.start())), default=0)
        end = next((m.start() for m in _CLAUSES.finditer(folded, match.end())), len(folded))
        made = _made(folded[begin : match.start()], folded[match.end() : end])
        if made or _is_all_tone(folded[begin:end]):
            spans.append(match.span())
    return spans


def _is_all_tone(clause: str) -> bool:
    word = rf"(?:{lexicon()['tone_words']}|{lexicon()['tone_fillers']})"
    return bool(re.fullmatch(rf"\W*(?:{word}\W*)+", clause))


def _made(before: str, after: str) -> bool:
    first, last = lexicon()["tone_made"].split("|^")
    of_answer = re.match(rf"\s+(?:[\w-]+\s+)?{lexicon()['out_noun']}\b", after)
    after_text = re.search(rf"\b{lexicon()['tone_noun']}\s+$", before)
    return bool(re.search(first, before) or re.match(last, after) or of_answer or after_text)
