"""How well the offline mind understands what people type, field by field.

    python -m benchmarks.interviews                                  the sets in tests/interviews
    python -m benchmarks.interviews PATH.jsonl                       any others in the same form
    python -m benchmarks.interviews --kinds                          the kind of task: words, classifier, both
    python -m benchmarks.interviews --kinds --embedded               the same, and the embedded model on 60 rows
    python -m benchmarks.interviews --wrong english                  what went wrong there, row by row

A row's `expect` names what the spec must hold (labels and fields as sets, without regard to case), `mentions` what a
free text must contain, `allow` what may be there or not. A set field that is in none of the three was said by nobody;
where a row is not from `tests/interviews` its expectations are not complete, and only the accuracy is printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant.dialogue.interview import next_question
from assistant.dialogue.mind import Context, Mind
from assistant.dialogue.offline.mind import OfflineMind
from assistant.project import Turn
from benchmarks.kinds import kinds_table
from prompts.spec import TaskSpec

SETS = Path(__file__).parent.parent / "tests" / "interviews"
OPEN = ("english", "german", "french", "spanish", "english2", "german2", "french2", "spanish2", "everyday", "everyday2")
ALL_SETS = tuple(SETS / f"{name}.jsonl" for name in (*OPEN, "heldout"))
# Not scored: the person's own words, and what is only noted from them.
_UNSCORED = {"description", "input", "output", "origins"}


@dataclass
class Tally:
    """Counts over a set: per field [right, expected], and how many of the set fields nobody had said."""

    per_field: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    set_fields: int = 0
    unsaid: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def accuracy(self) -> float:
        right, expected = (sum(counts[i] for counts in self.per_field.values()) for i in (0, 1))
        return right / expected if expected else 0.0

    @property
    def unsaid_share(self) -> float:
        return self.unsaid / self.set_fields if self.set_fields else 0.0


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def understood(turns: list[str], mind: Mind) -> tuple[TaskSpec, float]:
    """The spec after the turns, read as the chat reads them, and the slowest turn in seconds."""
    spec, asked, slowest = TaskSpec(), None, 0.0
    history: list[Turn] = []
    for text in turns:
        start = time.perf_counter()
        reading = mind.read(text, Context(spec=spec, asked=asked, history=tuple(history)))
        slowest = max(slowest, time.perf_counter() - start)
        spec = spec.updated("inferred", **reading.inferred).updated("said", **reading.said)
        history.append(Turn(role="user", text=text))
        question = next_question(spec, (), has_data=False)
        asked = question.field if question else None
    return spec, slowest


def tally(rows: list[dict[str, Any]], mind: Mind) -> Tally:
    result = Tally()
    for row in rows:
        spec, seconds = understood(row["turns"], mind)
        result.slowest = max(result.slowest, seconds)
        values = spec.model_dump()
        for name, expected in row["expect"].items():
            right = same(values[name], expected)
            _count(result, name, right, f"{row['id']} {name}: {values[name]!r}, expected {expected!r}")
        for name, part in row.get("mentions", {}).items():
            right = part in plain(values[name])
            _count(result, name, right, f"{row['id']} {name}: {values[name]!r}, should mention {part!r}")
        _count_unsaid(result, row, spec)
    return result


def _count(result: Tally, name: str, right: bool, wrong: str) -> None:
    result.per_field[name][0] += right
    result.per_field[name][1] += 1
    if not right:
        result.wrong.append(wrong)


def _count_unsaid(result: Tally, row: dict[str, Any], spec: TaskSpec) -> None:
    said = {*row["expect"], *row.get("mentions", {}), *row.get("allow", [])}
    held = {name: value for name, value in spec.known().items() if name not in _UNSCORED}
    result.set_fields += len(held)
    for name, value in held.items():
        if name not in said:
            result.unsaid += 1
            result.wrong.append(f"{row['id']} {name}: {value!r}, which nobody said")


def same(value: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return {str(v).casefold() for v in value} == {str(v).casefold() for v in expected}
    return bool(value == expected)


def plain(value: Any) -> str:
    return (" | ".join(value) if isinstance(value, tuple) else str(value)).casefold()


def report(name: str, result: Tally, *, complete: bool) -> None:
    unsaid = f", set though nobody said it {result.unsaid_share:.1%} ({result.unsaid}/{result.set_fields})"
    print(
        f"{name}: {result.accuracy:.3f} of expected fields{unsaid if complete else ''}, slowest {result.slowest:.3f} s"
    )


def per_field(results: list[Tally]) -> None:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for result in results:
        for name, (right, expected) in result.per_field.items():
            totals[name][0] += right
            totals[name][1] += expected
    for name, (right, expected) in sorted(totals.items(), key=lambda item: -item[1][1]):
        print(f"  {name:<20} {right:>4} of {expected:<4} {right / expected:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="JSONL files; default: the sets in tests/interviews")
    parser.add_argument("--wrong", metavar="SET", help="print what went wrong in this set (never in heldout)")
    parser.add_argument("--kinds", action="store_true", help="how often the kind of task is right, by who reads it")
    parser.add_argument("--embedded", action="store_true", help="with --kinds: ask the embedded model too (minutes)")
    args = parser.parse_args()
    if args.kinds:
        sets = {path.stem: read_rows(path) for path in args.paths or ALL_SETS}
        kinds_table(sets, embedded=args.embedded)
        return
    mind = OfflineMind()
    mind.read("sort mails into spam and ham", Context())  # fits the classifier
    results = []
    for path in args.paths or ALL_SETS:
        results.append(tally(read_rows(path), mind))
        report(path.stem, results[-1], complete=path.resolve().parent == SETS.resolve())
        if args.wrong == path.stem and path.stem != "heldout":
            print("\n".join(results[-1].wrong))
    per_field(results)


if __name__ == "__main__":
    main()
