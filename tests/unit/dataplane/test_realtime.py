"""Which models a session of a client's with a key for some models may name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.client_keys import Holder
from dataplane.realtime import UNREADABLE, forbidden
from shared.client_keys import ClientKey

KEY = Holder(ClientKey(name="alice", digest=bytes(32), models=("mine", "team/*")))


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"session.update","model":"mine"}',
        b'{"type":"session.update","session":{"model":"team/small"}}',
        b'{"type":"session.update","model":null}',
        b'{"type":"session.update","session":"other"}',
        b'{"type":"input_audio_buffer.append","audio":"b3RoZXI="}',
        b'{"type":"input_audio_buffer.commit","final":true}',
        b"{}",
    ],
)
def test_what_a_key_is_for_and_what_names_nothing_goes_on(message: bytes) -> None:
    assert forbidden(message, KEY) is None


@pytest.mark.parametrize(
    ("message", "model"),
    [
        (b'{"type":"session.update","model":"other"}', "other"),
        (b'{"model":"mine","type":"x","model":"other"}', "other"),
        (b'{"type":"session\\u002eupdate","m\\u006fdel":"\\u006fther"}', "other"),
        (b'{"model":"mine","session":{"model":"other"}}', "other"),
        # vLLM takes an empty name for its own model.
        (b'{"type":"session.update","model":""}', ""),
        (b'{"type":"session.update","model":["other"]}', UNREADABLE),
        (b'{"type":"session.update","model":"other","x":NaN}', UNREADABLE),
        (b"no JSON", UNREADABLE),
        (b'[{"model":"other"}]', UNREADABLE),
        (b"[" * 100_000, UNREADABLE),
    ],
)
def test_another_model_does_not(message: bytes, model: str) -> None:
    assert forbidden(message, KEY) == model


@given(
    st.recursive(st.text() | st.none() | st.integers(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_no_message_that_names_another_model_goes_on(anything: object) -> None:
    """However it is written, and whatever else is in it."""
    said = {"anything": anything, "model": "other", "type": "session.update"}
    assert forbidden(json.dumps(said).encode(), KEY) in ("other", UNREADABLE)
    assert forbidden(json.dumps({**said, "model": "mine"}).encode(), KEY) in (None, UNREADABLE)
