"""What trials lose in invented worlds whose true scores are known, by the number of rows.

    python -m benchmarks.trials [--rows 12 16 20 24 40 100 300] [--worlds 500]

For each size: what trials cost beside everything in full; the mean regret in points, against the best run of all, of
what is advised without an expectation; of always taking what promises most; of the option that is best on average in as
many other worlds, taken without trials; and of trials that know of it (`TrialOrder.expected`), with what this gains and
its 95 % interval over the worlds. The constants of `trainers.trials.deciding` are judged by it; no model is needed, and
a world takes about 20 ms.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from tests.trainers.trial_worlds import CANDIDATES, ORDER, World
from trainers.trials.deciding import decide

_OTHERS = 10_000  # where the seeds of the worlds begin that tell what is usually best


def usually_best(rows: int, worlds: int) -> str:
    """The option with the highest mean of true scores."""
    others = [World(_OTHERS + seed, rows) for seed in range(worlds)]
    return max((one.key for one in CANDIDATES), key=lambda key: sum(world.truth[key] for world in others))


def line(rows: int, worlds: int) -> str:
    """One line of the table."""
    usual = usually_best(rows, worlds)
    expecting = ORDER.model_copy(update={"expected": usual})
    costs, lost = [], []
    for world in (World(seed, rows) for seed in range(worlds)):
        tried, _ = world.trials()
        alone, informed = (decide(order, tried, len(world.train)) for order in (ORDER, expecting))
        best = max(world.truth.values())
        lost.append([best - world.truth[key] for key in (alone.advised, alone.best, usual, informed.advised)])
        costs.append(sum(one.seconds for one in tried) / world.in_full)
    points = 100 * np.asarray(lost)
    gained = points[:, 0] - points[:, 3]
    error = 1.96 * gained.std() / worlds**0.5
    columns = "".join(f"{value:11.1f}" for value in points.mean(axis=0))
    return f"{rows:>4} {np.mean(costs):6.0%}{columns}  {gained.mean():+5.1f} +- {error:.1f}  {usual}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=int, default=[12, 16, 20, 24, 40, 100, 300])
    parser.add_argument("--worlds", type=int, default=500, help="of each size")
    args = parser.parse_args(arguments)
    names = "".join(f"{name:>11}" for name in ("trials", "promise", "usual", "expecting"))
    print(f"rows   cost{names}  gained by expecting")
    for rows in args.rows:
        print(line(rows, args.worlds), flush=True)


if __name__ == "__main__":
    main()
