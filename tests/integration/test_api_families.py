"""The official clients, for every family of the API that they have, through two planes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest

from tests.integration.routers import Router, router_before, simulated_fleet

MODEL = "sim-model"
MESSAGES: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router of two planes before two workers that keep responses and take adapters."""
    folder: Path = tmp_path_factory.mktemp("families")
    with (
        simulated_fleet(folder, 2, "--time-scale=0", "--responses-store", "--enable-lora") as urls,
        router_before(folder, urls, planes=2) as router,
    ):
        yield router


@pytest.fixture
def api(served: Router) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(served: Router) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0) as client:
        yield client


# --- OpenAI's ----------------------------------------------------------------------------------------------


def test_a_response_is_told_again_and_gone_on_from_whoever_made_it(served: Router) -> None:
    """Each client is a connection of its own, so that both planes and both workers have their turns."""
    made = []
    for number in range(3):
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as api:
            made.append(api.responses.create(model=MODEL, input=f"Hello {number}", max_output_tokens=5))
    for response in made:
        assert response.output_text
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as api:
            assert api.responses.retrieve(response.id).output_text == response.output_text
            again = api.responses.create(
                model=MODEL, input="And then?", previous_response_id=response.id, max_output_tokens=5
            )
            assert again.previous_response_id == response.id


def test_a_response_in_the_background_is_cancelled_where_it_runs(api: openai.OpenAI) -> None:
    made = api.responses.create(model=MODEL, input="Hello", background=True, max_output_tokens=5)
    assert made.status == "queued"
    # At once done: what can be shown is that the right worker was asked.
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        api.responses.cancel(made.id)


def test_a_response_that_nobody_made_is_not_found(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="resp_nobody"):
        api.responses.retrieve("resp_nobody")


def test_a_stream_of_a_response_says_what_a_response_says(api: openai.OpenAI) -> None:
    whole = api.responses.create(model=MODEL, input="Hello", max_output_tokens=5).output_text
    events = list(api.responses.create(model=MODEL, input="Hello", max_output_tokens=5, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole
    (last,) = (event for event in events if event.type == "response.completed")
    assert api.responses.retrieve(last.response.id).output_text == whole


def test_speech(served: Router, api: openai.OpenAI) -> None:
    upload = ("speech.wav", bytes(64_000), "audio/wav")
    text = api.audio.transcriptions.create(model=MODEL, file=upload).text
    assert text
    # The client has them still, but says that they are deprecated.
    translation = httpx.post(
        f"{served.url}/v1/audio/translations", data={"model": MODEL}, files={"file": upload}, trust_env=False
    )
    assert translation.json()["text"] == text


def test_a_large_upload_is_held_once(served: Router) -> None:
    """20 MB through a plane: its memory grows by the upload, and not by a second copy of it."""
    size = 20 * 1024 * 1024
    planes = served.plane_pids()
    before = {}
    for pid in planes:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before[pid] = memory(pid, "VmRSS")
    answer = httpx.post(
        f"{served.url}/v1/audio/transcriptions",
        data={"model": MODEL},
        files={"file": ("speech.wav", bytes(size), "audio/wav")},
        timeout=60,
        trust_env=False,
    )
    assert answer.json()["usage"] == {"type": "duration", "seconds": -(-size // 32_000)}
    assert max(memory(pid, "VmHWM") - before[pid] for pid in planes) < 1.5 * size


def memory(pid: int, what: str) -> int:
    """What the kernel tells of a process' memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{what}:"))


def test_other_families_by_paths(api: openai.OpenAI) -> None:
    for path, body in (
        ("/chat/completions/batch", {"messages": [[{"role": "user", "content": "a"}]], "max_tokens": 2}),
        ("/rerank", {"query": "a", "documents": ["b", "c"]}),
        ("/score", {"queries": "a", "documents": ["b", "c"]}),
    ):
        assert api.post(path, body={"model": MODEL, **body}, cast_to=httpx.Response).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"prompt": "a b"}),
        ("/detokenize", {"tokens": [1, 2]}),
        ("/classify", {"input": "a"}),
        ("/pooling", {"input": "a"}),
        ("/v2/rerank", {"query": "a", "documents": ["b"]}),
        ("/inference/v1/generate", {"token_ids": [1, 2], "sampling_params": {"max_tokens": 2}}),
        ("/invocations", {"prompt": "a", "max_tokens": 2}),
    ],
)
def test_families_without_a_client(served: Router, path: str, body: dict[str, object]) -> None:
    answer = httpx.post(
        f"{served.url}{path}", json={"model": MODEL, **body}, headers={"x-correlation-id": "mine"}, trust_env=False
    )
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "mine"


def test_an_adapter_is_loaded_at_all_workers_and_then_a_model(served: Router, api: openai.OpenAI) -> None:
    adapter = {"lora_name": "sql", "lora_path": "/adapters/sql"}
    loaded = httpx.post(f"{served.url}/v1/load_lora_adapter", json=adapter, timeout=30, trust_env=False)
    assert (loaded.status_code, len(loaded.json()["done"]), loaded.json()["failed"]) == (200, 2, {})
    # On every plane, each of which gets some of many connections.
    for _ in range(8):
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as one:
            assert one.completions.create(model="sql", prompt="Hello", max_tokens=2).model == "sql"
    assert "sql" in {model.id for model in api.models.list()}
    again = httpx.post(f"{served.url}/v1/load_lora_adapter", json=adapter, timeout=30, trust_env=False)
    assert again.status_code == 502
    assert all("already been loaded" in reason for reason in again.json()["failed"].values())
    admin = f"http://127.0.0.1:{served.admin_port}/v1/unload_lora_adapter?model=sql"
    assert len(httpx.post(admin, json={"lora_name": "sql"}, timeout=30, trust_env=False).json()["done"]) == 2
    assert "sql" not in {model.id for model in api.models.list()}


# --- Anthropic's -------------------------------------------------------------------------------------------


def test_messages(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model=MODEL, max_tokens=5, messages=MESSAGES)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 5
    with claude.messages.stream(model=MODEL, max_tokens=5, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == 5
    assert [block.text for block in message.content if block.type == "text"] == [text]


def test_tokens_are_counted(claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens
    message = claude.messages.create(model=MODEL, max_tokens=1, messages=MESSAGES)
    assert counted == message.usage.input_tokens > 0


def test_an_unknown_model_raises_what_anthropics_client_raises(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.messages.create(model="nope", max_tokens=1, messages=MESSAGES)
    body = caught.value.body
    assert isinstance(body, dict)
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
