"""What the router reads of a body and of the request's id, from clients that write odd things."""

from __future__ import annotations

import json
import random
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.peek import KV_TRANSFER, Peek, peek, request_id
from dataplane.splice import without_members
from shared.errors import RouterError

NOTHING = Peek()
NAMES = (b"x-request-id", b"x-correlation-id", b"request-id")

# json.dumps escapes lone surrogates, which are text for Python but for no decoder of UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
white_space = st.text(" \t\r\n", max_size=20)


@given(st.dictionaries(texts, values, max_size=6), texts, st.booleans(), white_space, white_space)
def test_the_model_is_read_wherever_it_stands(
    body: dict[str, object], model: str, ascii_only: bool, before: str, after: str
) -> None:
    items = [(key, value) for key, value in body.items() if key != "model"]
    items.insert(len(items) // 2, ("model", model))
    text = before + json.dumps(dict(items), ensure_ascii=ascii_only) + after
    assert peek(text.encode()).model == model


@given(st.dictionaries(texts.filter(lambda key: key != "model"), values, max_size=6))
def test_a_body_without_a_model(body: dict[str, object]) -> None:
    assert peek(json.dumps(body).encode()).model is None


@given(st.lists(texts, min_size=1, max_size=4))
def test_of_several_models_the_last_counts_as_for_the_worker(models: list[str]) -> None:
    body = "{" + ",".join(f'"model": {json.dumps(model)}' for model in models) + "}"
    assert json.loads(body)["model"] == models[-1]
    assert peek(body.encode()).model == models[-1]


@given(values)
def test_a_model_that_is_no_text_is_none(value: object) -> None:
    body = json.dumps({"model": value, "stream": True}).encode()
    assert peek(body).model == (value if isinstance(value, str) else None)


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"model":"m"}',
        b'{"model":"m","temperature":NaN}',
        b' {"seed":-Infinity, "model":"m"}',
        *(
            '{"model":"m","x":"\u00e9"}'.encode(name)
            for name in ("utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-le")
        ),
    ],
)
def test_what_vllm_takes_beyond_the_standard_is_read_too(body: bytes) -> None:
    assert json.loads(body)["model"] == "m"
    assert peek(body).model == "m"


def test_a_large_body_that_is_no_json_is_refused_and_a_large_one_that_is_other_things_is_not() -> None:
    filler = b" " * (1 << 20)
    with pytest.raises(RouterError) as refused:
        peek(b'{"model":"m","x":NaN}' + filler)
    assert (refused.value.status, refused.value.code) == (400, "unreadable_body")
    assert peek(b'{"model":"m"}' + filler).model == "m"
    assert peek(b"--boundary\r\n" + filler) == NOTHING


LARGE = {
    "text": (b'{"model":"m","prompt":"', b"x", b'"}'),
    "token ids": (b'{"model":"m","prompt":[', b"12345,", b"1]}"),
    "messages": (b'{"messages":[', b'{"role":"user","content":"how are you?"},', b'{}],"model":"m"}'),
}
"""The beginning, what comes again and again, the end."""


@pytest.mark.parametrize("kind", LARGE)
def test_g_edge_3_of_8_mb_nothing_is_made_but_what_routing_needs(kind: str) -> None:
    """All others wait for as long as that would take."""
    begin, repeated, end = LARGE[kind]
    body = begin + repeated * ((8 << 20) // len(repeated)) + end
    tracemalloc.start()
    try:
        assert peek(body).model == "m"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


PLACES = (
    '{"kv_transfer_params":%s}',
    '{"vllm_xargs":{"kv_transfer_params":%s}}',
    '{"sampling_params":{"extra_args":{"kv_transfer_params":%s}}}',
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", ["null", "{}", '{"do_remote_prefill":true}', "NaN", '"x"'])
@pytest.mark.parametrize("name", ["kv_transfer_params", "kv_transfer\\u005fparams"])
def test_orders_for_moving_kv_cache_are_seen_wherever_vllm_takes_them(place: str, value: str, name: str) -> None:
    body = (place % value).replace("kv_transfer_params", name).encode()
    assert peek(body).hands_over()
    assert not peek(without_members(body, KV_TRANSFER)).hands_over()


def test_orders_in_the_last_place_are_seen_beside_empty_ones_in_the_others() -> None:
    assert peek(b'{"vllm_xargs":{},"sampling_params":{"extra_args":{"kv_transfer_params":{}}}}').hands_over()


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"}',
        b'{"vllm_xargs":null,"sampling_params":{}}',
        b'{"vllm_xargs":5,"sampling_params":{"extra_args":[]}}',
        b'{"messages":[{"kv_transfer_params":1}],"x":"kv_transfer_params"}',
    ],
)
def test_the_name_elsewhere_is_no_order(body: bytes) -> None:
    assert not peek(body).hands_over()


