"""Clients with keys before a real router of two planes: who comes in, what workers see, when a key is refused."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from controlplane.client_keys_file import KeysFile
from shared.client_key_list import KeyEntry
from shared.client_keys import digest_of, new_key
from shared.limits import WINDOW
from tests.integration.routers import Router, eventually

CHAT = {"model": "sim-model", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
REQUESTS = 20
"""Of one key in a minute."""
PAGE = "https://page.example"


class Keys:
    """The file, and the keys that are in it."""

    def __init__(self, path: Path) -> None:
        self.file = KeysFile(path)
        self.shown: list[str] = []

    def make(self, name: str, *models: str, requests: int = 0, tokens: int = 0) -> str:
        """Make a key for these models, with so many requests and tokens per minute."""
        key = new_key()
        self.shown.append(key)
        entry = KeyEntry(
            name=name,
            sha256=digest_of(key.encode()).hex(),
            models=models or None,
            requests_per_minute=requests,
            tokens_per_minute=tokens,
        )
        self.file.add(entry)
        return key


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    keys = Keys(tmp_path_factory.mktemp("keys") / "keys.toml")
    keys.make("first")
    keys.make("few-requests", requests=REQUESTS)
    keys.make("few-tokens", tokens=5000)
    keys.make("rolled", requests=REQUESTS)
    return keys


@pytest.fixture(scope="module")
def router(fleet: list[str], keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    one = Router(
        tmp_path_factory.mktemp("router"),
        "--data-planes=2",
        f"--client-keys-file={keys.file.path}",
        f"--cors-allowed-origins={PAGE}",
        "--access-log=all",
        "--worker-urls",
        *fleet,
    )
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


def ask(router: Router, key: str | None, **headers: str) -> httpx.Response:
    """One request on a connection of its own, which the kernel gives to any plane."""
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    return httpx.post(f"{router.url}/v1/chat/completions", json=CHAT, headers=headers, trust_env=False, timeout=30)


def everywhere(router: Router, key: str, status: int) -> bool:
    """Whether requests on many connections get that status."""
    # None of 16 connections comes to one of two planes once in 30,000 times.
    return all(ask(router, key).status_code == status for _ in range(16))


def test_g_key_1_a_new_key_opens_every_plane_and_a_revoked_one_none(router: Router, keys: Keys) -> None:
    key = keys.make("visitor")
    eventually(lambda: everywhere(router, key, 200), "the new key on all planes")
    assert ask(router, None).status_code == 401
    keys.file.remove("visitor")
    eventually(lambda: everywhere(router, key, 401), "the revoked key's end on all planes")
    assert ask(router, keys.shown[0]).status_code == 200


def test_a_file_that_is_refused_stands_in_the_status_with_its_line(router: Router, keys: Keys) -> None:
    whole = keys.file.path.read_text()
    before = whole.count("[[keys]]")
    keys.file.path.write_text(whole + 'weight = "3"\n')
    line = whole.count("\n") + 1
    told = f"{keys.file.path}:{line}: weight of key {before} ("
    eventually(lambda: told in status(router)["problem"], "the fault in the status")
    assert (status(router)["state"], status(router)["keys"]) == ("refused", before)
    metrics = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", timeout=30).text
    assert "\nrouterctl_client_keys_refused 1.0\n" in metrics
    assert "\nrouterctl_config_refused 0.0\n" in metrics
    assert ask(router, keys.shown[0]).status_code == 200, "the keys before stay in use"
    keys.file.path.write_text(whole)
    eventually(lambda: status(router)["state"] == "in use", "the file in use again")


def status(router: Router) -> dict[str, Any]:
    answer = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False)
    return dict(answer.json()["client_keys"])


def test_the_clients_see_errors_that_they_know(router: Router, keys: Keys) -> None:
    few = keys.make("few", "another-model")
    eventually(lambda: everywhere(router, few, 403), "the key for another model")
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key=few, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as raised:
            client.chat.completions.create(model="sim-model", messages=[{"role": "user", "content": "x"}])
        assert raised.value.code == "model_not_allowed"
        assert [model.id for model in client.models.list()] == []
        with pytest.raises(openai.PermissionDeniedError):
            client.models.retrieve("sim-model")
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="sk-wrong").models.list()
    with anthropic.Anthropic(base_url=router.url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            client.messages.create(model="sim-model", max_tokens=1, messages=[{"role": "user", "content": "x"}])
        assert "authentication_error" in str(refused.value)
        assert [model.id for model in client.with_options(api_key=keys.shown[0]).models.list()] == ["sim-model"]


def test_a_large_request_with_a_wrong_key_gets_its_answer(router: Router) -> None:
    big = {"model": "sim-model", "prompt": "x" * 8_000_000}
    answer = httpx.post(f"{router.url}/v1/completions", json=big, trust_env=False, timeout=30)
    assert answer.status_code == 401


def test_workers_are_told_no_key_and_nothing_that_spoofs(router: Router, fleet: list[str], keys: Keys) -> None:
    spoofed = {"x-api-key": keys.shown[0], "x-forwarded-for": "198.51.100.66", "x-routerctl-worker": "spoofed"}
    assert ask(router, keys.shown[0], **spoofed).status_code == 200
    received = "".join(httpx.get(f"{url}/sim/requests", trust_env=False).text for url in fleet)
    for word in ("sk-routerctl", "198.51.100.66", "spoofed"):
        assert word not in received


def test_a_page_may_ask_when_it_is_named(router: Router, keys: Keys) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    url = f"{router.url}/v1/chat/completions"
    answer = httpx.options(url, headers={"origin": PAGE, **asks}, trust_env=False)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, PAGE)
    assert "access-control-allow-credentials" not in answer.headers
    other = httpx.options(url, headers={"origin": "https://evil.example", **asks}, trust_env=False)
    assert "access-control-allow-origin" not in other.headers
    told = ask(router, keys.shown[0], origin=PAGE)
    assert told.headers.get_list("access-control-allow-origin") == [PAGE]


def test_websockets_need_a_key_and_a_page_that_may(router: Router, keys: Keys) -> None:
    url = f"ws://127.0.0.1:{router.port}/sim/echo/socket"
    first = {"x-api-key": keys.shown[0]}
    with connect(url, additional_headers=first, compression=None) as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers=first, origin=Origin("https://evil.example"))
    assert refused.value.response.status_code == 403


def test_a_session_of_speech_may_name_no_other_model(router: Router, keys: Keys) -> None:
    some = {"x-api-key": keys.make("speaker", "sim-model")}
    eventually(lambda: everywhere(router, keys.shown[-1], 200), "the new key")
    url = f"ws://127.0.0.1:{router.port}/v1/realtime?model=sim-model"
    with connect(url, additional_headers=some, compression=None) as socket:
        assert "session.created" in str(socket.recv())
        socket.send('{"type":"session.update","model":"sim-model"}')
        socket.send('{"type":"session.update","model":"another"}')
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "model_not_allowed")


def test_g_key_1_the_name_is_in_the_figures_and_the_key_is_nowhere(router: Router, keys: Keys) -> None:
    answer = ask(router, keys.shown[0], **{"x-request-id": "of-first"})
    assert answer.status_code == 200
    eventually(lambda: "key=first" in router.errors, "the line in the access log")
    admin = f"http://127.0.0.1:{router.admin_port}"

    def receipt() -> dict[str, object]:
        return dict(json.loads(httpx.get(f"{admin}/explain/of-first", trust_env=False).text))

    eventually(lambda: receipt().get("key") == "first", "the receipt")

    def page() -> str:
        return httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text

    # Others have asked with their keys, whose figures may be there before.
    eventually(lambda: 'routerctl_client_key_requests_total{key="first",status="200"}' in page(), "the counters")
    shown = page() + router.errors + httpx.get(f"{admin}/config", trust_env=False).text
    kept = [path.read_bytes() for path in router.runtime.path.rglob("*") if path.is_file()]
    for key in keys.shown:
        assert key not in shown
        assert not any(key.encode() in content for content in kept)


def test_g_limit_3_no_more_requests_of_a_key_go_on_in_a_minute_than_it_may_and_its_clients_are_told(
    router: Router, keys: Keys
) -> None:
    key = keys.shown[1]
    began = time.monotonic()
    answers: list[httpx.Response] = []

    def all_are_used() -> bool:
        with ThreadPoolExecutor(4) as clients:
            answers.extend(clients.map(lambda _: ask(router, key), range(REQUESTS)))
        return sum(answer.status_code == 200 for answer in answers) >= REQUESTS

    eventually(all_are_used, "all requests of a minute")
    with (
        openai.OpenAI(base_url=f"{router.url}/v1", api_key=key, max_retries=0) as client,
        anthropic.Anthropic(base_url=router.url, api_key=key, max_retries=0) as other,
    ):
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="sim-model", messages=[{"role": "user", "content": "x"}])
        with pytest.raises(anthropic.RateLimitError):
            other.messages.create(model="sim-model", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    assert time.monotonic() - began < WINDOW, "too slow to tell: what was used first is free again"
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert sum(answer.status_code == 200 for answer in answers) == REQUESTS
    assert (refused.value.type, refused.value.code) == ("requests", "rate_limit_exceeded")
    headers = refused.value.response.headers
    assert headers["x-ratelimit-limit-requests"] == str(REQUESTS)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(headers["retry-after"]) <= WINDOW
    assert "x-ratelimit-limit-tokens" not in headers


@pytest.mark.slow
def test_a_rolling_restart_leaves_a_key_what_it_had_not_used(router: Router, keys: Keys) -> None:
    key, before = keys.shown[3], router.plane_pids()
    began = time.monotonic()
    assert [ask(router, key).status_code for _ in range(4)] == [200] * 4
    answer = httpx.post(f"http://127.0.0.1:{router.admin_port}/planes/restart", timeout=60, trust_env=False)
    assert answer.json()["outcome"] == "restarted"
    eventually(lambda: not router.plane_pids() & before, "the old planes' end")
    answers: list[int] = []

    def all_are_used() -> bool:
        answers.append(ask(router, key).status_code)
        return answers.count(200) == REQUESTS - 4

    eventually(all_are_used, "the rest of the minute's requests")
    assert ask(router, key).status_code == 429
    assert time.monotonic() - began < WINDOW, "too slow to tell: what was used first is free again"


def test_keys_with_a_limit_of_tokens_are_told_what_is_left_and_others_nothing(router: Router, keys: Keys) -> None:
    answer = ask(router, keys.shown[2])
    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-tokens"] == "5000"
    assert 0 <= int(answer.headers["x-ratelimit-remaining-tokens"]) < 5000
    assert not any(name.startswith("x-ratelimit") for name in ask(router, keys.shown[0]).headers)
    # It could never go on, so its client does not try again by itself.
    with (
        openai.OpenAI(base_url=f"{router.url}/v1", api_key=keys.shown[2], max_retries=2) as client,
        pytest.raises(openai.RateLimitError, match="tokens_per_minute") as refused,
    ):
        client.completions.create(model="sim-model", prompt="x", max_tokens=6000)
    assert refused.value.type == "tokens"


@pytest.mark.slow
def test_keys_come_and_go_with_a_reload(tmp_path: Path, fleet: list[str]) -> None:
    keys, config = Keys(tmp_path / "keys.toml"), tmp_path / "router.toml"
    key = keys.make("first")
    config.write_text('policy = "random"\n')

    def reload(text: str) -> None:
        config.write_text(text)
        answer = httpx.post(f"http://127.0.0.1:{one.admin_port}/reload", trust_env=False, timeout=30)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "applied"), answer.text

    one = Router(tmp_path, "--data-planes=2", f"--config={config}", "--worker-urls", *fleet, policy=None)
    try:
        one.start().ready()
        assert everywhere(one, "sk-any", 200)
        reload(f'client_keys_file = "{keys.file.path}"\n')
        assert everywhere(one, "sk-any", 401)
        assert everywhere(one, key, 200)
        reload(f'client_keys_file = "{keys.file.path}"\nslow_start_secs = 7\n')
        assert everywhere(one, key, 200)
        # The next control plane has them before a plane can ask.
        pid = one.control_plane_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: one.control_plane_pid() not in (None, pid), "the next control plane")
        assert everywhere(one, "sk-any", 401)
        assert everywhere(one, key, 200)
        eventually(lambda: is_answering(one), "its admin port")
        reload("")
        assert everywhere(one, "sk-any", 200)
    finally:
        one.close()


def is_answering(router: Router) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
