"""Runs a command that must not outlive its starter: `python -m assistant.serving.supervise COMMAND ...`.

Owns one promise: when standard input closes, which it does however the starter ends, the command and everything it
started are ended; and when the command itself ends, so is everything it started. Works for servers that are not ours,
where a parent check inside is no option.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_SECONDS = 8


def _signal(group: int, signum: int) -> bool:
    """Whether there was anything left to signal. Signal 0 only asks."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    return True


def _end(group: int, seconds: float) -> None:
    """Ask a process group to end, and kill what is left of it after some seconds."""
    _signal(group, signal.SIGTERM)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not _signal(group, 0):
            return
        time.sleep(0.1)
    _signal(group, signal.SIGKILL)


def main(command: list[str]) -> int:
    """The command's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal ends the app, which closes our input
    # A session of its own: its process group holds the command and all that it starts, and nothing else.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        # Not through sys.stdin: a thread that waits in its buffer makes the interpreter abort at exit.
        while os.read(0, 4096):
            pass
        _end(child.pid, _GRACE_SECONDS)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: _signal(child.pid, signal.SIGTERM))
    code = child.wait()
    _end(child.pid, 2)  # a server killed from outside leaves its workers behind
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
