"""What it spares to compute once what the rows of a batch begin with.

    python -m benchmarks.prefix [--base-model embedded] [--rows 16] [--shown 8] [--pairs 3]

The embedded engine's own generation: rows of one prompt version with solved examples, held to eight labels, plain and
with the shared start, in turn. The shared start is computed anew for the first batch of each pair, and kept for the
second, as while measuring. Prints the median seconds a batch and their ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from prompts.allowed import Allowed
from prompts.versions import Demonstration, PromptVersion
from trainers.generate import Request, generate
from trainers.hardware import choose_compute, detect
from trainers.modeling import load_base, load_tokenizer
from trainers.models import EMBEDDED, resolve
from trainers.paths import default_paths
from trainers.prefixes import Prefixes

LABELS = ("activate_card", "age_limit", "card_arrival", "change_pin", "exchange_rate", "lost_card", "top_up", "refund")
QUESTION = "I ordered a new card two weeks ago and it still has not come, can you tell me where it is now? Number {}"


class Never(Prefixes):
    """Shares nothing."""

    def shared(
        self, model: Any, encoded: Sequence[list[int]], adapter: str, named: dict[str, list[str]]
    ) -> tuple[int, Any]:
        return 0, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", default=EMBEDDED)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--shown", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    paths = default_paths()
    base, compute = resolve(args.base_model, paths), choose_compute(paths.cache)
    tokenizer, model = load_tokenizer(base.folder), load_base(base.folder, compute)
    shown = tuple(Demonstration(input=QUESTION.format(n), output=LABELS[n % 8]) for n in range(args.shown))
    prompt = PromptVersion(
        system=f"Classify the question: {', '.join(LABELS)}.", demonstrations=shown, allowed=Allowed(choices=LABELS)
    )

    def batch(prefixes: Prefixes, first: int) -> tuple[float, list[str]]:
        rows = [
            Request(prompt.messages(QUESTION.format(100 + first + n)), prompt.sampling(12)) for n in range(args.rows)
        ]
        begun = time.perf_counter()
        generate(model, tokenizer, rows, prefixes=prefixes)
        return time.perf_counter() - begun, [row.text for row in rows]

    print(f"{base.name} on {detect()}, {compute.dtype}; {args.rows} rows, {args.shown} solved examples")
    batch(Never(), 0)  # the first one warms up
    seconds: dict[str, list[float]] = {"plain": [], "shared, first batch": [], "shared, next batch": []}
    for pair in range(args.pairs):
        kept, first = Prefixes(), pair * args.rows
        plain, expected = batch(Never(), first)
        one, answers = batch(kept, first)
        another, again = batch(kept, first)
        assert answers == again == expected, "the answers differ"
        for name, took in zip(seconds, (plain, one, another), strict=True):
            seconds[name].append(took)
        print(f"pair {pair + 1}: plain {plain:.2f} s, shared {one:.2f} s, then {another:.2f} s", flush=True)
    typical = {name: median(took) for name, took in seconds.items()}
    for name, took in typical.items():
        print(f"{name:<20} {took:6.2f} s a batch, plain takes {typical['plain'] / took:.1f} times as long")


if __name__ == "__main__":
    main()
