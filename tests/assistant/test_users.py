"""Who may log in, and what the file of users keeps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assistant.settings import settings_from_environment
from assistant.ui.launch import login_options
from assistant.users import Users
from prompts.errors import RunError
from trainers.paths import Paths


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "users"


def test_a_user_comes_in_with_their_own_password_only(file: Path) -> None:
    users = Users(file)
    users.add("anna", "correct horse")
    users.add("ben@example.org", "battery staple: é")
    assert users.names() == ["anna", "ben@example.org"]
    assert users.admits("anna", "correct horse")
    assert users.admits("ben@example.org", "battery staple: é")
    for name, password in [
        ("anna", "battery staple: é"), ("anna", ""), ("Anna", "correct horse"), ("", ""), ("nobody", ""),
        ("nobody", "correct horse"), ("anna:", "correct horse"),
    ]:  # fmt: skip
        assert not users.admits(name, password), (name, password)


def test_another_password_takes_the_place_of_the_first_at_once(file: Path) -> None:
    users = Users(file)
    users.add("anna", "correct horse")
    Users(file).add("anna", "battery staple")
    assert users.names() == ["anna"]
    assert users.admits("anna", "battery staple") and not users.admits("anna", "correct horse")


def test_the_file_is_nobody_elses_and_holds_no_password(file: Path) -> None:
    Users(file).add("anna", "correct horse")
    Users(file).add("ben", "correct horse")
    assert file.stat().st_mode & 0o077 == 0
    first, second = (line.split(":")[1] for line in file.read_text().splitlines())
    assert first != second and "correct horse" not in file.read_text()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "x" * 65, "a/b"])
def test_a_name_that_is_none_is_refused(file: Path, name: str) -> None:
    with pytest.raises(RunError, match="no user name"):
        Users(file).add(name, "correct horse")
    assert not file.exists()


def test_a_short_password_is_refused(file: Path) -> None:
    with pytest.raises(RunError, match="too short"):
        Users(file).add("anna", "horse")


def test_a_damaged_line_is_told_and_lets_nobody_in(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("anna:secret\n")
    with pytest.raises(RunError, match="damaged"):
        Users(file).admits("anna", "secret")


def test_without_users_nobody_is_asked_and_with_an_empty_file_nothing_starts(file: Path) -> None:
    assert login_options(None) == {}
    with pytest.raises(RunError, match="cannot be read") as caught:
        login_options(file)
    assert "tunewright user add" in caught.value.hint
    file.parent.mkdir()
    file.touch()
    with pytest.raises(RunError, match="names no user"):
        login_options(file)
    Users(file).add("anna", "correct horse")
    assert login_options(file)["auth"]("anna", "correct horse")


@pytest.mark.parametrize("named", [True, False])
def test_the_command_adds_a_user(paths: Paths, file: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    if named:
        monkeypatch.setenv("TUNEWRIGHT_USERS", str(file))
    path = file if named else paths.home / "users"
    ran = subprocess.run(
        [sys.executable, "-m", "assistant", "user", "add", "anna"],
        input="correct horse\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"TUNEWRIGHT_USERS={path}" in ran.stdout and "correct horse" not in ran.stdout + ran.stderr
    assert Users(path).admits("anna", "correct horse")


def test_the_environment_names_the_file_and_the_database(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TUNEWRIGHT_USERS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = settings_from_environment()
    assert (settings.users_file, settings.database) == (None, paths.database)
    monkeypatch.setenv("TUNEWRIGHT_USERS", "~/people")
    monkeypatch.setenv("DATABASE_URL", " postgresql://me:s3cret@host/base ")
    settings = settings_from_environment()
    assert settings.users_file == (Path.home() / "people").resolve()
    assert settings.database == "postgresql://me:s3cret@host/base"
    assert "s3cret" not in repr(settings)
