"""The names in a ZIP archive. Owns that a damaged one is no failure; refuses to unpack anything."""

from __future__ import annotations

import zipfile
from pathlib import Path


def parts_of(path: Path) -> list[zipfile.ZipInfo]:
    """What is in an archive by its own list; nothing where that list cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return []
