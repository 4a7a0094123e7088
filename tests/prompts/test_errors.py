"""What a person reads when something is wrong: the message, then the hint."""

from __future__ import annotations

import pytest

from prompts import errors
from prompts.errors import DataError, TunewrightError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("It is broken.", hint="Mend it."), "It is broken. Mend it."),
        (DataError("It is broken."), "It is broken."),
    ],
)
def test_an_error_says_what_is_wrong_and_then_what_to_do(error: TunewrightError, said: str) -> None:
    assert str(error) == said


def test_every_error_is_in_the_tree_that_its_file_draws() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 7
    for kind in kinds:
        assert issubclass(kind, TunewrightError)
        assert kind.__name__ in (errors.__doc__ or "")
