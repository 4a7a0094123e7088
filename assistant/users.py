"""Who may log in. Owns the file of names and hashed passwords; refuses to know what a user may see.

A line is a name and what scrypt makes of the password. The name `local` is that of whoever works without a login:
a user of this name finds the projects from before there was one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from prompts.errors import RunError

_NAME = re.compile(r"[\w.@+-]{1,64}")
_SHORTEST = 8
_COST = (2**15, 8, 3)  # n, r, p: 32 MB and a fifth of a second a guess


class Users:
    """The users' file. It is read at each login, so that a new user needs no restart."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, name: str, password: str) -> None:
        """Let a user in, or give them another password. Raises `RunError`."""
        if not _NAME.fullmatch(name):
            raise RunError(f"{name!r} is no user name.", hint="Use letters, digits and . _ @ + -")
        if len(password) < _SHORTEST:
            raise RunError("This password is too short.", hint=f"Use {_SHORTEST} characters or more.")
        known = self._read() if self._path.exists() else {}
        self._write({**known, name: _hashed(password, secrets.token_bytes(16), _COST)})

    def names(self) -> list[str]:
        """All who may log in. Raises `RunError` where the file cannot be read."""
        return list(self._read())

    def admits(self, name: str, password: str) -> bool:
        """Whether this is the user's password. Takes as long for a name that nobody has."""
        known = self._read()
        kept = known.get(name) or _hashed("", b"nobody", _COST)
        try:
            n, r, p, salt, _ = kept.split("$")
            again = _hashed(password, bytes.fromhex(salt), (int(n), int(r), int(p)))
        except ValueError:
            raise RunError(f"The line of {name} in {self._path} is damaged.", hint="Add the user again.") from None
        return hmac.compare_digest(kept, again) and name in known

    def _read(self) -> dict[str, str]:
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except OSError as error:
            raise RunError(
                f"The users' file {self._path} cannot be read: {error.strerror}.",
                hint="Make one: tunewright user add NAME.",
            ) from error
        return dict(line.strip().split(":", 1) for line in lines if ":" in line)

    def _write(self, users: dict[str, str]) -> None:
        """Replaced as a whole, and never readable by others."""
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.writelines(f"{name}:{kept}\n" for name, kept in users.items())
            draft.replace(self._path)
        except OSError as error:
            raise RunError(
                f"The users' file {self._path} cannot be written: {error.strerror}.",
                hint="TUNEWRIGHT_USERS says where it is.",
            ) from error


def _hashed(password: str, salt: bytes, cost: tuple[int, int, int]) -> str:
    n, r, p = cost
    key = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r)
    return f"{n}${r}${p}${salt.hex()}${key.hex()}"
