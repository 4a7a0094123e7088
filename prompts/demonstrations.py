"""Choosing solved examples to show before the input. Owns the choice; refuses to know where the rows come from."""

from __future__ import annotations

import random
from collections.abc import Sequence

from prompts.versions import Demonstration


def choose(rows: Sequence[Demonstration], count: int, seed: int = 0) -> tuple[Demonstration, ...]:
    """Up to `count` rows, drawn by `seed`: one for each distinct answer first, then any."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    first_of_each = list({row.output: row for row in reversed(shuffled)}.values())
    rest = [row for row in shuffled if row not in first_of_each]
    return tuple([*first_of_each, *rest][:count])
