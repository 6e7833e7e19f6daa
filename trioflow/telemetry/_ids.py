"""The ids of traces and spans: derived, so that every process finds the same for the same thing.

Laws: pure; never 0, which means "no id"; two things of one trace never have the same, not even where it leads through
two stores that know the same instance ids.

Who calls it: everybody here. Read next: `_pen.py`, which gives them to spans.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_PERSON: Final = b"trioflow span"  # separates our hashes from anybody else's of the same input


def trace_id_of(seed: str) -> int:
    """The trace that an execution with this seed begins, if nobody has given it one."""
    return _number(16, "trace", seed)


def root_id_of(seed: str) -> int:
    """The anchor of an execution that begins a trace: known before anybody knows its number."""
    return _number(8, "root", seed)


def span_id_of(instance: str, execution: int, *what: str | int) -> int:
    """Something of an execution; `what` also tells it from those of the same name in other stores."""
    return _number(8, "span", instance, execution, *what)


def _number(size: int, *parts: str | int) -> int:
    # As Python writes them in ASCII, which is the same for ever and tells ("a", "bc") from ("ab", "c").
    return int.from_bytes(blake2b(ascii(parts).encode(), digest_size=size, person=_PERSON).digest(), "big") or 1
