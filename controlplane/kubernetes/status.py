"""How discovery of pods goes, as people are told."""

from __future__ import annotations

from typing import Literal

import msgspec

KubernetesState = Literal["starting", "following", "unreached"]


class KubernetesStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How discovery of pods goes. `age` is for how many seconds it has been in its state.

    `following`: changes come as they happen. `starting`: the API server has not been asked yet. `unreached`: it does
    not tell, for `reason`, and the workers are those that it told of last. `left_out` are workers too many.
    """

    state: KubernetesState
    age: float
    reason: str = ""
    pods: int = 0
    workers: int = 0
    left_out: int = 0
