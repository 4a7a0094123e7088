"""How often the test of inputs cries wolf, and what it finds: false alarms and power on real inputs.

    python -m benchmarks.drift --data DIR [--draws 200]

DIR holds `clinc150/` or is a folder with train.jsonl of it (text, intent). A task is 40 of the 150 intents. Training
inputs and requests are disjoint rows of the same intents; shifted, a share of the requests is of the other intents,
or a quarter of the task's own intents makes up half of the requests. For each number of requests, the share of draws
with an alarm: at the first look's level, and at 5 %. Then whole histories without a shift, with all looks as a server
has them, each at its own level.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

from assistant.watching.drift import p_value
from assistant.watching.looks import block_size, level_of
from prompts.metrics import summarize

_INTENTS, _TRAINED = 40, 600
_REQUESTS = (50, 112, 253)
_MIXED = -1.0
_LOOKS = 4
_SHIFTS = (0.0, 0.1, 0.3, 1.0, _MIXED)


def _draw(rows: dict[str, list[str]], requests: int, shift: float, seed: int) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    chosen = set(rng.sample(sorted(rows), _INTENTS))
    own = [text for name in sorted(rows) if name in chosen for text in rows[name]]
    other = [text for name in sorted(rows) if name not in chosen for text in rows[name]]
    rng.shuffle(own)
    if shift == _MIXED:
        frequent = {text for name in sorted(chosen)[: _INTENTS // 4] for text in rows[name]}
        rest = own[_TRAINED:]
        first, second = ([text for text in rest if (text in frequent) == wanted] for wanted in (True, False))
        return own[:_TRAINED], first[: requests // 2] + second[: requests - requests // 2]
    moved = round(requests * shift)
    asked = own[_TRAINED : _TRAINED + requests - moved] + rng.sample(other, moved)
    return own[:_TRAINED], asked


def _history(rows: dict[str, list[str]], looks: int, seed: int) -> bool:
    """Whether any look of a server without a shift is an alarm."""
    trained, asked = _draw(rows, sum(map(block_size, range(1, looks + 1))), 0.0, seed)
    start = 0
    for look in range(1, looks + 1):
        block = asked[start : start + block_size(look)]
        start += len(block)
        if p_value(trained, block, level_of(look), seed=look) <= level_of(look):
            return True
    return False


def _rate(hits: Sequence[bool]) -> str:
    return str(summarize([float(hit) for hit in hits]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=200)
    asked = parser.parse_args()
    folder = asked.data / "clinc150" if (asked.data / "clinc150").is_dir() else asked.data
    rows: dict[str, list[str]] = {}
    for line in (folder / "train.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        rows.setdefault(row["intent"], []).append(row["text"])
    begun = time.perf_counter()
    for requests in _REQUESTS:
        for shift in _SHIFTS:
            count = asked.draws if shift == 0.0 else max(20, asked.draws // 4)
            seeds = range(1000 * requests, 1000 * requests + count)
            found = [p_value(*_draw(rows, requests, shift, seed), level_of(1), seed=seed) for seed in seeds]
            first, usual = ([p <= level for p in found] for level in (level_of(1), 0.05))
            what = "another mixture" if shift == _MIXED else f"{shift:.0%} of other intents"
            print(f"{requests:4} requests, {what}: alarm {_rate(first)}; at 5 % {_rate(usual)}", flush=True)
    histories = [_history(rows, _LOOKS, seed) for seed in range(900_000, 900_000 + asked.draws)]
    print(f"histories of {_LOOKS} looks without a shift: any alarm {_rate(histories)}")
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
