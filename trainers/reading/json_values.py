"""JSON values one after another from a text stream, so that a large document is never held whole.

Owns the buffer, the line count and the place of an error. Refuses to know what a value means.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

_CHUNK = 1 << 20
_LONGEST = 1 << 28  # characters of one value
_MARGIN = 16  # an error this near to the end of the buffer may come from its end
_SPACE = " \t\r\n"


class BadJson(ValueError):
    """What is wrong and where. `line` and `column` count from 1."""

    def __init__(self, reason: str, line: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.reason, self.line, self.column = reason, line, column


class _Decoder:
    """json, with NaN as missing, and a name that stands twice told rather than the first value lost."""

    def __init__(self) -> None:
        self.twice: str | None = None
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=lambda _: None)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            self.twice = next(name for name in names if names.count(name) > 1)
        return made


def decode(text: str) -> tuple[Any, str]:
    """A value that is a text's only one, and what speaks against taking it. Raises `BadJson`."""
    _DECODER.twice = None
    try:
        value = _DECODER.decoder.decode(text)
    except json.JSONDecodeError as error:
        raise BadJson(error.msg, error.lineno, error.colno) from error
    except RecursionError as error:
        raise BadJson("nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadJson(str(error).split(";")[0]) from error
    return value, _doubt(_DECODER)


_DECODER = _Decoder()


def _doubt(decoder: _Decoder) -> str:
    return f"names {decoder.twice!r} twice" if decoder.twice is not None else ""


class Values:
    """A cursor over a stream of JSON."""

    def __init__(self, stream: TextIO, longest: int = _LONGEST) -> None:
        self._stream = stream
        self._longest = longest
        self._text = ""
        self._at = 0
        self._ended = False
        self._decoder = _Decoder()
        self.line = 1
        self.raw = ""  # the text of the last value
        self.doubt = ""  # what speaks against taking it

    def peek(self) -> str:
        """The next character that is no space, or nothing at the end."""
        while True:
            start = self._at
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            self.line += self._text.count("\n", start, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        """Step over one character. Raises `BadJson` where it is another."""
        if self.peek() != wanted:
            raise self.bad(f"expected {wanted!r}" if self._at < len(self._text) else f"ends where {wanted!r} should be")
        self._at += 1

    def holds_objects(self) -> bool:
        """Whether the list at the cursor begins with an object. Stays where it is."""
        while True:
            inside = self._text[self._at + 1 :][:_CHUNK].lstrip(_SPACE)
            if inside or not self._more():
                return inside.startswith("{")

    def value(self) -> Any:
        """The next value. Raises `BadJson`."""
        if not self.peek():
            raise self.bad("ends too early")
        while True:
            found = self._try()
            if found is not None:
                value, end = found
                self.raw, self.doubt = self._text[self._at : end], _doubt(self._decoder)
                self.line += self.raw.count("\n")
                self._at = end
                return value

    def _try(self) -> tuple[Any, int] | None:
        """The value and where it ends, or None where more text was needed and has come."""
        self._decoder.twice = None
        try:
            value, end = self._decoder.decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _MARGIN
            if cut and self._more():
                return None
            raise self.bad(error.msg, error.pos) from error
        except RecursionError as error:
            raise self.bad("nested too deeply") from error
        except ValueError as error:
            raise self.bad(str(error).split(";")[0]) from error
        if end == len(self._text) and not isinstance(value, dict | list) and self._more():
            return None  # a number may go on
        return value, end

    def _more(self) -> bool:
        """Read on, twice as much each time, so that a long value is not tried too often."""
        left = len(self._text) - self._at
        if left > self._longest:
            raise self.bad(f"one value has more than {self._longest:,} characters")
        chunk = "" if self._ended else self._stream.read(max(_CHUNK, left))
        if not chunk:
            self._ended = True
            return False
        self._text = self._text[self._at :] + chunk
        self._at = 0
        return True

    def bad(self, reason: str, at: int | None = None) -> BadJson:
        """The error for what stands at a place of the buffer, the cursor's own if none is given."""
        place = self._at if at is None else at
        line = self.line + self._text.count("\n", self._at, place)
        return BadJson(reason, line, place - self._text.rfind("\n", 0, place))
