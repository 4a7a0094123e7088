"""Whether the evaluation's gates catch what is wrong, and leave a healthy run alone.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.gates [--seeds 10] [--only healthy] [--again]

For each seed a tiny model (two layers, built and taught here: two tasks, some text) is trained four times: a healthy
LoRA run, one on 20 rows without a rule for 40 epochs, one at a rate that destroys what it could do, and one on answers
that say of one group what the planted pairs say of both. Each run is carried out whole, report and all. Printed are the
gates that did not pass, and for each kind how many runs were found fault with. A healthy run that any gate finds fault
with is a false alarm; "unknown" is none.

Takes about 10 s a run on two cores. What was measured is kept under the cache folder, so that a benchmark that was
interrupted goes on; `--again` forgets it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.kept import Kept
from prompts.metrics import summarize
from tests.planted import FAULTS, carried_out, levels, plan_of, teach
from trainers.paths import Paths, default_paths

KINDS = ("healthy", *FAULTS)


def measure(kept: Kept, seed: int, kinds: Sequence[str]) -> None:
    """Carry out what was not yet, all on one base, and keep the levels of all gates of each run."""
    left = [kind for kind in kinds if not kept.get(f"{kind} {seed}")]
    if not left:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = Paths(home=folder / "home", cache=default_paths().cache)
        with contextlib.redirect_stdout(io.StringIO()):
            taught = teach(folder / "taught", seed=seed)
        for kind in left:
            with contextlib.redirect_stdout(io.StringIO()):  # of the training
                run = carried_out(plan_of(kind, taught, folder, seed), paths)
            kept.put(f"{kind} {seed}", levels(run))
            print(f"{kind} {seed}: {', '.join(at_fault(levels(run))) or 'all passed'}", flush=True)


def at_fault(gates: dict[str, str]) -> list[str]:
    return [name for name, level in gates.items() if level in ("warning", "failed")]


def caught(kind: str, gates: dict[str, str]) -> bool:
    """Whether a gate that is meant for this fault found it; of a healthy run, whether any gate found fault."""
    names = at_fault(gates)
    return bool(names) if kind == "healthy" else any(name.startswith(FAULTS[kind]) for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    path = default_paths().cache / "benchmarks" / "gates.json"
    if args.again:
        path.unlink(missing_ok=True)
    kept = Kept(path)
    kinds = [args.only] if args.only else KINDS
    for seed in range(args.seeds):
        measure(kept, seed, kinds)
    for kind in kinds:
        report(kind, [kept.get(f"{kind} {seed}") for seed in range(args.seeds)])


def report(kind: str, runs: list[dict[str, str]]) -> None:
    score = summarize([float(caught(kind, gates)) for gates in runs])
    what = "false alarms" if kind == "healthy" else "caught"
    gates = sum(len(one) for one in runs) / len(runs)
    print(f"== {kind}: {what} {score}, {gates:.0f} gates a run", flush=True)


if __name__ == "__main__":
    main()
