"""`python -m trainers.exporting RUN ORDER_AS_JSON`: one export in a process of its own, told as JSON lines.

Owns that process: SIGTERM and a reader that is gone both end it, with nothing half written left.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from prompts.errors import TunewrightError
from trainers.exporting.carry_out import export
from trainers.exporting.records import Order, Progress
from trainers.paths import default_paths
from trainers.status import RunFolder


def main(path: str, order: str) -> int:
    """Exit code 0 when done, 1 when refused or failed, 3 when cancelled."""

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt  # no library's `except Exception` swallows it

    signal.signal(signal.SIGTERM, on_terminate)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is for the log

    def tell(progress: Progress) -> None:
        out.write(progress.model_dump_json() + "\n")
        out.flush()

    try:
        asked = Order.model_validate_json(order)
        report = export(
            RunFolder(Path(path)),
            asked,
            default_paths(),
            lambda message, fraction: tell(Progress(message=message, fraction=fraction)),
        )
        tell(Progress(message="Done.", fraction=1.0, report=report))
    except KeyboardInterrupt:
        return 3
    except TunewrightError as error:
        tell(Progress(error=error.message, hint=error.hint))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
