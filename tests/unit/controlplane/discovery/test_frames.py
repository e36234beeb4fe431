from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.discovery.frames import MAX_MESSAGE, read_message
from controlplane.discovery.networks import Networks
from controlplane.discovery.refusals import RefusedError
from shared.transfer import Transfer

PEER = "10.0.0.9"
NCCL = {"type": "P", "http_address": "10.0.0.9:20003", "zmq_address": "10.0.0.9:21001"}
MORIIO = {
    "type": "D",
    "http_address": "10.0.0.9:20005",
    "zmq_address": "host:10.0.0.9,handshake:6301,notify:61005",
    "transfer_mode": "READ",
    "dp_size": 2,
    "tp_size": 4,
}
# Byte for byte, as msgpack-python packs it in vLLM.
PACKED = b"\x83\xa4type\xa1P\xachttp_address\xae10.0.0.9:20003\xabzmq_address\xae10.0.0.9:21001"


def read(payload: object, peer: str = PEER, *allowed: str) -> object:
    data = payload if isinstance(payload, bytes) else msgspec.msgpack.encode(payload)
    return read_message(data, peer, Networks(allowed))


def reason(payload: object, peer: str = PEER, *allowed: str) -> str:
    with pytest.raises(RefusedError) as caught:
        read(payload, peer, *allowed)
    assert str(caught.value).isprintable()
    return caught.value.reason


def test_p2pnccl_registers_prefill_and_decode() -> None:
    found = read_message(PACKED, PEER, Networks())
    assert found != "hello"
    assert found.ids(1) == ("http://10.0.0.9:20003",)
    assert found.announced.attributes.role == "prefill"
    assert found.announced.transfer == Transfer(connector="nccl", address="10.0.0.9:21001")
    # It does not tell its ranks: what the router is told counts.
    assert found.ids(2) == ("http://10.0.0.9:20003@0", "http://10.0.0.9:20003@1")


def test_moriio_registers_with_sizes_and_mode() -> None:
    found = read_message(msgspec.msgpack.encode(MORIIO), PEER, Networks())
    assert found != "hello"
    assert found.announced.attributes.role == "decode"
    assert found.announced.transfer == Transfer(
        connector="moriio",
        address="host:10.0.0.9,handshake:6301,notify:61005",
        mode="read",
        dp_size=2,
        tp_size=4,
    )
    assert found.ids(1) == ("http://10.0.0.9:20005@0", "http://10.0.0.9:20005@1")


def test_hello_says_nothing() -> None:
    assert read({"type": "HELLO"}) == "hello"


def test_what_is_not_known_is_left_alone() -> None:
    assert read({**NCCL, "kv_port": 7, "more": {"a": [1]}}) == read(NCCL)


