"""Whether a server is on this machine. Owns the names of this machine; refuses to ask the network."""

from __future__ import annotations

from urllib.parse import urlsplit

_HERE = ("127.0.0.1", "localhost", "::1")


def is_here(url: str) -> bool:
    """Whether a URL's host is this machine itself: no proxy is for it, and nothing sent there leaves."""
    return urlsplit(url).hostname in _HERE