@given(st.binary(max_size=80))
def test_any_bytes_at_all(body: bytes) -> None:
    assert isinstance(peek(body), Peek)


@given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
def test_any_bytes_inside_what_looks_like_json(key: bytes, model: bytes, rest: bytes) -> None:
    assert isinstance(peek(b'{"%b":1,"model":"%b",%b}' % (key, model, rest)), Peek)


@given(texts)
def test_every_character_written_as_an_escape(model: str) -> None:
    def escaped(text: str) -> str:
        units = text.encode("utf-16-be")
        return "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))

    assert peek(f'{{"{escaped("model")}": "{escaped(model)}"}}'.encode()).model == model


@pytest.mark.parametrize(
    "number",
    ["0", "-0.0", "1e400", "-1E+400", "1e-400", "123456789012345678901234567890", "0.1" + "0" * 400, "1" * 4000],
)
def test_numbers_that_fit_no_type_are_the_workers_business(number: str) -> None:
    assert peek(f'{{"seed": {number}, "model": "m"}}'.encode()).model == "m"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'[{"model":"m"}]',
        b'"model"',
        b"1",
        b'{"model":"m"',
        b'{"model":"m"} x',
        b"{'model':'m'}",
        b'{"model":"m",}',
        b'{"MODEL":"m"}',
        b'{"model ":"m"}',
        b'{"x":{"model":"m"}}',
        b'{"model":"\\ud800"}',
        b"model=m&x=1",
        b"--boundary\r\n\r\nmodel",
        b"{" * 100,
        b"\x00" * 100,
    ],
)
def test_a_body_that_is_not_such_json_says_nothing(body: bytes) -> None:
    assert peek(body) == NOTHING


def test_a_model_that_is_not_utf_8_says_nothing() -> None:
    assert peek(b'{"model":"\xff\xfe"}') == NOTHING


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
def test_what_is_nested_too_deeply_to_be_looked_into_is_refused(depth: int) -> None:
    body = b'{"messages":' + b"[" * depth + b"]" * depth + b',"model":"m"}'
    if depth < 1000:
        assert peek(body).model == "m"
    else:
        with pytest.raises(RouterError) as refused:
            peek(body)
        assert refused.value.code == "unreadable_body"


# --- the request's id ------------------------------------------------------------------------------------


def test_a_new_id_has_24_hex_digits_and_is_another_one_each_time() -> None:
    rng = random.Random(1)
    ids = {request_id({}, NAMES, rng) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(rb"[0-9a-f]{24}", name) for name in ids)


def test_a_short_draw_is_filled_up() -> None:
    class Zero(random.Random):
        def getrandbits(self, k: int, /) -> int:
            assert k == 96
            return 0

    assert request_id({}, NAMES, Zero()) == b"0" * 24


@given(st.permutations([(name, b"of " + name) for name in NAMES]), st.integers(0, 2))
def test_the_first_configured_name_wins_wherever_it_stands(headers: list[tuple[bytes, bytes]], missing: int) -> None:
    given_headers = [field for field in headers if field[0] != NAMES[missing]]
    first = next(name for name in NAMES if name != NAMES[missing])
    assert request_id(dict([(b"accept", b"x"), *given_headers]), NAMES, random.Random(1)) == b"of " + first


def test_an_empty_id_is_none() -> None:
    headers = [(b"x-request-id", b""), (b"request-id", b"mine")]
    assert request_id(dict(headers), NAMES, random.Random(1)) == b"mine"
    assert len(request_id(dict(headers[:1]), NAMES, random.Random(1))) == 24


@pytest.mark.parametrize("odd", [b"a\tb", b"caf\xc3\xa9", b"\x1b[2J", b"\xc2\x85", b"\x9b2J", b"a" * 257])
def test_an_id_that_could_harm_a_log_is_passed_over(odd: bytes) -> None:
    assert request_id({b"x-request-id": odd, b"request-id": b"mine"}, NAMES, random.Random(1)) == b"mine"
    assert re.fullmatch(rb"[0-9a-f]{24}", request_id({b"x-request-id": odd}, NAMES, random.Random(1)))


@pytest.mark.parametrize("usual", [b"a", b"a" * 256, b"00-4bf92f3577b34da6-01", b"~ !"])
def test_any_other_id_is_the_clients(usual: bytes) -> None:
    assert request_id({b"x-request-id": usual}, NAMES, random.Random(1)) == usual


def test_a_name_that_is_not_configured_is_not_used() -> None:
    assert len(request_id({b"x-request-id": b"a"}, (), random.Random(1))) == 24
    assert len(request_id({b"x-request": b"a"}, NAMES, random.Random(1))) == 24
