"""A receipt: why one request went where it went, and how long each part of its way took.

A plane keeps those of its last requests (`dataplane.receipts`); `routerctl explain` shows one.
"""

from __future__ import annotations

import msgspec


class LoadReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was known of a worker's load in the moment of the choice.

    `in_flight` counts the requests of all planes there. `running`, `waiting` and `kv_usage` (0..1) are the engine's own
    figures, `age` seconds old; None when unknown.
    """

    in_flight: int
    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    age: float | None = None


class ChoiceReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate, in the order in which the policy preferred them; `score` is the policy's own."""

    worker: str
    reason: str
    score: float | None = None
    load: LoadReceipt | None = None


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that was no candidate."""

    worker: str
    reason: str


class AttemptReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """One worker that was asked, or was about to be, as `policy` chose. `leg` is `plain`, `prefill` or `decode`.

    `began` is in seconds after the request's arrival. `failed` says what went wrong, empty when it answered. `choices`
    and `left_out` are there when the choice was written down in detail (`is_detailed`), 32 of each at most. `is_again`:
    over a new connection to the worker of the attempt before, of which it is a part; nobody had to choose.
    """

    worker: str
    leg: str = "plain"
    policy: str = ""
    began: float
    failed: str = ""
    is_detailed: bool = False
    is_again: bool = False
    note: str = ""
    choices: tuple[ChoiceReceipt, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


class ArmReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a name of `[models]` stood for: the model, and the labels that its workers had to have.

    `by` is `single` (the name has one arm), `only` (no other was ready), `session`, `draw`, or `response` (that which
    the request goes on from); `rewritten`: the worker got the model's name in the body.
    """

    to: str
    labels: dict[str, str] = {}
    by: str = "single"
    rewritten: bool = False


class QueueReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """How the request waited for its turn: behind `position` others, `took` seconds where `expected` were foreseen.

    `limit` is the name of the one that had no room for it when it came; `worker:` where all of its workers were full.
    """

    position: int
    expected: float | None
    took: float
    limit: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `arrived` is Unix time; `first_byte` and `ended` are in seconds after it.

    `key` is the name of the client's key, where clients have one; `policy` is that for whole requests for the model.
    `model` is the name that the client sent; `arm` tells what it stood for, where it is one of `[models]`.
    `outcome` is `answered`, `rejected CODE` or `aborted by SIDE`; `status` is what the client got, 0 when nothing.
    `epoch` and `version` tell the table that it ended under. `trace` is the id of its trace, empty without one.
    `limit` is the name of the limit that it was over, where it was refused for that, as in `queue`.
    """

    request: str
    plane: str
    method: str
    path: str
    arrived: float
    ended: float
    outcome: str
    status: int
    policy: str
    epoch: int
    version: int
    model: str | None = None
    trace: str = ""
    arm: ArmReceipt | None = None
    key: str | None = None
    first_byte: float | None = None
    queue: QueueReceipt | None = None
    limit: str = ""
    attempts: tuple[AttemptReceipt, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
