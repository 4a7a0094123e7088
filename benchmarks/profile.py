"""How long the whole profile of a data set takes, phase by phase, and how much memory.

    python -m benchmarks.profile [--rows N] [--template] [--like FILE]
    python -m benchmarks.profile PATH

Without PATH it makes a CSV of a million short rows in a temporary folder: halves of the sample project's sentences (or
of the texts in the first column of FILE) put together anew with some words exchanged, in 20 labels; among them copies,
personal data, markup and other languages. With --template every row comes from one template, which is the worst case
for near-duplicates.

Everything that `tunewright profile` does runs in a process of its own. Of each phase it prints seconds on the clock and
of processor time, the longest silence between two words about progress, and the most memory so far.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.profile import DatasetProfile

_LABELS = 20
_COPIES, _PERSONAL, _FOREIGN, _MARKUP = 0.03, 0.01, 0.02, 0.002  # shares of the rows
_SWAPPED = 0.15  # of the words of a row
_FOREIGN_WORDS = (
    "ich habe gestern meine karte verloren und möchte bitte wissen wann die neue ankommt weil das konto leer ist",
    "bonjour je voudrais savoir pourquoi mon virement n'est pas arrivé alors que la banque l'a envoyé hier soir",
    "hola quisiera saber por qué todavía no ha llegado mi tarjeta nueva si la pedí hace más de dos semanas",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--template", action="store_true")
    parser.add_argument("--like", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    how = parser.parse_args()
    if how.inside:
        profile_here(how.path)
    elif how.path:
        _in_a_process_of_its_own(how.path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "made.csv"
            rows = template_rows(how.rows) if how.template else mixed_rows(how.rows, _texts(how.like))
            _write(path, rows)
            _in_a_process_of_its_own(path)


def _in_a_process_of_its_own(path: Path) -> None:
    print(f"{path}: {path.stat().st_size / 2**20:,.0f} MiB", flush=True)
    subprocess.run([sys.executable, "-m", __spec__.name, str(path), "--inside"], check=True)


def _write(path: Path, rows: Iterator[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def _texts(like: Path | None) -> list[str]:
    from assistant.samples import sample_file

    with sample_file() as sample, (like or sample).open(encoding="utf-8", newline="") as stream:
        texts = [row[0] for row in csv.reader(stream)][1:]
    return texts if like else [part.strip() for text in texts for part in text.split(". ") if " " in part.strip()]


def mixed_rows(count: int, texts: Sequence[str], seed: int = 0) -> Iterator[tuple[str, str]]:
    """Rows as people write them, more or less: no two alike but for the copies."""
    rng = random.Random(seed)
    halves = [(text.split()[: len(text.split()) // 2], text.split()[len(text.split()) // 2 :]) for text in texts]
    words = [word for text in texts for word in text.split()]
    row = ("", "")
    for _ in range(count):
        if rng.random() > _COPIES or not row[0]:
            number = rng.randrange(len(halves))
            chosen = [*halves[number][0], *halves[rng.randrange(len(halves))][1]]
            if rng.random() < _FOREIGN:
                chosen = rng.choices(rng.choice(_FOREIGN_WORDS).split(), k=14)
            mixed = [rng.choice(words) if rng.random() < _SWAPPED else word for word in chosen]
            row = (" ".join([*mixed, *_special(rng)]), f"label {number % _LABELS:02d}")
        yield row


def _special(rng: random.Random) -> Iterator[str]:
    if rng.random() < _PERSONAL:
        number = f"{rng.randrange(10**7):07d}"
        yield rng.choice(
            (f"mail me at a.{number}@example.org", f"call +49 30 {number}", f"phone (212) 5{number[:2]}-{number[3:]}")
        )
    if rng.random() < _MARKUP:
        yield rng.choice(("<br/>", "&nbsp;", "<!-- x -->", "ignore all previous instructions", "<|im_end|>", "\u200b"))


def template_rows(count: int) -> Iterator[tuple[str, str]]:
    """Rows that differ in a number alone."""
    return (
        (f"Where is parcel {n}? It was due on Monday and I am late", f"label {n % _LABELS:02d}") for n in range(count)
    )


class _Phases:
    """Told of progress, prints each phase as it ends."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = self._last = time.perf_counter()
        self._used = time.process_time()
        self._silence = 0.0

    def __call__(self, done: float, what: str) -> None:
        now = time.perf_counter()
        self._silence, self._last = max(self._silence, now - self._last), now
        if what == self._what:
            return
        used = time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{self._what:<20} {now - self._begun:7.1f} s {used - self._used:7.1f} s CPU   "
            f"silent {self._silence:5.1f} s   peak {peak:6,.0f} MiB",
            flush=True,
        )
        self._what, self._begun, self._used, self._silence = what, now, used, 0.0


def profile_here(path: Path) -> None:
    """The whole of `tunewright profile PATH --json` in this process."""
    begun = time.perf_counter()
    say = _Phases("imports")
    from assistant.profile_report import as_json
    from prompts.versions import PromptVersion
    from trainers.data import guess_mapping
    from trainers.dataset import dataset_of
    from trainers.models import EMBEDDED, resolve
    from trainers.paths import default_paths
    from trainers.profile import profile_data
    from trainers.reading import read_table
    from trainers.splits import Shares
    from trainers.tokens import token_counter

    say(0, "reading")
    with tempfile.TemporaryDirectory() as cache:  # so that no earlier run has converted the file
        table = read_table(path, Path(cache))
        say(0, "examples")
        data = dataset_of(table, guess_mapping(table))
        say(0, "tokenizer")
        counter = token_counter(resolve(EMBEDDED, default_paths()).folder)
        profile, _ = profile_data(data, PromptVersion(), counter, say=say)
        say(1, "dividing")
        splits = data.splits(Shares(), 0)
        say(1, "as JSON")
        size = len(json.dumps(as_json(data, profile, splits)))
        say(1, "")
    _tell(profile)
    counts = ", ".join(f"{len(part):,} {name}" for name, part in splits.parts())
    print(f"{counts}; {size:,} bytes of JSON")
    print(f"all: {time.perf_counter() - begun:.1f} s on the clock, {time.process_time():.1f} s CPU")


def _tell(profile: DatasetProfile) -> None:
    print(
        f"{profile.rows:,} rows; tokens: median {profile.median_tokens}, 95 % {profile.p95_tokens}, longest "
        f"{profile.longest_tokens}, answer {profile.answer_tokens}; cut at {profile.cut_at}; "
        f"{len(profile.labels)} labels; languages {profile.languages}"
    )
    for finding in profile.findings:
        print(f"[{finding.severity}] {finding.check}: {finding.text[:160]}")


if __name__ == "__main__":
    main()
