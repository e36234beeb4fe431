"""G-TRUNC-1: a worker that fails in mid-answer is seen to fail, by the official client too."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.integration.routers import Router, simulated_fleet

FAULTS: list[dict[str, object]] = [
    {"name": "die", "after_chunks": 2},
    {"name": "bad_chunk", "after_chunks": 2},
    {"name": "short_body"},
    {"name": "stall", "after_chunks": 2},
]
QUESTION: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 1, "--decode-ms=1") as urls:
        yield urls


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, fleet: list[str]) -> Iterator[Router]:
    one = Router(
        tmp_path_factory.mktemp("router"), "--data-planes=1", "--stream-idle-timeout-secs=1", "--worker-urls", *fleet
    )
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


@pytest.fixture(params=FAULTS, ids=lambda fault: str(fault["name"]))
def fault(request: pytest.FixtureRequest, fleet: list[str]) -> Iterator[dict[str, object]]:
    httpx.post(f"{fleet[0]}/sim/faults", json=request.param, trust_env=False).raise_for_status()
    yield request.param
    httpx.delete(f"{fleet[0]}/sim/faults", trust_env=False).raise_for_status()


# A stream that lacks only its last chunk is whole for this client: it reads no further than [DONE].
@pytest.mark.parametrize("fault", [one for one in FAULTS if one["name"] != "short_body"], indirect=True)
def test_g_trunc_1_the_official_client_raises(router: Router, fault: dict[str, object]) -> None:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0) as api:
        stream = api.chat.completions.create(model="sim-model", messages=QUESTION, max_tokens=20, stream=True)
        with pytest.raises(openai.APIError):
            list(stream)


def received_until_broken(answer: httpx.Response) -> bytes:
    received = b""
    try:
        for part in answer.iter_raw():
            received += part
    except httpx.RemoteProtocolError:
        return received
    raise AssertionError(f"the answer ended cleanly: {received!r}")


def test_g_trunc_1_the_stream_says_so_and_has_no_clean_end(router: Router, fault: dict[str, object]) -> None:
    body = {"model": "sim-model", "messages": QUESTION, "max_tokens": 20, "stream": True}
    with (
        httpx.Client(trust_env=False, timeout=30) as client,
        client.stream("POST", f"{router.url}/v1/chat/completions", json=body) as answer,
    ):
        received = received_until_broken(answer)
    events = received.split(b"\n\n")
    assert b'"error"' in events[-2]
    # A body that lacks only its last chunk had its [DONE]; the others stopped before.
    assert (b"[DONE]" in received) == (fault["name"] == "short_body")


def test_g_trunc_1_an_answer_that_is_not_streamed_is_never_half(router: Router, fault: dict[str, object]) -> None:
    body = {"model": "sim-model", "messages": QUESTION, "max_tokens": 20}
    with httpx.Client(trust_env=False, timeout=30) as client:
        answer = client.post(f"{router.url}/v1/chat/completions", json=body)
    if answer.status_code == 200:
        assert answer.json()["choices"]
        assert fault["name"] not in ("short_body",)
    else:
        assert answer.status_code in (502, 503, 504)
        assert answer.json()["error"]["type"] == "worker_error"
