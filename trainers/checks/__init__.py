"""The checks of a data set: what would spoil a training, one small file a kind.

Owns the registry and running it. Refuses to change the data (`edits` does, when asked) and to know prompts.

To add a check: write a generator `def my_check(subject: Subject) -> Iterator[Finding]` in a file of its own, give its
findings a `check` id, a severity, the rows, and an `effect` (what a training would make of it), and name it in `CHECKS`
below; in `LENGTH_CHECKS` if it needs the rows' lengths in tokens, which change with the prompt. It must give the same
findings every time (`subject.seed`), and go over `subject.sample` instead of `subject.examples` if it is slow, or over
`subject.each()`, which tells progress, if a million rows take it more than a second. It need not catch anything: a
check that crashes becomes a finding that says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from trainers.checks.as_read import as_read, set_aside
from trainers.checks.balance import constant_answer, imbalance, rare_labels
from trainers.checks.columns import columns
from trainers.checks.finding import Finding
from trainers.checks.hidden import commands, invisible, markers, markup
from trainers.checks.labels import label_errors
from trainers.checks.languages import languages
from trainers.checks.lengths import too_long
from trainers.checks.near import near_duplicates
from trainers.checks.overlap import train_and_test
from trainers.checks.personal import personal_data
from trainers.checks.repeats import contradictions, duplicates
from trainers.checks.subject import SAMPLE, Subject
from trainers.checks.unusable import unusable

if TYPE_CHECKING:
    from trainers.dataset import Dataset

Say = Callable[[float, str], None]
Check = Callable[[Subject], Iterable[Finding]]


class Checked(BaseModel):
    """What is found in a data set whatever the prompt: findings, and how many inputs each language has."""

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...] = ()
    languages: dict[str, int] = {}


def sample(subject: Subject) -> Iterable[Finding]:
    """Says that the slow checks did not see every row, also where they found nothing."""
    if subject.sampled:
        yield Finding(
            check="sample",
            severity="info",
            text=f"Label errors, near-duplicates and personal data were looked for in a seeded sample of {SAMPLE:,} of "
            f"{len(subject.examples):,} rows.",
            effect="There are likely more of them, in proportion; pairs of near-duplicates even more than that.",
            sampled=True,
        )


CHECKS: tuple[Check, ...] = (
    as_read,
    set_aside,
    unusable,
    constant_answer,
    columns,
    contradictions,
    duplicates,
    near_duplicates,
    train_and_test,
    rare_labels,
    imbalance,
    label_errors,
    languages,
    personal_data,
    commands,
    markers,
    invisible,
    markup,
    sample,
)
LENGTH_CHECKS: tuple[Check, ...] = (too_long,)


def silent(fraction: float, what: str) -> None:
    """Tells nobody how far it is."""


def check_data(data: Dataset, seed: int = 0, checks: Sequence[Check] = CHECKS, say: Say = silent) -> Checked:
    """Run every check that the prompt cannot change. Takes seconds from some thousand rows on.

    `say` is told the share of the checks that are done, in [0, 1], and what is looked for now; what it raises stops
    the work.
    """
    subject = Subject.of(data, seed=seed)
    found = run_checks(subject, checks, say)
    spoken: Counter[str] = Counter()
    with suppress(Exception):  # then the check of languages has crashed too, and a finding says so
        spoken.update(subject.languages)
    return Checked(findings=found, languages=dict(spoken.most_common()))


def run_checks(subject: Subject, checks: Sequence[Check], say: Say = silent) -> tuple[Finding, ...]:
    """All findings, in the registry's order."""
    found: list[Finding] = []
    for number, check in enumerate(checks):
        subject.progress.listener = _share(say, number, len(checks), check.__name__.replace("_", " "))
        subject.progress.say(0)
        found.extend(_guarded(check, subject))
    return tuple(found)


def _share(say: Say, number: int, count: int, what: str) -> Callable[[float], None]:
    """Tells of all the checks what is told of one."""
    return lambda done: say((number + done) / count, what)


def _guarded(check: Check, subject: Subject) -> Iterator[Finding]:
    try:
        yield from check(subject)
    except Exception as error:
        if subject.progress.refused:  # no fault of the check: the work is to stop
            raise
        # One broken check must neither take the others with it nor pass for "nothing found".
        name = check.__name__
        yield Finding(
            check=name,
            severity="warning",
            text=f"The check {name!r} failed ({type(error).__name__}: {str(error)[:200]}).",
            effect="Whatever it would have found is not known.",
        )
