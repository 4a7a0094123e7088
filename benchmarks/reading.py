"""How long large files take to read, and how much memory: `python -m benchmarks.reading [--rows N] [--mebibytes N]`.

Makes a CSV of short rows and a JSONL of long ones in a temporary folder. Each file is read in a process of its own,
first when nothing is known of it, then mapped from the converted table; peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_READ = """
import resource, sys, time
from pathlib import Path
from trainers.reading import read_table
begun = time.perf_counter()
table = read_table(Path(sys.argv[1]), Path(sys.argv[2]))
opened = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
begun = time.perf_counter()
characters = sum(len(cell) for row in table.rows() for cell in row.values())
walked = time.perf_counter() - begun
last = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{len(table):,} rows, {len(table.aside_rows):,} set aside: open {opened:.1f} s, "
      f"peak {peak:,.0f} MiB; every row once {walked:.1f} s, peak {last:,.0f} MiB with the mapped pages")
"""


def make_csv(path: Path, rows: int) -> None:
    """Short rows, one in a hundred thousand ragged."""
    with path.open("w", encoding="utf-8") as out:
        out.write("text,label\n")
        for n in range(rows):
            out.write(f"Where is parcel {n}? It is late,{'abc'[n % 3]}{',more' if n % 100_000 == 5 else ''}\n")


def make_jsonl(path: Path, mebibytes: int) -> None:
    """Rows of about 4 KB, with nested turns."""
    turn = "The quick brown fox jumps over the lazy dog, née Straße. " * 32
    with path.open("w", encoding="utf-8") as out:
        n = 0
        while out.tell() < mebibytes << 20:
            turns = [{"role": "user", "content": f"{n} {turn}"}, {"role": "assistant", "content": turn}]
            out.write(json.dumps({"messages": turns, "id": n}, ensure_ascii=False) + "\n")
            n += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--mebibytes", type=int, default=512)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_csv(folder / "short.csv", asked.rows)
        make_jsonl(folder / "long.jsonl", asked.mebibytes)
        for path in (folder / "short.csv", folder / "long.jsonl"):
            print(f"{path.name}, {path.stat().st_size / 2**20:,.0f} MiB")
            for what in ("first time", "again"):
                command = [sys.executable, "-c", _READ, str(path), str(folder / "cache")]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                print(f"  {what}: {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
