"""Runs a command that must not outlive its starter: `python -m assistant.serving.supervise COMMAND ...`.

Owns one promise: when standard input closes, which it does however the starter ends, the command and everything it
started are ended. Works for servers that are not ours, where a parent check inside is no option.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_GRACE_SECONDS = 10


def _end(child: subprocess.Popen[bytes]) -> None:
    """Terminate the child's whole process group, then kill what is left of it."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, signum)
        except ProcessLookupError:
            return
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def main(command: list[str]) -> int:
    """The command's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal ends the app, which closes our input
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: _end(child))

    def watch() -> None:
        sys.stdin.buffer.read()
        _end(child)

    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
