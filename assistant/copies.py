"""A project's own copies of people's files. Owns how they are named and made; refuses to read them."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path


def own_copy(path: Path, folder: Path, stem: str) -> Path:
    """A copy of a file or folder, named also by its content; one that is there already is kept.

    The time of change comes along, by which a converted table is known again. Links in a folder lead to files that
    are there by their own name, or nowhere.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()) if path.is_dir() else [path]
    known = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            known.update(hashlib.file_digest(stream, "sha256").digest())
    copy = folder / f"{stem}-{known.hexdigest()[:8]}{path.suffix}"
    if not copy.exists():
        copy_to(path, copy)
    return copy


def copy_to(path: Path, copy: Path) -> None:
    """Copy a file or folder; the copy is there whole, or not at all."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    draft = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}.tmp")
    if path.is_dir():
        shutil.copytree(path, draft, ignore=lambda at, names: [n for n in names if (Path(at) / n).is_symlink()])
    else:
        shutil.copy2(path, draft)
    draft.rename(copy)
