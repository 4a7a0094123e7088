"""This machine as a host: its names and its ports. Refuses to ask the network."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from prompts.errors import RunError

_HERE = ("127.0.0.1", "localhost", "::1")


def is_here(url: str) -> bool:
    """Whether a URL's host is this machine itself: no proxy is for it, and nothing sent there leaves."""
    return urlsplit(url).hostname in _HERE


def require_free(port: int) -> None:
    """Raise `RunError` where a port of this machine is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RunError(
                f"Port {port} is in use.", hint=f"Close what uses it, or choose another with --port {port + 1}."
            ) from error
