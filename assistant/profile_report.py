"""The profile of a file for the command line: as JSON for scripts, as lines for people.

Owns what is printed. Refuses to look for anything itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from prompts.versions import PromptVersion
from trainers.checks.finding import gravity, some
from trainers.data import guess_mapping
from trainers.dataset import Dataset, dataset_of
from trainers.models import resolve
from trainers.paths import Paths
from trainers.profile import DatasetProfile, profile_data
from trainers.reading import read_table
from trainers.reading.hub import fetch_dataset, is_dataset_id
from trainers.splits import Shares, Splits
from trainers.tokens import token_counter

_MARKS = {"error": "!!", "warning": "! ", "info": "- "}
_MOST_LABELS, _MOST_ROWS = 20, 10


def profile_file(
    source: str, model: str, paths: Paths, given: dict[str, str]
) -> tuple[Dataset, DatasetProfile, Splits]:
    """Read, profile and divide a file, a folder or a hub data set. `given` are the columns that the person named.

    Progress goes to stderr where that is a terminal. Raises `DataError` and, without a tokenizer, `ModelError`.
    """
    path = Path(source).expanduser()
    if not path.exists() and is_dataset_id(source):
        path = fetch_dataset(source, paths.cache / "hub", lambda line: _say(0.0, line))
    table = read_table(path)
    data = dataset_of(table, guess_mapping(table).model_copy(update=given))
    counter = token_counter(resolve(model, paths).folder)
    profile, _ = profile_data(data, PromptVersion(), counter, say=_say)
    _say(1.0, "dividing")
    splits = data.splits(Shares(), 0)
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    return data, profile, splits


def _say(done: float, what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{done:4.0%}  {what}")
        sys.stderr.flush()


def as_json(data: Dataset, profile: DatasetProfile, splits: Splits) -> dict[str, Any]:
    """The whole profile, every finding with all of its rows."""
    whole = profile.model_dump(mode="json")
    lengths = {
        "median": profile.median_tokens,
        "p95": profile.p95_tokens,
        "longest": profile.longest_tokens,
        "longest_answer": whole.pop("answer_tokens"),
        "cut_at": whole.pop("cut_at"),
        "of_each_row": whole.pop("token_lengths"),
    }
    counts = {name: len(part) for name, part in splits.parts()} | {"left_out": len(splits.left_out)}
    return {
        "file": str(data.table.path),
        "columns": list(data.table.columns),
        "mapping": data.mapping.model_dump(),
        "rows": whole.pop("rows"),
        "set_aside": list(data.table.aside_rows),
        "usable": whole.pop("usable"),
        "unanswered": len(data.unanswered),
        "splits": counts,
        "tokens": lengths,
        **whole,
    }


def as_lines(data: Dataset, profile: DatasetProfile, splits: Splits) -> list[str]:
    """What a person wants to know first."""
    parts = ", ".join(f"{len(part):,} {name}" for name, part in splits.parts())
    left = f", {len(splits.left_out):,} left out" if splits.left_out else ""
    lines = [
        f"{data.table.path.name}: {profile.rows:,} rows, {profile.usable:,} examples; {data.mapping.told}.",
        f"tokens a row: {profile.median_tokens:,} in the middle, {profile.p95_tokens:,} for 95 %, "
        f"{profile.longest_tokens:,} at most",
        f"splits: {parts}{left}",
    ]
    if profile.labels:
        counts = [f"{label} {count:,}" for label, count in profile.labels.items()]
        lines.append(f"{len(counts)} labels: {some(counts, _MOST_LABELS)}")
    if profile.languages:
        lines.append("languages: " + ", ".join(f"{name} {count:,}" for name, count in profile.languages.items()))
    for finding in sorted(profile.findings, key=gravity):
        lines.append(f"{_MARKS[finding.severity]} {finding.text} {finding.effect}")
        if finding.rows:
            lines.append(f"     rows {some(finding.rows, _MOST_ROWS)}")
        lines += [f"     {example}" for example in finding.examples[:3]]
        if finding.fix:
            lines.append(f"     to mend: {finding.fix.words}")
    return lines
