"""What a person may set from outside. Owns reading the environment, once; everything else gets it as an argument."""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr

from prompts.errors import EngineError
from trainers.energy import NOTHING_SAID, Rates, rates_from
from trainers.paths import Paths, default_paths

EngineChoice = Literal["auto", "vllm", "embedded"]
# How a chat model is held to the schema: `native` asks for response_format json_schema, which vLLM, llama.cpp, Ollama
# and OpenAI know without special flags; `tool` needs a server that calls tools; `prompted` only asks in words.
ChatOutput = Literal["native", "tool", "prompted"]
_CHAT = "TUNEWRIGHT_CHAT_"


@dataclass(frozen=True)
class ChatModelSettings:
    """The language model that reads the chat: any OpenAI-compatible endpoint. `timeout` is for a whole turn."""

    url: str
    model: str
    key: SecretStr | None = None
    timeout: float = 30.0
    output: ChatOutput = "native"


@dataclass(frozen=True)
class Settings:
    """Folders, which engine serves, where projects are kept, who may log in, and who reads the chat.

    The engine `auto` takes vLLM where it is installed.
    Without a `database_url` projects are kept in a file; without a `users_file` everybody is the one local user.
    """

    paths: Paths
    engine: EngineChoice = "auto"
    database_url: str = field(default="", repr=False)  # may hold a password
    users_file: Path | None = None
    chat_model: ChatModelSettings | None = None  # without it, rules read the chat
    vllm_url: str = ""  # of a vLLM that somebody else runs
    vllm_key: str = field(default="none", repr=False)
    vllm_options: tuple[str, ...] = ()  # a person's own, for the vLLM that is started here
    rates: Rates = NOTHING_SAID  # grams of CO2 for a kWh, and what an hour costs

    @property
    def database(self) -> Path | str:
        """A file, or a URL."""
        return self.database_url or self.paths.database


def settings_from_environment() -> Settings:
    """Reads TUNEWRIGHT_HOME, _CACHE, _ENGINE, _USERS, _CHAT_*, _VLLM_*, _GRID_G_PER_KWH, _COST_PER_HOUR; DATABASE_URL.

    Raises `EngineError` for an unknown engine and for a server that cannot be asked, `RunError` for a wrong rate.
    """
    engine = os.environ.get("TUNEWRIGHT_ENGINE", "auto").strip().lower() or "auto"
    if engine not in get_args(EngineChoice):
        raise EngineError(f"There is no engine {engine!r}.", hint=f"Use one of: {', '.join(get_args(EngineChoice))}.")
    users = os.environ.get("TUNEWRIGHT_USERS", "").strip()
    return Settings(
        paths=default_paths(),
        engine=engine,  # type: ignore[arg-type]
        database_url=os.environ.get("DATABASE_URL", "").strip(),
        users_file=Path(users).expanduser().resolve() if users else None,
        chat_model=_chat_model(),
        vllm_url=_vllm_url(),
        vllm_key=os.environ.get("TUNEWRIGHT_VLLM_KEY", "").strip() or "none",
        vllm_options=_vllm_options(),
        rates=rates_from(os.environ),
    )


def _vllm_url() -> str:
    said = os.environ.get("TUNEWRIGHT_VLLM_URL", "").strip()
    return _checked_url(said, "TUNEWRIGHT_VLLM_") if said else ""


def _vllm_options() -> tuple[str, ...]:
    """Words as a shell would divide them: --tensor-parallel-size 2."""
    try:
        return tuple(shlex.split(os.environ.get("TUNEWRIGHT_VLLM_OPTIONS", "")))
    except ValueError as error:
        raise EngineError(f"TUNEWRIGHT_VLLM_OPTIONS cannot be read: {error}.", hint="Close its quotes.") from error


def _chat_model() -> ChatModelSettings | None:
    """TUNEWRIGHT_CHAT_URL, _MODEL, _KEY, _TIMEOUT and _OUTPUT; None where neither URL, model nor key is set."""
    said = {name: os.environ.get(_CHAT + name, "").strip() for name in ("URL", "MODEL", "KEY", "TIMEOUT", "OUTPUT")}
    if not (said["URL"] or said["MODEL"] or said["KEY"]):
        return None
    for needed in ("URL", "MODEL"):
        if not said[needed]:
            raise EngineError(
                f"The chat model's settings lack {_CHAT}{needed}.",
                hint=f"Set {_CHAT}URL and {_CHAT}MODEL, or neither and no {_CHAT}KEY.",
            )
    return ChatModelSettings(
        url=_checked_url(said["URL"], _CHAT),
        model=said["MODEL"],
        key=SecretStr(said["KEY"]) if said["KEY"] else None,
        timeout=_chat_timeout(said["TIMEOUT"]),
        output=_chat_output(said["OUTPUT"]),
    )


def _checked_url(said: str, prefix: str) -> str:
    """The URL without its last slash. What stands in a URL gets into logs, so that it may hold no secret."""
    try:
        url = urlsplit(said)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise EngineError(f"{prefix}URL is not an http(s) address.", hint="It looks like http://127.0.0.1:8000/v1.")
    if url.username or url.password or url.query or url.fragment:
        raise EngineError(
            f"{prefix}URL holds more than an address.", hint=f"Leave out user, ? and #; a key belongs in {prefix}KEY."
        )
    return said.rstrip("/")


def _chat_timeout(said: str) -> float:
    try:
        seconds = float(said or ChatModelSettings.timeout)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise EngineError(f"{_CHAT}TIMEOUT cannot be {said!r}.", hint="Give seconds, such as 30.")
    return seconds


def _chat_output(said: str) -> ChatOutput:
    output = said.lower() or ChatModelSettings.output
    if output not in get_args(ChatOutput):
        raise EngineError(f"{_CHAT}OUTPUT cannot be {said!r}.", hint=f"Use one of: {', '.join(get_args(ChatOutput))}.")
    return output  # type: ignore[return-value]
