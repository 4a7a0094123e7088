"""A vLLM that somebody else runs, by its URL. Owns looking at what it serves; refuses to start or stop it.

Adapters are loaded on it where it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora, and can read
our folders; they are taken away again when we leave.
"""

from __future__ import annotations

from contextlib import suppress

from assistant.serving.endpoint import Endpoint, Holds
from assistant.serving.vllm import check_kind
from prompts.errors import EngineError
from trainers.models import LocalModel


class Attached(Endpoint):
    """A server at `url`, which ends in /v1, with this base model on it. Raises `EngineError` where it has another."""

    def __init__(self, url: str, key: str, base: LocalModel) -> None:
        self._url, self._key = url, key
        super().__init__(Holds(base.name, check=check_kind))
        served = self.models()
        bases = {name: model for name, model in served.items() if not model.get("parent")}
        ours = {base.name, base.ref, str(base.folder)}
        name = next((name for name, model in bases.items() if {name, model.get("root")} & ours), None)
        if name is None:
            raise EngineError(
                f"The server at {url} serves {', '.join(bases) or 'nothing'}, and not {base.name}.",
                hint="Choose that base model in the Task panel, or start the server on this one.",
            )
        self.holds = Holds(name, check=check_kind)

    @property
    def title(self) -> str:
        return f"vLLM at {self._url}"

    @property
    def url(self) -> str:
        return self._url

    @property
    def api_key(self) -> str:
        return self._key

    @property
    def running(self) -> bool:
        return True  # as far as we know: who asks it hears otherwise

    def _check_base(self, name: str) -> None:
        """It may be known there by another name."""

    def stop(self) -> None:
        """Take our adapters away again; the server goes on."""
        for name in self.loaded:
            with suppress(EngineError):
                self.unload(name)
