"""How long until the first page is there, against an empty Gradio app, pair by pair.

    python -m benchmarks.startup [--pairs 5]

Each start is a fresh process; the time runs from its start to the first answer of the page itself. The machine's speed
drifts, so the two take turns and the ratio is taken within each pair.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import httpx

_EMPTY = "import gradio as gr\nwith gr.Blocks() as b: gr.Markdown('hi')\nb.launch(server_port={port}, quiet=True)"


def seconds_until_page(command: list[str], port: int, env: dict[str, str]) -> float:
    """Start a server, wait for its page, end it."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/", timeout=5).status_code == 200:
                    return time.perf_counter() - began
            except httpx.TransportError:
                time.sleep(0.02)
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}")
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "TUNEWRIGHT_HOME": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        for number in range(pairs + 1):  # the first pair warms the disk cache and is not counted
            port = free_port()
            empty = seconds_until_page([sys.executable, "-c", _EMPTY.format(port=port)], port, env)
            port = free_port()
            ours = [sys.executable, "-m", "assistant", "app", "--no-open", "--port", str(port)]
            full = seconds_until_page(ours, port, env)
            title = f"pair {number}" if number else "warm-up"
            print(f"{title}: empty {empty:.2f} s, Tunewright {full:.2f} s, ratio {full / empty:.2f}", flush=True)
            if number:
                ratios.append(full / empty)
    print(f"median ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, n={pairs})")


if __name__ == "__main__":
    main()
