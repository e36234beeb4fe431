"""The text a simulated model answers: a pure function of the prompt's ids.

The same prompt has the same greedy answer on every worker and in every process, which is what lets a test
compare an answer that moved between workers with one that did not. Token `i` needs no token before it, so a
stream that waits for its reader holds a counter and no text.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from . import tokenizer

_WORDS = (
    "theandforyouarenotallcanhadherwasoneouroutdaygethashimhishowmannewnowoldseetwowhoboydiditslet"
    "putsaytoosheusedadmombigredrunsuntopyesaskairbedboxcarcatdogeateggendeyefarfewflyfunhaticejobkeyten"
)
PIECES = tuple(" " + _WORDS[at : at + 3] for at in range(0, len(_WORDS), 3))
"""What one generated token reads as: plain ASCII that JSON leaves as it is."""
WIDTH = 4
"""Characters of each piece."""
IDS = tuple(tokenizer.encode(piece)[0] for piece in PIECES)

_MASK = (1 << 64) - 1
_GROUP = 64  # tokens that one hash decides, a byte each


def seed_of(prompt: Sequence[int], choice: int = 0) -> int:
    """Return the 64-bit seed of the answer to a prompt; choice 0 is the greedy one."""
    digest = blake2b(array("I", prompt).tobytes(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + choice * 0xD1342543DE82EF95) & _MASK


@lru_cache(maxsize=4096)
def _group(seed: int, group: int) -> bytes:
    """Return which words (0 to 63) the tokens group * 64 ... group * 64 + 63 are."""
    key = seed.to_bytes(8, "big") + group.to_bytes(8, "big")
    return bytes(byte & 63 for byte in blake2b(key, digest_size=_GROUP).digest())


def ranks(seed: int, start: int, stop: int) -> bytes:
    """Return which word each of the answer's tokens `start` to `stop` (excluded) is, 0 to 63."""
    first, last = start // _GROUP, (stop - 1) // _GROUP
    offset = first * _GROUP
    if first >= last:
        return _group(seed, first)[start - offset : stop - offset]
    joined = b"".join([_group(seed, group) for group in range(first, last + 1)])
    return joined[start - offset : stop - offset]


def natural_length(seed: int) -> int:
    """Return after how many tokens the answer ends by itself, when no `max_tokens` bounds it."""
    return 16 + seed % 113


def words(seed: int, start: int, stop: int) -> str:
    """Return the text of the tokens `start` to `stop` (excluded)."""
    return "".join([PIECES[rank] for rank in ranks(seed, start, stop)])


def ids(seed: int, start: int, stop: int) -> list[int]:
    """Return the ids of the tokens `start` to `stop` (excluded)."""
    return [IDS[rank] for rank in ranks(seed, start, stop)]
