"""What a run needs on the disk. Owns the arithmetic; whether there is room is `paths.require_free_space`' question."""

from __future__ import annotations


def disk_bytes(parameters: int, *, whole: bool) -> float:
    """What a run needs on the disk at most: of a whole model the artefact, the best and the last checkpoint, each in
    float32 and with AdamW's two moments; of an adapter a flat figure that the models in the catalogue stay under."""
    return 4.0 * parameters * (1 + 2 * 3) if whole else 500e6
