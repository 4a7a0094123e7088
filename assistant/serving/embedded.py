"""How the embedded engine is started. Owns its command line; the server itself is `embedded_server`."""

from __future__ import annotations

import os
import sys

from assistant.serving.engine import Launch
from trainers.hardware import Compute
from trainers.models import LocalModel


def embedded_launch(base: LocalModel, compute: Compute) -> Launch:
    """The embedded engine, Transformers and PEFT, on a base model."""

    def command(port: int) -> list[str]:
        module = [sys.executable, "-m", "assistant.serving.embedded_server"]
        return [*module, str(base.folder), base.name, str(port), compute.model_dump_json()]

    return Launch(
        engine="embedded",
        title=f"the embedded engine ({compute.device}, {compute.dtype})",
        base_name=base.name,
        command=command,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        seconds=300,
    )
