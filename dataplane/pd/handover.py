"""What may become of a handoff, as pure decisions.

    step             what happened                                                next
    ---------------  -----------------------------------------------------------  -------------------------------------
    prefill          answered 2xx, and what it hands over can be used             decode with it
    prefill          answered 2xx otherwise                                       decode without it: computes the prompt
    prefill          answered that it can not take it (408, 429, 503), fallback   the whole request, elsewhere
    prefill          any other answer                                             that is the client's answer
    decode           is tried again, the handoff may have reached a worker        another prefill first
    decode           is tried again, the handoff is old                           another prefill first
    decode           answered 500 to a handoff, after at most one failure         another prefill first
    decode           of a stream says nothing for too long, at most one failure   another prefill first
    decode           is tried again otherwise                                     decode with the same one
    prefill, decode  nobody is there, or nobody could be reached, fallback        the whole request, elsewhere
    prefill, decode  any other failure                                            refuse

A handoff names blocks of a KV cache that are free for others once it was used; whoever uses it again gets other
people's blocks, and a wrong text with status 200 (seen on vLLM 0.32).
"""

from __future__ import annotations

from enum import Enum

from dataplane.retry import MOST_SILENT, NOT_RUN_STATUSES
from shared.errors import RouterError
from shared.messages import EvidenceKind

NOT_FETCHED_STATUSES = NOT_RUN_STATUSES | {500}
"""What a decode worker answers that could not fetch the KV cache, from a prefill worker that has died meanwhile."""
_FEW = 2
"""Failures after which a 500 is taken for an answer: a request that always ends so must not be made for ever."""
_NOBODY = frozenset({"no_worker_available", "workers_unreachable"})


class AfterPrefill(Enum):
    """What to do with a prefill worker's answer."""

    DECODE = "decode"
    ELSEWHERE = "elsewhere"
    ANSWER = "answer"


def after_prefill(status: int, *, may_fall_back: bool) -> AfterPrefill:
    """Return the step."""
    if 200 <= status < 300:
        return AfterPrefill.DECODE
    return AfterPrefill.ELSEWHERE if may_fall_back and status in NOT_RUN_STATUSES else AfterPrefill.ANSWER


def must_renew(*, is_sent: bool, age: float, lease: float) -> bool:
    """Whether a handoff that is `age` seconds old is of no more use."""
    return is_sent or age > lease


def not_run(*, hands_over: bool, failures: int) -> frozenset[int]:
    """Return the statuses after which a decode is tried again; `failures` of the request came before."""
    return NOT_FETCHED_STATUSES if hands_over and failures < _FEW else NOT_RUN_STATUSES


def may_begin_anew(failures: int, *, max_attempts: int) -> bool:
    """Whether there may be another pairing after a failure that is not told by a status; `failures` came before it."""
    return failures < min(_FEW, max_attempts - 1)


def is_of_link(kind: EvidenceKind, status: int, *, begun: bool) -> bool:
    """Whether a decode leg's failure may be that of the way to the prefill worker; `begun`: its answer had begun."""
    return (kind == "error-status" and status == 500) or (kind == "stalled" and not begun)


def may_go_elsewhere(error: RouterError, *, fallback: bool, silent: int) -> bool:
    """Whether a failed leg leaves room for the whole request elsewhere.

    `silent` workers closed without an answer: a request that ends engines must not go through both pools.
    """
    return fallback and error.code in _NOBODY and silent < MOST_SILENT
