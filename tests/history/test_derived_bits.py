"""Bits derived from a seed and a place."""

from __future__ import annotations

from trioflow.history import derive

SEED = "00112233445566778899aabbccddeeff"


def test_the_same_parts_give_the_same_bytes_for_ever() -> None:
    """Golden bytes: a change here would change what every recorded history draws."""
    assert derive(SEED, "0.1", 2).hex() == GOLDEN


def test_parts_do_not_run_together() -> None:
    """Moving a character from one part to the next gives other bytes."""
    assert derive(SEED, "ab", "c") != derive(SEED, "a", "bc") != derive(SEED, "abc")


def test_seed_and_size_count() -> None:
    """Another seed gives other bytes; the size is as asked for."""
    assert derive(SEED, "x") != derive(SEED[:-1] + "0", "x")
    assert len(derive(SEED, "x", size=16)) == 16


GOLDEN = "57699198d82541f01ef63873d5767d747f3d22b44d09d1d238237dc70a87f79e"