@pytest.mark.parametrize("address", ["[fd00::1]:8000", "fd00::1:8000"])
def test_ipv6(address: str) -> None:
    found = read_message(msgspec.msgpack.encode({**NCCL, "http_address": address}), "fd00::2", Networks())
    assert found != "hello"
    assert found.url == "http://[fd00::1]:8000"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "X"}, "type"),
        ({"type": "P\nforged line"}, "type"),
        ({"type": 1}, "malformed"),
        ({"http_address": 8000}, "malformed"),
        ({"http_address": None}, "malformed"),
        ({"zmq_address": ["10.0.0.9:1"]}, "malformed"),
        ({"http_address": ""}, "address"),
        ({"http_address": "10.0.0.9"}, "address"),
        ({"http_address": "10.0.0.9:"}, "address"),
        ({"http_address": "10.0.0.9:0"}, "address"),
        ({"http_address": "10.0.0.9:65536"}, "address"),
        ({"http_address": "10.0.0.9:+80"}, "address"),
        ({"http_address": "10.0.0.9:\uff18\uff10"}, "address"),
        ({"http_address": "http://10.0.0.9:80"}, "address"),
        ({"http_address": "10.0.0.9:80/admin"}, "address"),
        ({"http_address": "user@10.0.0.9:80"}, "address"),
        ({"http_address": "10.0.0.9\r\n:80"}, "address"),
        ({"http_address": "worker.example:80"}, "address"),
        ({"http_address": "fe80::1%eth0:80"}, "address"),
        ({"http_address": "0.0.0.0:80"}, "address"),
        ({"http_address": "127.0.0.1:80"}, "address"),
        ({"http_address": "1" * 3000 + ":80"}, "address"),
        ({"http_address": "169.254.169.254:80"}, "network"),
        ({"http_address": "8.8.8.8:80"}, "network"),
        ({"zmq_address": ""}, "address"),
        ({"zmq_address": "8.8.8.8:21001"}, "network"),
        ({"zmq_address": "10.0.0.9:21001___decode_addr_10.0.0.1:1"}, "address"),
        ({"http_address": "10.0.0.9:80", "more": "x" * MAX_MESSAGE}, "oversized"),
    ],
)
def test_a_forged_or_broken_message_counts_for_nothing(change: dict[str, object], expected: str) -> None:
    assert reason({**NCCL, **change}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"transfer_mode": "BOTH"}, "malformed"),
        ({"zmq_address": "10.0.0.9:21001"}, "address"),
        ({"zmq_address": "host:10.0.0.9,handshake:6301,notify:61005,more:1"}, "address"),
        ({"zmq_address": "host:8.8.8.8,handshake:6301,notify:61005"}, "network"),
        ({"zmq_address": "host:10.0.0.9,handshake:0,notify:61005"}, "address"),
        ({"zmq_address": "host:a_b,handshake:1,notify:2"}, "address"),
        ({"dp_size": 0}, "sizes"),
        ({"dp_size": 10_000}, "sizes"),
        ({"tp_size": -1}, "sizes"),
        ({"dp_size": "2"}, "malformed"),
        ({"dp_size": True}, "malformed"),
    ],
)
def test_moriios_fields_are_checked(change: dict[str, object], expected: str) -> None:
    assert reason({**MORIIO, **change}) == expected


def test_no_map_is_malformed() -> None:
    assert {reason(data) for data in (b"", b"\x01", b"\xc1", b"{}", PACKED[:-1], PACKED + b"\x00", [1], None)} == {
        "malformed"
    }
    deep = b"\x91" * 4000
    assert reason({"x": 1}) == "malformed"
    assert reason(deep) == "malformed"


def test_the_networks_of_the_operator_replace_the_private_ones() -> None:
    assert reason(NCCL, PEER, "10.1.0.0/16") == "network"
    public = {"type": "P", "http_address": "203.0.113.5:80", "zmq_address": "203.0.113.5:81"}
    assert reason(public, "203.0.113.5") == "network"
    assert read(public, "203.0.113.5", "203.0.113.0/24") != "hello"


def test_a_sender_on_the_routers_own_host_names_any_address_of_it() -> None:
    assert read({**NCCL, "http_address": "127.0.0.1:8000"}, "127.0.0.1") != "hello"


@pytest.mark.parametrize("peer", ["8.8.8.8", "169.254.1.1", "2001:db8::1", "", "nobody"])
def test_senders_outside_are_refused(peer: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Networks().check_sender(peer)
    assert caught.value.reason == "network"


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.9.9.9", "172.31.0.1", "100.64.0.1", "::1", "::ffff:10.0.0.1"])
def test_private_senders_are_let_in(peer: str) -> None:
    Networks().check_sender(peer)


@settings(max_examples=200)
@given(
    st.binary(max_size=200)
    | st.builds(lambda i, b: PACKED[:i] + b + PACKED[i:], st.integers(0, len(PACKED)), st.binary(max_size=4))
)
def test_whatever_the_bytes_are_they_are_read_or_refused(payload: bytes) -> None:
    try:
        found = read_message(payload, PEER, Networks())
    except RefusedError as refused:
        said = str(refused)
    else:
        said = "http://" if found == "hello" else found.url
    assert said.isprintable()


values = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.text(max_size=30), st.binary(max_size=9))


@settings(max_examples=200)
@given(st.sampled_from([NCCL, MORIIO]), st.dictionaries(st.sampled_from([*MORIIO, "x"]), values, max_size=3))
def test_whatever_the_fields_are_no_address_outside_is_named(
    base: dict[str, object], change: dict[str, object]
) -> None:
    try:
        found = read_message(msgspec.msgpack.encode({**base, **change}), PEER, Networks())
    except RefusedError:
        return
    assert found == "hello" or found.url.startswith("http://10.0.0.9:")
