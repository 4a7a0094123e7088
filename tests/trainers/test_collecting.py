"""The collector is back on afterwards, however often it was held back."""

from __future__ import annotations

import gc

import pytest

from trainers.collecting import no_collecting


def test_collecting_is_held_back_and_goes_on_afterwards() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="wrong"), no_collecting():
        with no_collecting():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError("wrong")
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with no_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
