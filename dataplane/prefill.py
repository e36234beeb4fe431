"""How many tokens of prompts a worker has still to compute, of those that this plane sent there.

A prompt counts from when it is sent until its answer begins. An answer that comes in one piece begins when it is all
there, long after its prompt was computed; but engines compute prompts in the order of their arrival. So an answer that
begins says that all prompts sent there before it are done, too.
"""

from __future__ import annotations

from collections import OrderedDict


class Prefills:
    """Those at one worker, in the order in which they were sent, by whoever waits for the answer."""

    __slots__ = ("_tokens", "total")

    def __init__(self) -> None:
        self._tokens: OrderedDict[object, int] = OrderedDict()
        self.total = 0
        """Tokens."""

    def sent(self, waiting: object, tokens: int) -> None:
        """Count a prompt; whoever waits for its answer waits for no other one there."""
        self._tokens[waiting] = tokens
        self.total += tokens

    def answered(self, waiting: object) -> None:
        """Know that an engine has begun an answer: its prompt and those before it are computed."""
        if waiting not in self._tokens:
            return
        first = None
        while first is not waiting:
            first, tokens = self._tokens.popitem(last=False)
            self.total -= tokens

    def ended(self, waiting: object) -> None:
        """Know that nobody waits for an answer any more, or that it was none; says nothing about other prompts."""
        self.total -= self._tokens.pop(waiting, 0)
