"""How the embedded engine is started. Owns its command line; the server itself is `embedded_server`."""

from __future__ import annotations

import os

from assistant.serving.endpoint import Holds
from assistant.serving.engine import Launch
from trainers.hardware import Compute
from trainers.models import LocalModel
from trainers.paths import PYTHON


def embedded_launch(base: LocalModel, compute: Compute) -> Launch:
    """The embedded engine, Transformers and PEFT, on a base model."""

    def command(port: int) -> list[str]:
        module = [*PYTHON, "assistant.serving.embedded_server"]
        return [*module, str(base.folder), base.name, str(port), compute.model_dump_json()]

    return Launch(
        engine="embedded",
        title=f"the embedded engine ({compute.device}, {compute.dtype})",
        holds=Holds(base.name),
        command=command,
        # Threads that wait by spinning take the cores from each other where anything else runs: 10.3 instead of 4.1
        # tokens/s for SmolLM2-135M on 2 cores with one of them busy.
        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "HF_HUB_OFFLINE": "1"},
        seconds=300,
    )
