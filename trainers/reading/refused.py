"""What people take for a table and is none: archives, pages, documents, pictures. Known by their first bytes.

Owns the list and what each should be turned into. Refuses to open any of them but to tell one archive from another.
"""

from __future__ import annotations

import re
from pathlib import Path

from trainers.reading.sink import Sink
from trainers.reading.text import decoded_head
from trainers.reading.zips import parts_of

_UNPACK = "Unpack it, and give the table that is inside."
_EXPORT = "Export the table as CSV, JSONL, Parquet or .xlsx."
_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"PK\x05\x06", "an empty ZIP archive", _EXPORT),
    (b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"%PDF", "a PDF document", _EXPORT),
    (b"{\\rtf", "an RTF document", _EXPORT),
    (b"\xd0\xcf\x11\xe0", "an old or password-protected Office file", "Save it as .xlsx without a password."),
    (b"SQLite format 3", "an SQLite database", _EXPORT),
    (b"ARROW1", "an Arrow file", "Save it as Parquet."),
    (b"\x89PNG", "a picture", _EXPORT),
    (b"\xff\xd8\xff", "a picture", _EXPORT),
    (b"GIF8", "a picture", _EXPORT),
)
_PAGE = re.compile(r"\s*(?:<!doctype\s+html|<html|<head|<body|<table|<\?xml|<!--)", re.I)


def looks(head: bytes) -> bool:
    return head.startswith(tuple(magic for magic, _, _ in _MAGIC)) or bool(_PAGE.match(decoded_head(head)))


def read(path: Path, sink: Sink) -> None:
    """Refuse the file with what it is. Always raises `DataError`."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise sink.refuse(f"is {_archive(path, what)}, not a table.", hint)
    raise sink.refuse("is a web page or XML, not a table.", "Download the data itself rather than the page around it.")


def _archive(path: Path, what: str) -> str:
    """A ZIP archive's own name, where it has one."""
    names = [part.filename for part in parts_of(path)] if "ZIP" in what else []
    kinds = {"word/": "a Word document", "ppt/": "a PowerPoint document", "content.xml": "an OpenDocument file"}
    return next((kind for start, kind in kinds.items() if any(name.startswith(start) for name in names)), what)
