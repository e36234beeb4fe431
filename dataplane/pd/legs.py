"""The two legs of a disaggregated request: what their attempts ask, and where each end goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from dataplane.leg import Message, Taker
from dataplane.pd.collector import MOST, Collector
from dataplane.retry import NOT_RUN_STATUSES
from dataplane.slot import Slot
from shared.errors import RouterError, bad_answer
from shared.messages import EvidenceKind

if TYPE_CHECKING:
    from dataplane.accounting import AbortedBy
    from dataplane.pd.transaction import Disaggregated
    from dataplane.request import Request


class PrefillLeg(Collector):
    """Takes its answer itself; none of it goes to the client."""

    __slots__ = ("_of",)

    pool: Final = "prefill"
    not_run: Final = NOT_RUN_STATUSES
    may_be_run_twice: Final = True

    def __init__(self, of: Disaggregated, method: str) -> None:
        super().__init__(method)
        self._of = of

    @property
    def client(self) -> Taker:
        """The leg itself."""
        return self

    def message(self, slot: Slot) -> Message:
        """Begin a pairing."""
        return self._of.prefill_message(slot)

    def sent(self) -> None:
        """Have the decode worker asked, if it is time."""
        self._of.prefill_sent()

    def broke(self) -> None:
        """End the pairing."""
        self._of.prefill_broke()

    def unsuited(self) -> Collection[Slot]:
        """Return those that no decode worker can take over from."""
        return self._of.link.unsuited_prefill(self._of.decode_tried())

    def why_unsuited(self) -> Mapping[str, str]:
        """Say it in words."""
        return self._of.link.why_unsuited_prefill(self._of.decode_tried())

    def is_of_worker(self, kind: EvidenceKind, status: int) -> bool:
        """Whoever can not compute a prompt has failed alone."""
        return True

    @property
    def renews(self) -> bool:
        """Whether what was asked was for one decode worker. The order to compute a prompt can be sent again."""
        return self._of.is_paired

    def renew(self) -> None:
        """Ask another one, for another pairing."""
        self._of.prefill_again()

    def leave(self) -> bool:
        """Go elsewhere rather than wait."""
        return self._of.leave()

    def answered(self) -> None:
        """Go on with the answer."""
        self._of.prefilled(self)

    def refuse(self, error: RouterError) -> None:
        """Tell that there is none."""
        self._of.prefill_failed(error)

    def truncate(self, error: RouterError, by: AbortedBy) -> None:
        """Tell that there is none: the client saw nothing of it."""
        self._of.prefill_failed(error)

    def too_large(self) -> None:
        """Tell that there is none."""
        self._of.prefill_failed(bad_answer(f"to the prompt alone is larger than {MOST} bytes"))


class DecodeLeg:
    """Its answer is the client's, but for what is the prefill worker's to say."""

    __slots__ = ("_of", "_request")

    pool: Final = "decode"
    may_be_run_twice: Final = True

    def __init__(self, of: Disaggregated, request: Request) -> None:
        self._of = of
        self._request = request

    @property
    def client(self) -> Taker:
        """What is before the client."""
        return self._of.answer

    def message(self, slot: Slot) -> Message:
        """Return what makes it go on from the prefill."""
        return self._of.decode_message(slot)

    def sent(self) -> None:
        """Do nothing: nobody waits for it but the client."""

    def broke(self) -> None:
        """End the pairing."""
        self._of.decode_broke()

    def unsuited(self) -> Collection[Slot]:
        """Return those that can not take over from the prefill worker, or have no room."""
        return self._of.link.unsuited_decode()

    def why_unsuited(self) -> Mapping[str, str]:
        """Say it in words."""
        return self._of.link.why_unsuited_decode()

    def is_of_worker(self, kind: EvidenceKind, status: int) -> bool:
        """Whether it is not the pair's failure."""
        return self._of.decode_failed_by(kind, status)

    @property
    def not_run(self) -> frozenset[int]:
        """Statuses that say that it was not run."""
        return self._of.not_run

    @property
    def renews(self) -> bool:
        """Whether it takes another prefill first."""
        return self._of.must_renew

    def renew(self) -> None:
        """Begin that."""
        self._of.renew()

    def leave(self) -> bool:
        """Go elsewhere rather than wait."""
        return self._of.leave()

    def answered(self) -> None:
        """End the request."""
        self._of.decoded()

    def refuse(self, error: RouterError) -> None:
        """Tell that there is no answer."""
        self._of.failed(error)

    def truncate(self, error: RouterError, by: AbortedBy) -> None:
        """End the request in mid-answer, or with an error if all of it was kept back."""
        if self._request.client.started:
            self._request.truncate(error, by)
        else:
            self._request.refuse(error)
