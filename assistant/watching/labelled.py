"""Whether answers are still as good: the run's metric on newly labelled rows, against its score on the test rows.

Owns matching labelled rows with logged answers, and the comparison of two scores on different rows. Refuses to start an
engine: rows that were never asked are asked only where somebody hands in a model that is served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.watching.log import RequestLog
from prompts.errors import DataError, RunError
from prompts.metrics import METRICS, Score
from trainers.checks.personal import masked
from trainers.data import Example, Mapping, guess_mapping, normal, read_examples
from trainers.paths import write_atomically
from trainers.reading import read_table
from trainers.status import RunFolder

MARGIN = 0.05  # a fall below this is none that anybody should act on
_MOST_MORE = 20_000

Verdict = Literal["fell", "holds", "cannot tell"]
Ask = Callable[[Sequence[str]], Sequence[str]]


class Labelled(BaseModel):
    """What newly labelled rows say. `low` and `high` bound `now.value` - `then.value`, 95 %.

    `logged` rows have an answer in the log, `asked` were asked now, `unanswered` are left out. `more` is about how many
    labelled rows more would tell, None where that is told already or would be too many.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    then: Score
    now: Score
    low: float
    high: float
    verdict: Verdict
    logged: int
    asked: int = 0
    unanswered: int = 0
    more: int | None = None
    file: str = ""
    time: datetime

    @property
    def told(self) -> str:
        """In words, with the figures."""
        points = (
            f"{(self.now.value - self.then.value) * 100:+.0f} points ({self.low * 100:+.0f} to {self.high * 100:+.0f})"
        )
        basis = f"{self.metric} {self.now} on newly labelled rows, {self.then} on the test rows: {points}"
        first = {
            "fell": "The answers have become worse",
            "holds": f"The answers are as good as they were, give or take {MARGIN * 100:.0f} points",
            "cannot tell": "Whether the answers have become worse cannot be told yet",
        }[self.verdict]
        more = f" About {self.more:,} more labelled rows would tell." if self.more else ""
        gone = f" {self.unanswered:,} rows are not in the log and were left out." if self.unanswered else ""
        return f"{first}: {basis}.{more}{gone}"


def read_labelled(file: Path, columns: dict[str, str] | None = None) -> list[Example]:
    """The rows of a file with inputs and right answers. `columns` name input and output where they are not guessed.

    Raises `DataError` for a file that cannot be read, and where no row has both.
    """
    table = read_table(file)
    guess = guess_mapping(table)
    mapping = Mapping(**{**guess.model_dump(), **(columns or {})}) if columns else guess
    if not mapping.output:
        raise DataError(
            f"{file.name} has one column, {mapping.input!r}, and no right answers.",
            hint="Add a column with the answer that each row should have got.",
        )
    return read_examples(table, mapping)


def score_labelled(run: RunFolder, rows: Sequence[Example], ask: Ask | None = None, file: str = "") -> Labelled:
    """Score labelled rows, and keep the outcome in the run.

    An input's last logged answer counts; one that failed counts as no answer. Rows that were never asked go to `ask`.
    Raises `RunError` where the run has no report, and `DataError` where no row has an answer.
    """
    report, log = run.report(), RequestLog(run)
    if report is None:
        raise RunError(f"Run {run.id} has no report to compare with.", hint="Wait until it is done, or evaluate it.")
    if report.metric not in METRICS:
        raise RunError(f"Run {run.id} was scored by {report.metric!r}, which cannot be scored here.")
    answers = {_key(request.input): request.output for request in log.requests()}
    found = [answers.get(_key(row.input)) for row in rows]
    logged = sum(answer is not None for answer in found)
    missing = [place for place, answer in enumerate(found) if answer is None]
    if ask is not None and missing:
        for place, answer in zip(missing, ask([rows[place].input for place in missing]), strict=True):
            found[place] = answer
    pairs = [(answer, row.output) for answer, row in zip(found, rows, strict=True) if answer is not None]
    if not pairs:
        raise DataError(
            f"None of the {len(rows):,} labelled rows was asked: no input of theirs is in the log.",
            hint="Label requests from the log, or serve the run and give its address, to have them asked now.",
        )
    outcome = compared(
        report.metric,
        report.tuned,
        METRICS[report.metric].score([masked(a) for a, _ in pairs], [masked(b) for _, b in pairs]),
    ).model_copy(
        update={
            "logged": logged,
            "asked": len(pairs) - logged,
            "unanswered": len(rows) - len(pairs),
            "file": file,
            "time": datetime.now(UTC),
        }
    )
    write_atomically(_file(log), outcome.model_dump_json(indent=1))
    return outcome


def kept_labelled(log: RequestLog) -> Labelled | None:
    """The last outcome, or None."""
    try:
        return Labelled.model_validate_json(_file(log).read_bytes())
    except (OSError, ValidationError):
        return None


def compared(metric: str, then: Score, now: Score) -> Labelled:
    """Two scores on different rows: the interval of their difference from those of each.

    For hits and misses, whose intervals are Wilson's, it is Newcombe's tenth (1998, https://doi.org/10.1002/(SICI)1097-
    0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I), else the same for any two (Zou & Donner 2008,
    https://doi.org/10.1002/sim.3095).
    """
    change = now.value - then.value
    low = change - math.hypot(now.value - now.low, then.high - then.value)
    high = change + math.hypot(now.high - now.value, then.value - then.low)
    verdict: Verdict = "fell" if high < 0 else "holds" if low >= -MARGIN else "cannot tell"
    return Labelled(
        metric=metric,
        then=then,
        now=now,
        low=low,
        high=high,
        verdict=verdict,
        logged=now.n,
        more=_more(then, now, change) if verdict == "cannot tell" else None,
        time=datetime.now(UTC),
    )


def _more(then: Score, now: Score, change: float) -> int | None:
    """Rows until the interval is clear of 0, or of the margin, were the change as it looks; None where the test rows
    alone are too few for that."""
    if change < -MARGIN / 2:
        room, own, other = -change, now.high - now.value, then.value - then.low
    else:
        room, own, other = change + MARGIN, now.value - now.low, then.high - then.value
    if room <= other or own == 0:
        return None
    needed = math.ceil(now.n * own**2 / (room**2 - other**2))
    return max(1, needed - now.n) if needed - now.n <= _MOST_MORE else None


def _key(text: str) -> str:
    return normal(masked(text))


def _file(log: RequestLog) -> Path:
    return log.folder / "labelled.json"
