"""The encoding of a text file, and the file as text.

Owns telling encodings apart: by byte order mark, by where the NULs stand, by whether it is UTF-8, then by guess.
Refuses to know what the text says. A byte that fits no reading becomes half a surrogate pair, which the sink sets
aside with its row.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from charset_normalizer import from_bytes

from trainers.reading.sink import Sink

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD, _CHUNK, _SAMPLE = 65_536, 1 << 20, 1 << 18
_CONTROL = re.compile(rb"[\x00\x02-\x06\x0e-\x1a\x1c\x7f]")
_OLDER = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "gb18030", "big5",
    "cp949",
]  # fmt: skip
_KANA, _BEYOND_ASCII = re.compile("[\u3041-\u30fe]"), re.compile("[^\x00-\x7f]")
_ESCAPED = re.compile("[\udc80-\udcff]")
SAVE_AS_UTF8 = "Save it as UTF-8."


@contextmanager
def open_text(path: Path, sink: Sink) -> Iterator[TextIO]:
    """The file as text, line ends made alike. Raises `DataError` where it is no text."""
    encoding = _encoding(path, sink)
    # UTF-16 and UTF-32 have no way to carry a bad byte on.
    errors = "strict" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    with path.open(encoding=encoding, errors=errors) as text:
        try:
            yield text
        except UnicodeDecodeError as error:
            raise sink.refuse(f"is not valid {encoding.upper()}: {error.reason}.", SAVE_AS_UTF8) from error


def decoded_head(head: bytes) -> str:
    """The first bytes as text, good enough to tell formats apart."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return head.decode(encoding, errors="ignore")
    return head.decode(_by_nuls(head) or "latin-1", errors="ignore")


def _encoding(path: Path, sink: Sink) -> str:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if by_nuls := _by_nuls(head):
        sink.note(f"Read as {by_nuls.upper()}: the file does not say its encoding.")
        return by_nuls
    if len(_CONTROL.findall(head)) > len(head) // 10:
        raise sink.refuse("is a binary file, not text.", "Give a CSV, JSON, JSONL, Parquet or Excel file.")
    good, bad, sample = _count_utf8(path)
    if bad == 0 or good > bad:
        return "utf-8"
    return _guess(sample, sink)


def _by_nuls(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: most text has NULs there at regular places."""
    length = len(head) // 4
    if length == 0 or head.count(0) < length:
        return None
    nuls = [head[offset : 4 * length : 4].count(0) / length for offset in range(4)]
    patterns = {"utf-32-le": "0111", "utf-32-be": "1110", "utf-16-le": "0101", "utf-16-be": "1010"}
    for encoding, pattern in patterns.items():
        if all(share > 0.7 if wanted == "1" else share < 0.2 for share, wanted in zip(nuls, pattern, strict=True)):
            return encoding
    return None


def _count_utf8(path: Path) -> tuple[int, int, bytes]:
    """Characters beyond ASCII that are valid UTF-8, bytes that are not, and the first lines with any of both."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good = bad = 0
    sample = b""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            if chunk.isascii() and not decoder.getstate()[0]:
                continue
            text = decoder.decode(chunk)
            wrong = len(_ESCAPED.findall(text))
            bad += wrong
            good += len(text) - len(text.encode("ascii", "ignore")) - wrong
            if len(sample) < _SAMPLE:
                sample += b"\n".join(line for line in chunk.split(b"\n") if not line.isascii())[:_SAMPLE]
    return good, bad + len(decoder.getstate()[0]), sample


def _guess(sample: bytes, sink: Sink) -> str:
    """An encoding older than Unicode: Japanese by its kana, which the detector misses, else what the detector says."""
    encoding = next((name for name in ("cp932", "euc_jp") if _has_kana(sample, name)), None) or _detected(sample)
    if encoding is None:
        raise sink.refuse("is not text in UTF-8, UTF-16 or Windows-1252, nor in another encoding.", SAVE_AS_UTF8)
    name = encoding.replace("cp12", "Windows-12")
    sink.note(f"Read as {name}, by guess: the file does not say its encoding. {SAVE_AS_UTF8}")
    return encoding


def _has_kana(sample: bytes, encoding: str) -> bool:
    text = sample.decode(encoding, errors="ignore")
    return len(_KANA.findall(text)) > 0.2 * len(_BEYOND_ASCII.findall(text))


def _detected(sample: bytes) -> str | None:
    """The likeliest of the encodings in use; Windows-1252 where nothing else is likelier."""
    matches = list(from_bytes(sample, cp_isolation=_OLDER))
    if not matches:
        return None
    best = matches[0]
    equal = [match for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence)]
    western = any("cp1252" in match.could_be_from_charset for match in equal)
    return "cp1252" if western else best.encoding
