"""What a plane has for a policy that goes by the engines' caches: who holds what, and a way to read prompts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dataplane.kv.follower import KvFollower
from dataplane.kv.prompts import Prompts
from dataplane.kv.replica import Ask, Replica
from shared.kv_messages import KvPage, KvStanding, KvUpdate


class KvCaches:
    """`ask` passes a question to the control plane and returns whether it went out."""

    def __init__(self, rng: Random, ask: Callable[[Ask], bool]) -> None:
        self._follower = KvFollower(rng, ask)
        self._users: set[object] = set()
        self.prompts = Prompts()

    @property
    def replica(self) -> Replica:
        """Who holds what."""
        return self._follower.replica

    def take(self, message: KvUpdate | KvStanding | KvPage) -> None:
        """Take in what the control plane says, if a policy wants it."""
        if self._users:
            self._follower.take(message)

    def use(self, user: object, tokenizers: tuple[str, ...]) -> None:
        """Follow the engines from now on, and read prompts with these tokenizers (`[MODEL=]FOLDER`).

        `user` is the policy that wants it, one of several.
        """
        self._users.add(user)
        self.prompts.use(tokenizers)

    def forget(self, user: object) -> None:
        """Know that a policy does not want it any more; keep nothing when none does."""
        self._users.discard(user)
        if not self._users:
            self._follower.forget()
            self.prompts.use(())

    def close(self) -> None:
        """End what runs beside the event loop."""
        self.prompts.close()
