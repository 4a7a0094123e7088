"""How long the profile of a file takes, how much memory, and everything that it finds.

    python -m benchmarks.profile PATH [--model FOLDER] [--rows N]

Without --model, the embedded model's tokenizer counts. --rows repeats the file's rows, each with its number, until
there are N: what the profile costs on a large file.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from prompts.versions import PromptVersion
from trainers.checks import CHECKS, run_checks
from trainers.checks.subject import Subject
from trainers.data import Mapping, guess_mapping, read_examples
from trainers.models import EMBEDDED, resolve
from trainers.paths import default_paths
from trainers.profile import DatasetProfile, profile_data
from trainers.reading import Table, read_table, table_of
from trainers.tokens import token_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--each", action="store_true", help="also time every check by itself")
    how = parser.parse_args()
    counter = token_counter(resolve(how.model, default_paths()).folder)
    started = time.perf_counter()
    table = read_table(how.path)
    mapping = guess_mapping(table)
    if how.rows:
        table = _repeated(table, mapping, how.rows)
    profile = profile_data(table, mapping, read_examples(table, mapping), PromptVersion(), counter)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{how.path}: {profile.rows:,} rows in {seconds:.1f} s, peak memory {peak:,.0f} MB")
    _tell(profile)
    if how.each:
        _time_each(table, mapping)


def _repeated(table: Table, mapping: Mapping, count: int) -> Table:
    first = list(table.rows())
    rows = [
        first[n % len(first)] | {mapping.input: f"{first[n % len(first)][mapping.input]} {n}"} for n in range(count)
    ]
    return table_of(rows, table.path)


def _tell(profile: DatasetProfile) -> None:
    print(
        f"tokens a row: median {profile.median_tokens}, 95 % {profile.p95_tokens}, longest {profile.longest_tokens}; "
        f"cut at {profile.cut_at}; languages {profile.languages}; {len(profile.labels)} labels"
    )
    for finding in profile.findings:
        print(f"\n[{finding.severity}] {finding.check}: {finding.text} {finding.effect}")
        print(f"  {len(finding.rows)} rows: {', '.join(map(str, finding.rows[:10]))}")
        for example in finding.examples[:5]:
            print(f"  {example}")
        if finding.fix:
            print(f"  fix ({finding.fix.action}): {finding.fix.words}")


def _time_each(table: Table, mapping: Mapping) -> None:
    """Once more, so that every library is loaded already."""
    subject = Subject(table=table, mapping=mapping, examples=tuple(read_examples(table, mapping)))
    for check in CHECKS:
        started = time.perf_counter()
        run_checks(subject, [check])
        print(f"  {check.__name__}: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
