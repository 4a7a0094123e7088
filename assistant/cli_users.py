"""`tunewright user`: who may log in, from the command line. Owns how a password is asked for, and nothing else."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

user = typer.Typer(help="Who may log in, where TUNEWRIGHT_USERS names a users' file.", no_args_is_help=True)


@user.callback()
def _group() -> None:
    """Without this, typer takes a single command for the whole group."""


@user.command()
def add(name: Annotated[str, typer.Argument(help="The name to log in with.")]) -> None:
    """Let a user in, or change their password; asks for it, or reads it from stdin."""
    from assistant.settings import settings_from_environment
    from assistant.users import Users

    settings = settings_from_environment()
    path = settings.users_file or settings.paths.home / "users"
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    Users(path).add(name, password)
    typer.echo(f"{name} may log in. Start the app with TUNEWRIGHT_USERS={path}; who loses their line there, is out.")
