"""Deterministic bits by place: the same seed and parts give the same bytes on every machine, for ever.

Laws: pure; parts are length-prefixed, so ("a", "bc") and ("ab", "c") differ; nothing else about a run goes in.
Changing this changes what every recorded history draws (`REPLAY_SEMANTICS` would have to be raised).
Who calls it: the engine, for the random streams and uuids of a branch.
"""

from __future__ import annotations

import hashlib
from typing import Final

_PERSON: Final = b"trioflow"  # separates our hashes from anybody else's of the same input


def derive(seed: str, *parts: str | int, size: int = 32) -> bytes:
    """Bytes that depend on the seed (hex, from OrchestrationStarted) and the parts, and on nothing else."""
    texts = [str(part).encode() for part in parts]
    whole = b"".join([b"%d:%b" % (len(text), text) for text in texts])
    return hashlib.blake2b(whole, digest_size=size, key=bytes.fromhex(seed)[:64], person=_PERSON).digest()
