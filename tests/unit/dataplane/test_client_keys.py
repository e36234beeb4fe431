"""Which key opens what: decisions over plain values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.client_keys import Holder, KeyRing, key_in
from shared.client_keys import ClientKey, digest_of, new_key
from shared.errors import RouterError
from shared.routes import route_of

KEY = b"sk-routerctl-of-alice"
CHAT, ANY, REALTIME = route_of("/v1/chat/completions"), route_of("/any/thing"), route_of("/v1/realtime")


def ring(*keys: ClientKey, now: float = 1000.0) -> KeyRing:
    return KeyRing(keys, lambda: now)


def alice(**given: object) -> ClientKey:
    return ClientKey(name="alice", digest=digest_of(KEY), **given)  # type: ignore[arg-type]


def refusal(keys: KeyRing, fields: dict[bytes, bytes]) -> RouterError:
    with pytest.raises(RouterError) as raised:
        keys.holder(fields)
    return raised.value


@pytest.mark.parametrize(
    "fields",
    [
        {b"authorization": b"Bearer " + KEY},
        {b"authorization": b"bearer  " + KEY + b" "},
        {b"x-api-key": KEY},
        {b"authorization": b"Basic eDp5", b"x-api-key": KEY},
    ],
)
def test_a_key_is_found_where_openais_and_anthropics_clients_put_it(fields: dict[bytes, bytes]) -> None:
    assert ring(alice()).holder(fields).name == "alice"


def test_a_bearer_token_counts_before_the_other_field() -> None:
    assert refusal(ring(alice()), {b"authorization": b"Bearer other", b"x-api-key": KEY}).code == "invalid_api_key"


@pytest.mark.parametrize("fields", [{}, {b"authorization": b"Bearer "}, {b"authorization": b""}, {b"x-api-key": b""}])
def test_no_key_is_told_from_a_wrong_one(fields: dict[bytes, bytes]) -> None:
    error = refusal(ring(alice()), fields)
    assert (error.status, error.code, error.challenge) == (401, "missing_api_key", "Bearer")


def test_a_wrong_key_is_refused_and_not_repeated() -> None:
    error = refusal(ring(alice()), {b"x-api-key": b"sk-wrong-one"})
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert "sk-wrong-one" not in error.message
    assert refusal(ring(), {b"x-api-key": KEY}).code == "invalid_api_key"


def test_two_hashes_that_begin_alike_are_two_keys() -> None:
    digest = digest_of(KEY)
    near = ClientKey(name="mallory", digest=digest[:16] + bytes(16))
    assert refusal(ring(near), {b"x-api-key": KEY}).code == "invalid_api_key"


def test_a_key_ends_at_its_time() -> None:
    key = alice(expires=1000.0)
    assert ring(key, now=999.9).holder({b"x-api-key": KEY}).name == "alice"
    assert refusal(ring(key, now=1000.0), {b"x-api-key": KEY}).code == "expired_api_key"


def test_a_key_is_good_for_its_models_only() -> None:
    holder = Holder(alice(models=("llama-3", "qwen-*")))
    for model in ("llama-3", "qwen-", "qwen-2-72b"):
        holder.admit(model, "POST", CHAT)
    for model in ("llama-33", "llama", "qwen", ""):
        with pytest.raises(RouterError) as raised:
            holder.admit(model, "POST", CHAT)
        assert (raised.value.status, raised.value.code, raised.value.param) == (403, "model_not_allowed", "model")


def test_what_a_request_without_a_model_does_is_not_known() -> None:
    some, everything = Holder(alice(models=("m",))), Holder(alice())
    some.admit(None, "GET", ANY)
    everything.admit(None, "POST", CHAT)
    response = route_of("/v1/responses/resp_1")
    for method, route in (("POST", ANY), ("POST", response), ("DELETE", ANY), ("POST", CHAT), ("GET", REALTIME)):
        with pytest.raises(RouterError):
            some.admit(None, method, route)


def test_who_knows_a_responses_id_may_cancel_it_as_it_may_ask_for_it() -> None:
    Holder(alice(models=("m",))).admit(None, "POST", route_of("/v1/responses/resp_1/cancel"))


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_nothing_but_the_key_opens(authorization: bytes, other: bytes) -> None:
    fields = {b"authorization": authorization, b"x-api-key": other}
    given_key = key_in(fields)
    if given_key != KEY:
        assert refusal(ring(alice()), fields).status == 401


def test_keys_are_as_random_as_they_are_said_to_be() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {len("sk-routerctl-") + 43}
