"""vLLM's MooncakeConnector (this form since 0.16): both workers are told one transfer id, and are asked at once.

- The decode worker finds the prefill worker's engine by its id, which is another one in each life and at each rank. The
  control plane asks the prefill worker's bootstrap server for it; while it is not known, the worker is in no pair.
- A wrong engine id is a 500 at once; an unknown transfer id is waited for for 480 s, so each pairing has its own.
- The prefill worker hands over only what ended by its length: it is asked to go on at the end of a text, and not told
  where to stop. Where it stopped all the same, the decode leg is closed.
- A decode worker's engine ends when a key is missing, and a worker's that is asked for the other role.
- The prefill's answer has no `kv_transfer_params`.
"""

from __future__ import annotations

from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer, first_member, one_token
from dataplane.pd.params import CUT, STOPS, ended_by_length
from dataplane.pd.picked_rank import picked_rank, rank_field
from shared.transfer import BOOTSTRAP_PORT, bootstrap_url


class Mooncake(Connector):
    """MooncakeConnector."""

    name = "mooncake"

    def order(self, prefill: Peer) -> Order:
        """Either leg may come first, so neither waits."""
        return Order.TOGETHER

    def misfit(self, prefill: Peer, decode: Peer) -> str | None:
        """Return why they can not find each other."""
        if str(prefill.rank or 0) not in prefill.transfer.engine_ids:
            return f"the bootstrap server of {prefill.id} has not told the id of its engine (GET /query)"
        return super().misfit(prefill, decode)

    def prefill(self, pairing: Pairing) -> Ask:
        """Return the body with the transfer id, for one token whatever it is."""
        order = f'{{"do_remote_decode":true,"do_remote_prefill":false,"transfer_id":"{_transfer_id(pairing)}"}}'
        body = one_token(pairing.path, pairing.body, {"kv_transfer_params": order, **CUT}, without=STOPS)
        fields = ((b"x-request-id", pairing.key.encode()), *rank_field(pairing.prefill, _engine(pairing)[0]))
        return Ask(body, fields)

    def handoff(self, answer: bytes) -> bytes | None:
        """Return nothing, which is all that is needed; None when the prefill has ended by itself."""
        return b"" if ended_by_length(answer) else None

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        """Return the client's body with where the KV cache is as its first member."""
        prefill = pairing.prefill
        address = bootstrap_url(prefill.url, prefill.transfer.bootstrap_port or BOOTSTRAP_PORT)
        order = (
            f'{{"do_remote_decode":false,"do_remote_prefill":true,"remote_bootstrap_addr":"{address}",'
            f'"remote_engine_id":"{_engine(pairing)[1]}","transfer_id":"{_transfer_id(pairing)}"}}'
        )
        body = first_member(pairing.body, "kv_transfer_params", order.encode())
        return Ask(body, ((b"x-request-id", pairing.key.encode()),))


def _transfer_id(pairing: Pairing) -> str:
    return f"xfer-{pairing.key}"


def _engine(pairing: Pairing) -> tuple[int, str]:
    """Return rank and id of the prefill worker's engine that this pairing is for."""
    prefill, engines = pairing.prefill, pairing.prefill.transfer.engine_ids
    rank = picked_rank(prefill, pairing.key, sorted(map(int, engines)))
    return rank, engines[str(rank)]
