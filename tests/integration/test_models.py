"""Many models behind one address: names that stand for models, canaries, `/v1/models`, with the official client."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from threading import Event
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.routers import Router, eventually, simulated_fleet
from tests.integration.test_explain import explain

BASE, NEW, ADAPTER = "org/base", "new", "sql-lora"
MODELS = f"""
[models]
gpt = "{BASE}"
whisper-1 = "{BASE}"
later = "nobodys"

[models.chat]
split = [{{ to = "{BASE}", weight = 1 }}, {{ to = "{NEW}", weight = 1 }}]

[models.tracks]
split = [{{ to = "{NEW}", labels = {{ track = "stable" }} }}, {{ to = "{NEW}", labels = {{ track = "canary" }} }}]

[models.lora]
parent = "{BASE}"
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A worker of the base model with an adapter, and two of the new one."""
    new = ("--model", NEW, "--max-model-len=4096", "--time-scale=0")
    with (
        simulated_fleet(tmp_path_factory.mktemp("base"), 1, "--model", BASE, "--model", ADAPTER, "--time-scale=0") as a,
        simulated_fleet(tmp_path_factory.mktemp("new"), 2, *new) as b,
    ):
        yield [*a, *b]


def write(router: Router, fleet: list[str], models: str) -> None:
    tracks = ("", "stable", "canary")
    workers = "".join(
        f'[[workers]]\nurl = "{url}"\nlabels = {{ track = "{track}" }}\n'
        for url, track in zip(fleet, tracks, strict=True)
    )
    (router.folder / "r.toml").write_text(f"expose_worker = true\n{workers}{models}")


@pytest.fixture(scope="module")
def router(fleet: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router")
    one = Router(folder, "--data-planes=2", "--config", str(folder / "r.toml"))
    write(one, fleet, MODELS)
    try:
        one.start().ready()
        # What one plane has seen is in the table that all are to have then.
        eventually(lambda: len({taken_by(one, str(number)) for number in range(10)}) == 2, "both of the new workers")
        eventually(lambda: served(one) == {BASE, NEW, ADAPTER}, "every plane to serve all models")
        yield one
    finally:
        one.close()


@pytest.fixture
def api(router: Router) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@cache
def http() -> httpx.Client:
    """A client with a new connection for each request, so that every plane gets some."""
    return httpx.Client(trust_env=False, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))


def reload(router: Router) -> dict[str, Any]:
    answer = http().post(f"http://127.0.0.1:{router.admin_port}/reload")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def served(router: Router) -> set[str] | None:
    """The models of the table that both planes have; None while one has another."""
    told = http().get(f"http://127.0.0.1:{router.admin_port}/status").json()
    tables = [told["control_plane"]["table"], *(plane["table"] for plane in told["planes"])]
    if len(tables) < 3 or any(table != tables[0] for table in tables):
        return None
    return set(told["control_plane"]["models"])


def listed(router: Router) -> dict[str, dict[str, object]]:
    entries = http().get(f"{router.url}/v1/models").json()["data"]
    return {entry["id"]: entry for entry in entries}


def ask(router: Router, model: str, *, session: str = "", request: str = "r") -> httpx.Response:
    headers = {"x-request-id": request} | ({"x-session-id": session} if session else {})
    body = {"model": model, "prompt": "x", "max_tokens": 1}
    return http().post(f"{router.url}/v1/completions", json=body, headers=headers)


def taken_by(router: Router, session: str) -> str | None:
    told: str | None = ask(router, "tracks", session=session).headers.get("x-routerctl-worker")
    return told


def test_the_list_has_models_and_names(router: Router, api: openai.OpenAI) -> None:
    names = [model.id for model in api.models.list()]
    assert names == [BASE, ADAPTER, NEW, "gpt", "whisper-1", "chat", "tracks", "lora"]
    for name in names:
        assert api.models.retrieve(name).id == name
    # As it is, too: the client above writes slashes as %2F.
    entry = http().get(f"{router.url}/v1/models/{BASE}").json()
    entries = listed(router)
    assert entry == entries[BASE]
    assert {name: (entries[name]["root"], entries[name]["max_model_len"]) for name in ("gpt", "chat")} == {
        "gpt": (BASE, 32768),
        "chat": (None, 4096),
    }
    assert entries["lora"]["parent"] == BASE
    with pytest.raises(openai.NotFoundError) as refused:
        api.models.retrieve("org/nothing")
    assert refused.value.code == "model_not_found"


def test_an_alias_is_answered_by_its_model(api: openai.OpenAI) -> None:
    stream = api.chat.completions.create(
        model="gpt", messages=[{"role": "user", "content": "Say something."}], max_tokens=3, stream=True
    )
    assert {chunk.model for chunk in stream} == {BASE}
    assert api.completions.create(model=ADAPTER, prompt="x", max_tokens=1).model == ADAPTER


def test_a_form_names_a_model(api: openai.OpenAI) -> None:
    assert api.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF" * 100)).text
    with pytest.raises(openai.NotFoundError):
        api.audio.transcriptions.create(model="whisper-9", file=("a.wav", b"RIFF" * 100))


def test_an_adapter_that_nobody_has_goes_to_a_worker_of_its_parent(router: Router, fleet: list[str]) -> None:
    answer = ask(router, "lora")
    # A vLLM with a resolver would load it.
    assert (answer.status_code, answer.headers["x-routerctl-worker"]) == (404, fleet[0])
    assert answer.json()["error"]["message"].startswith("The model `lora` does not exist.")


def test_unknown_and_not_ready(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        api.completions.create(model="gtp", prompt="x")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert "The model `gtp` does not exist." in unknown.value.message
    with pytest.raises(openai.InternalServerError) as nobody:
        api.completions.create(model="later", prompt="x")
    assert (nobody.value.status_code, nobody.value.code) == (503, "no_worker_available")
    assert nobody.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("name", ["chat", "tracks"])
def test_g_model_2_a_session_stays_on_its_arm_on_every_plane(router: Router, fleet: list[str], name: str) -> None:
    arms = set()
    for session in range(12):
        answers = [ask(router, name, session=f"s{session}") for _ in range(3)]
        assert {answer.status_code for answer in answers} == {200}
        taken = {
            answer.json()["model"] if name == "chat" else answer.headers["x-routerctl-worker"] for answer in answers
        }
        assert len(taken) == 1
        arms |= taken
    assert arms == ({BASE, NEW} if name == "chat" else set(fleet[1:]))


def test_receipts_and_figures_tell_the_arm(router: Router) -> None:
    model = ask(router, "chat", session="s1", request="why").json()["model"]
    told = explain(router, "why")
    assert f"  stands for {model} (by its session); the worker gets that name" in told.stdout.splitlines()
    receipt = http().get(f"http://127.0.0.1:{router.admin_port}/explain/why").json()
    assert receipt["model"] == "chat"
    assert receipt["arm"] == {"to": model, "labels": {}, "by": "session", "rewritten": True}

    def counted() -> float:
        text = http().get(f"http://127.0.0.1:{router.prometheus_port}/metrics").text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "routerctl_model_arm_requests_total"
            and sample.labels == {"name": "chat", "arm": model, "status": "2xx"}
        )

    eventually(lambda: counted() >= 1, "the arm's figures")


def test_models_come_and_go_with_their_workers(router: Router, fleet: list[str]) -> None:
    http().post(f"{router.url}/remove_worker", params={"url": fleet[0]}).raise_for_status()
    eventually(lambda: served(router) == {NEW}, "the base model to go")
    assert set(listed(router)) == {NEW, "chat", "tracks"}
    # The arm that is left takes all, whatever the session.
    assert {ask(router, "chat", session=str(number)).json()["model"] for number in range(6)} == {NEW}
    assert ask(router, "gpt").status_code == 503
    http().post(f"{router.url}/add_worker", params={"url": fleet[0]}).raise_for_status()
    eventually(lambda: served(router) == {BASE, NEW, ADAPTER}, "the base model to come back")
    assert {BASE, "gpt"} <= set(listed(router))
    assert ask(router, "gpt").status_code == 200


def is_answered_by(router: Router, model: str) -> bool:
    return bool(ask(router, "alias").json().get("model") == model)


def change_under_load(router: Router, fleet: list[str], times: int) -> None:
    """Give an alias another model again and again while it is asked for: no request fails."""
    stop = Event()

    def keep_asking(client: httpx.Client) -> list[tuple[int, str]]:
        got = []
        while not stop.is_set():
            body = {"model": "alias", "prompt": "x", "max_tokens": 1}
            answer = client.post("/v1/completions", json=body)
            got.append((answer.status_code, answer.json().get("model")))
        return got

    write(router, fleet, f'[models]\nalias = "{BASE}"\n')
    reload(router)
    eventually(lambda: served(router) == {BASE, NEW, ADAPTER}, "the alias on every plane")
    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=router.url, trust_env=False, timeout=30) as client:
        asked = [pool.submit(keep_asking, client) for _ in range(2)]
        try:
            for number in range(times):
                target = (NEW, BASE)[number % 2]
                write(router, fleet, f'[models]\nalias = "{target}"\n')
                assert [change["key"] for change in reload(router)["changes"]] == ["models"]
                eventually(partial(is_answered_by, router, target), "the change")
        finally:
            stop.set()
        got = [one for future in asked for one in future.result()]
    assert {status for status, _ in got} == {200}
    assert {model for _, model in got} == {BASE, NEW}


def test_g_model_1_an_alias_changes_by_reload_under_load(router: Router, fleet: list[str]) -> None:
    change_under_load(router, fleet, 2)


@pytest.mark.slow
def test_g_model_1_an_alias_changes_a_hundred_times(router: Router, fleet: list[str]) -> None:
    change_under_load(router, fleet, 100)
