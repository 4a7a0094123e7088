"""Personal data: what can be told by its form and its check digits, never by guessing.

Owns the kinds and the masks. libphonenumber's tables decide what is a phone number, python-stdnum's check digits what
is a card, an account or an identity number. Names and addresses need a language model and are not looked for.
Presidio's pattern recognisers would do the same, but it cannot be installed without spaCy (246 MB).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from ipaddress import ip_address
from typing import NamedTuple

from trainers.checks.finding import Finding, Fix, counted
from trainers.checks.subject import Subject
from trainers.data import Example

# Numbers without a country code are read as these countries would dial them: those of the app's four languages.
_REGIONS = ("US", "GB", "DE", "FR", "ES")
_FEWEST_DIGITS = 7
_TOLD_EVERY = 1_000  # rows
_DATE = re.compile(r"(?:19|20)\d\d[-./](?:0\d|1[0-2])[-./][0-3]\d")
_DIGIT_BEFORE, _DIGIT_AFTER = re.compile(r"\d[ ./-]?$"), re.compile(r"[ ./-]?\d")


class Span(NamedTuple):
    """Where a piece of personal data stands."""

    start: int
    end: int
    kind: str


class _Kind(NamedTuple):
    name: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]


def personal_data(subject: Subject) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    rows: list[int] = []
    examples: list[str] = []
    for number, example in enumerate(subject.sample):
        if number % _TOLD_EVERY == 0:
            subject.progress.say(number / len(subject.sample))
        found = [(text, span) for text in (example.input, example.output) for span in found_in(text)]
        if not found:
            continue
        rows.append(example.row)
        # A kind's first two, so that many of one kind do not hide the others.
        examples += [_shown(example, text, span) for text, span in found if counts[span.kind] < 2]
        counts.update(span.kind for _, span in found)
    if rows:
        told = ", ".join(f"{kind} {count:,}" for kind, count in counts.most_common())
        yield Finding(
            check="personal_data",
            severity="warning",
            text=f"{counted(rows)} with personal data by its form: {told}. Names and addresses are not looked for.",
            rows=tuple(rows),
            effect="A tuned model can repeat them word for word to anybody who asks it.",
            examples=tuple(examples[:10]),
            fix=Fix(action="mask", words="Put a placeholder such as [EMAIL] in the place of each."),
            sampled=subject.sampled,
        )


def found_in(text: str) -> list[Span]:
    """What is found in a text, in order, without overlaps."""
    if "@" not in text and not any(letter.isdigit() for letter in text):
        return _keys(text)
    taken: list[Span] = []
    for span in _all(text):
        if all(span.end <= other.start or span.start >= other.end for other in taken):
            taken.append(span)
    return sorted(taken)


def masked(text: str) -> str:
    """The text with a placeholder for each piece of personal data."""
    for span in reversed(found_in(text)):
        text = f"{text[: span.start]}[{span.kind.upper().replace(' ', '_')}]{text[span.end :]}"
    return text


def _all(text: str) -> Iterator[Span]:
    """The surest kinds first: an account number may look like a phone number, but not the other way round."""
    yield from _keys(text)
    for kind in _kinds():
        for found in kind.pattern.finditer(text):
            if whole := _longest(found.group(), kind.holds):
                yield Span(found.start(), found.start() + len(whole), kind.name)
    if sum(letter.isdigit() for letter in text) >= _FEWEST_DIGITS:
        yield from _phones(text)


def _longest(found: str, holds: Callable[[str], bool]) -> str:
    """The longest beginning, word by word, that holds: a word in capitals after an account number is not part of it."""
    while found and not holds(found):
        found = found.rpartition(" ")[0]
    return found


_KEY = re.compile(
    r"\b(?:sk-[\w-]{20,}|gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|AKIA[A-Z0-9]{16}|hf_[A-Za-z0-9]{30,}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def _keys(text: str) -> list[Span]:
    return [Span(found.start(), found.end(), "key") for found in _KEY.finditer(text)]


@cache
def _kinds() -> tuple[_Kind, ...]:
    def stdnum(name: str) -> Callable[[str], bool]:
        valid: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
        return valid

    luhn = stdnum("luhn")
    return (
        _Kind("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}\b"), lambda found: True),
        _Kind("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}(?: ?[A-Z0-9])?\b"), stdnum("iban")),
        _Kind(
            "card number",
            # In one piece or grouped as on a card: any other digits pass the check of one in ten.
            re.compile(
                r"(?<![\w.-])(?<!\d )[2-6](?:\d{12,18}|\d{3}(?:[ -]\d{4}){3}|\d{3}[ -]\d{6}[ -]\d{5})(?![\w-]| \d)"
            ),
            lambda found: luhn(re.sub(r"\D", "", found)),
        ),
        _Kind("US social security number", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), stdnum("us.ssn")),
        _Kind("Spanish identity number", re.compile(r"\b\d{8}-?[A-Z]\b"), stdnum("es.dni")),
        _Kind("Spanish identity number", re.compile(r"\b[XYZ]-?\d{7}-?[A-Z]\b"), stdnum("es.nie")),
        _Kind(
            "French social security number",
            re.compile(r"\b[12] ?\d\d ?[01]\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d\b"),
            stdnum("fr.nir"),
        ),
        _Kind("IP address", re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)"), _is_address),
        _Kind("IP address", re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4}(?![\w:])"), _is_address),
    )


def _is_address(found: str) -> bool:
    try:
        address = ip_address(found)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _phones(text: str) -> Iterator[Span]:
    from phonenumbers import Leniency, PhoneNumberMatcher  # reads its tables, so only where there are digits enough

    for region in _REGIONS:
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            # Ten bare digits are as often the number of an order, and a piece of a longer number is none.
            longer = _DIGIT_BEFORE.search(text[: match.start]) or _DIGIT_AFTER.match(text[match.end :])
            if re.search(r"\D", match.raw_string) and not longer and not _DATE.search(match.raw_string):
                yield Span(match.start, match.end, "phone number")


def _shown(example: Example, text: str, span: Span) -> str:
    """The first and the last letter or digit, the others dotted."""
    raw = text[span.start : span.end]
    inner = re.sub(r"[^\W_]", "•", raw[1:-1])
    return f"row {example.row}, {span.kind}: {raw[:1]}{inner[:40]}{raw[-1:]}"
