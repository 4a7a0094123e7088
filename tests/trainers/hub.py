"""A hub on this machine: as much of the Hugging Face hub's API as loading a data set asks for, from folders."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SHA = "c0ffee" * 6 + "beef"


@dataclass
class Hub:
    """What it has, and what was asked of it."""

    url: str
    folders: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    hold: threading.Event | None = None  # where there is one, no answer comes before it is set


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub at a port of its own."""
    hub = Hub("")

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Nothing: the test looks at `asked`."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer(body)

    def _answer(self, body: str = "") -> None:
        address = urlsplit(self.path)
        parts = address.path.strip("/").split("/")
        self.hub.asked.append(f"{self.command} {self.path}")
        if self.hub.hold:
            self.hub.hold.wait(60)
        if parts == ["api", "datasets"]:
            query = parse_qs(address.query)
            owner, search = query.get("author", [""])[0], query.get("search", [""])[0]
            self._json([{"id": one} for one in self.hub.folders if (owner or search) in one])
        elif parts[:2] == ["api", "datasets"]:
            self._about("/".join(parts[2:4]), parts[4:], body)
        elif parts[0] == "datasets" and parts[3:4] == ["resolve"]:
            self._file("/".join(parts[1:3]), "/".join(parts[5:]))
        else:
            self._send(404, b"")

    def _about(self, name: str, more: list[str], body: str) -> None:
        if name not in self.hub.folders:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return
        files = [_entry(self.hub.folders[name], path) for path in sorted(self.hub.folders[name].rglob("*"))]
        if more[:1] == ["tree"]:
            under = "/".join(more[2:])
            self._json([one for one in files if str(Path(one["path"]).parent) == (under or ".")])
        elif more[:1] == ["paths-info"]:
            asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
            self._json([one for one in files if one["path"] in asked])
        else:
            siblings = [{"rfilename": one["path"]} for one in files if one["type"] == "file"]
            self._json({"id": name, "sha": SHA, "siblings": siblings})

    def _file(self, name: str, place: str) -> None:
        path = self.hub.folders.get(name, Path("/nowhere")) / place
        if name in self.hub.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Repo-Commit": SHA})
        elif not path.is_file():
            code = "EntryNotFound" if name in self.hub.folders else "RepoNotFound"
            self._send(404, b"", {"X-Error-Code": code, "X-Repo-Commit": SHA})
        else:
            etag = f'"{sha1(path.read_bytes()).hexdigest()}"'
            self._send(200, path.read_bytes(), {"ETag": etag, "X-Repo-Commit": SHA})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(root: Path, path: Path) -> dict[str, Any]:
    place = path.relative_to(root).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": place, "oid": SHA, "size": 0}
    content = path.read_bytes()
    return {"type": "file", "path": place, "oid": sha1(content).hexdigest(), "size": len(content)}
