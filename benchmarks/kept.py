"""What a benchmark has measured so far, on disk, so that a run that was interrupted goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainers.paths import write_atomically


class Kept:
    """A JSON file of what was measured, by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str) -> Any:
        return self._found.get(name)

    def put(self, name: str, value: Any) -> None:
        self._found[name] = value
        write_atomically(self._path, json.dumps(self._found))
