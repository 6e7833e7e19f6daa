"""Histories written down once and for all: what was recorded by an earlier release is read by this one.

How to add one: see `golden.py`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.golden import CODEC, FOLDER, add, decoded, lived, replay, text_of
from trioflow import errors

FILES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
GOOD = [name for name, golden in FILES.items() if "error" not in golden]
BROKEN = [name for name, golden in FILES.items() if "error" in golden]


def test_there_are_good_and_broken_ones() -> None:
    """Each says what it shows."""
    assert len(GOOD) >= 5
    assert len(BROKEN) >= 5
    assert all(golden["about"] for golden in FILES.values())


@pytest.mark.parametrize("name", GOOD)
def test_a_good_one_is_encoded_as_it_was(name: str) -> None:
    """Decoded and encoded again, every byte is where it was."""
    for row, event in zip(FILES[name]["events"], decoded(FILES[name]), strict=True):
        kind, data, payload = CODEC.encode(event)
        text = None if payload is None else payload.decode()
        assert (kind, data.decode(), text) == (row["kind"], row["data"], row["payload"])


@pytest.mark.parametrize("name", GOOD)
def test_a_good_one_is_replayed(name: str) -> None:
    """To its end, where it has one."""
    execution = replay(FILES[name])
    last = decoded(FILES[name])[-1]
    assert (execution.length, execution.ended) == (last.id, last.ends)
    execution.close()


@pytest.mark.parametrize("name", GOOD)
def test_a_good_one_would_be_written_again_as_it_is(name: str) -> None:
    """The same program, given the same at the same times, writes the same history, byte for byte."""
    assert lived(FILES[name]) == FILES[name]["events"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_rejected_with_the_exact_error(name: str) -> None:
    """As it was when it was written down, but for lines of source."""
    expected: dict[str, Any] = FILES[name]["error"]
    with pytest.raises(getattr(errors, expected["type"])) as info:
        replay(FILES[name]).close()
    assert type(info.value).__name__ == expected["type"]
    assert text_of(info.value) == expected["text"]


def test_one_is_never_overwritten() -> None:
    """What is recorded is recorded."""
    from tests.engine.driving import Driven
    from tests.engine.golden import again

    driven = Driven(again, 1)
    driven.start()
    with pytest.raises(FileExistsError):
        add(GOOD[0], driven, about="no")
