"""Discovery of pods before a simulated API server: what it loses, refuses and forgets takes no worker away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from controlplane.kubernetes import client, service
from controlplane.kubernetes.client import ApiError, KubernetesClient
from controlplane.kubernetes.credentials import Credentials, CredentialsError
from controlplane.kubernetes.service import KubernetesService
from shared.clock import SystemClock
from shared.config import ConfigError, StartConfig
from tests.kubernetes_api import TOKEN, ApiServer, pod, running
from tests.unit.controlplane.members import Setting
from tests.unit.controlplane.waiting import until

A, B, C = (f"http://10.0.0.{number}:8000" for number in (1, 2, 3))


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("account")) as one:
        yield one


@pytest.fixture
def api(_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    """The server with two ready pods, and short pauses."""
    for name, value in _server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(service, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(service, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(service, "EMPTY_FOR", 0.05)
    monkeypatch.setattr(service, "PACE", 0.0)
    _server.reset()
    _server.put(pod("a", "10.0.0.1"))
    _server.put(pod("b", "10.0.0.2"))
    return _server


class Play:
    def __init__(self, api: ApiServer, **values: object) -> None:
        given = {"service_discovery": True, "service_discovery_port": 8000, "selector": ("app=vllm",), **values}
        self.setting = Setting()
        config = StartConfig(service_discovery_credentials=str(api.folder), **given)  # type: ignore[arg-type]
        self.service = KubernetesService(config, self.setting.membership, SystemClock())

    @property
    def states(self) -> dict[str, str]:
        """Why each worker gets no requests; empty for those that may."""
        state = self.setting.membership._state
        shown = {member.worker.id: member.worker for member in self.setting.registry.members()}
        assert set(state.discovered) | set(state.leaving) == set(shown)
        return {key: one.reason if one.state == "draining" else "" for key, one in shown.items()}

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.service.run(required=True))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def until_serving(self, *urls: str) -> None:
        await until(lambda: {key for key, why in self.states.items() if not why} == set(urls))

    def has_listed(self, times: int) -> bool:
        """Whether it did more often than that."""
        return self.service.lists > times

    async def until_following(self) -> None:
        await until(lambda: self.service.status().state == "following")


def test_pods_come_are_held_and_leave(api: ApiServer) -> None:
    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_serving(A, B)
            api.put(pod("c", "10.0.0.3"))
            await play.until_serving(A, B, C)
            api.put(pod("a", "10.0.0.1", ready=False))
            await play.until_serving(B, C)
            assert play.states[A] == "pod default/a is not ready"
            api.put(pod("a", "10.0.0.1"))
            await play.until_serving(A, B, C)
            api.put(pod("b", "10.0.0.2", deleted=True))
            api.put(pod("c", "10.0.0.3", labels={"app": "debug"}))
            await play.until_serving(A)
            assert play.states == {A: "", B: "being removed", C: "being removed"}
            # Removed by force: nobody has said that it would end.
            api.delete("a")
            await play.until_serving()
            status = play.service.status()
            assert (status.state, status.pods, status.workers) == ("following", 1, 0)

    asyncio.run(run())


def test_lists_come_in_pages_and_only_what_is_asked_for(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE", 2)
    api.put(pod("c", "10.0.0.3"))
    api.put(pod("d", "10.0.0.4", labels={"app": "other"}))
    api.put(pod("e", "10.0.0.5", namespace="other"))

    async def run() -> None:
        play = Play(api, service_discovery_namespace="default")
        async with play.runs():
            await play.until_serving(A, B, C)
            await play.until_following()

    asyncio.run(run())
    assert {path for path, _ in api.requests} == {"/api/v1/namespaces/default/pods"}
    assert {query["labelSelector"] for _, query in api.requests} == {"app=vllm"}
    assert [("watch" in query, "continue" in query) for _, query in api.requests[:3]] == [
        (False, False),
        (False, True),
        (True, False),
    ]


def test_a_drain_holds_over_lists_and_while_the_pod_is_not_ready(api: ApiServer) -> None:
    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_serving(A, B)
            await play.setting.membership.drain(A)
            for lists, is_ready in enumerate((False, True), play.service.lists):
                api.put(pod("a", "10.0.0.1", ready=is_ready))
                api.compact()
                api.drop_connections()
                await until(partial(play.has_listed, lists))
                await play.until_following()
                assert play.states[A] == "drained by an operator"
            # Another pod at its address is another worker.
            api.delete("a")
            api.put(pod("z", "10.0.0.1"))
            await play.until_serving(A, B)

    asyncio.run(run())


def test_another_pod_at_the_address_is_a_new_life_g_disc_3(api: ApiServer) -> None:
    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_serving(A, B)
            before = play.setting.registry.worker(A)
            api.delete("a")
            api.put(pod("a", "10.0.0.1", uid="of-its-successor"))

            def is_another() -> bool:
                now = play.setting.registry.worker(A)
                return before is not None and now is not None and now.epoch == before.epoch + 1

            await until(is_another)

    asyncio.run(run())


def test_what_a_watch_did_not_tell_the_next_list_does(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RELIST", 0.1)
    monkeypatch.setattr(service, "_SHORT_WATCH", 0.0)
    api.watch_seconds = 0.05

    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_serving(A, B)
            api.is_deaf = True
            api.delete("a")
            api.put(pod("c", "10.0.0.3"))
            await play.until_serving(B, C)

    asyncio.run(run())


def test_a_watch_that_is_too_old_lists_anew_quietly(api: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_following()
            api.put(pod("c", "10.0.0.3"))
            await play.until_serving(A, B, C)
            lists = play.service.lists
            api.forget_watches()
            await until(lambda: play.service.lists > lists)
            api.put(pod("c", "10.0.0.3", ready=False))
            await play.until_serving(A, B)
            assert play.service.failures["expired"] >= 1

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert caplog.text == ""


def test_g_disc_4_while_the_server_is_gone_the_workers_stay(
    api: ApiServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the watch before has lasted, only its own end is nothing to tell of.
    monkeypatch.setattr(service, "LONGEST_PAUSE", 0.0)

    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_serving(A, B)
            await play.until_following()
            api.stop()
            await until(lambda: play.service.failures["unreachable"] >= 3)
            status = play.service.status()
            assert (status.state, status.workers) == ("unreached", 2)
            assert str(api.port) in status.reason
            assert play.states == {A: "", B: ""}
            api.delete("b")
            api.put(pod("c", "10.0.0.3"))
            api.start()
            await play.until_serving(A, C)
            await play.until_following()
            assert play.service.status().reason == ""

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    told = [record for record in caplog.records if hasattr(record, "about")]
    assert [record.levelname for record in told if "API server" in record.message] == ["WARNING", "INFO"]
    assert "workers stay as they were" in caplog.text


def test_g_disc_4_an_empty_list_is_believed_when_it_is_said_again(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_serving(A, B)
            await play.until_following()
            monkeypatch.setattr(service, "EMPTY_FOR", 3600.0)
            api.is_empty, lists = True, play.service.lists
            api.drop_connections()
            await until(lambda: play.service.lists > lists)
            assert play.states == {A: "", B: ""}

    asyncio.run(run())

    async def again() -> None:
        api.is_empty = False
        play = Play(api)
        async with play.runs():
            await play.until_serving(A, B)
            monkeypatch.setattr(service, "EMPTY_FOR", 0.0)
            api.is_empty = True
            api.drop_connections()
            await play.until_serving()

    asyncio.run(again())


@pytest.mark.parametrize(
    ("status", "namespace", "said"),
    [
        (403, None, "may not list pods in all namespaces (403); bind a ClusterRole with get, list and watch of pods"),
        (403, "gpu", "may not list pods in namespace gpu (403); bind a Role with get, list and watch of pods"),
        (401, None, "does not know the token in"),
        (503, None, "the API server answers 503 to list pods"),
    ],
)
def test_what_is_missing_is_told(
    api: ApiServer, status: int, namespace: str | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        play = Play(api, service_discovery_namespace=namespace)
        if status == 401:
            api.token = "another"
        else:
            api.refusal = status
        async with play.runs():
            await until(lambda: sum(play.service.failures.values()) >= 2)
            assert said in play.service.status().reason
            # Tokens and rights are replaced while the router runs.
            api.token, api.refusal = TOKEN, None
            if namespace is None:
                await play.until_serving(A, B)

    asyncio.run(run())
    assert said in caplog.text
    assert TOKEN not in caplog.text


def test_an_event_without_an_end_is_refused(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_EVENT", 1000)

    async def run() -> None:
        play = Play(api)
        async with play.runs():
            await play.until_following()
            api.put(pod("c", "10.0.0.3", annotations={"long": "x" * 5000}))
            # The list, which has another bound, tells of it.
            await play.until_serving(A, B, C)

    asyncio.run(run())


def test_a_page_without_an_end_is_refused(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_PAGE", 1000)

    async def run() -> None:
        async with KubernetesClient(Credentials.find(api.environment, str(api.folder)), None, "") as one:
            with pytest.raises(ApiError, match="more than 1000 bytes"):
                await one.page("")

    asyncio.run(run())


def test_another_servers_certificate_is_refused(api: ApiServer, tmp_path: Path) -> None:
    with running(tmp_path) as other:

        async def run() -> None:
            async with KubernetesClient(Credentials.find(api.environment, str(other.folder)), None, "") as one:
                with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                    await one.page("")
                assert caught.value.reason == "unreachable"

        asyncio.run(run())
    assert not api.requests


def test_outside_of_a_cluster_the_start_is_refused(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")

    async def run() -> None:
        play = Play(api)
        with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST is not set"):
            await play.service.run(required=True)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("token", None, "token: No such file"),
        ("token", "", "token holds no token"),
        ("token", "a b", "token holds no token"),
        ("ca.crt", None, "ca.crt: No such file"),
        ("ca.crt", "nothing", "ca.crt: it holds no certificate in PEM"),
    ],
)
def test_credentials_that_are_of_no_use(api: ApiServer, tmp_path: Path, name: str, text: str | None, said: str) -> None:
    for one in ("token", "ca.crt"):
        (tmp_path / one).write_bytes((api.folder / one).read_bytes())
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(CredentialsError, match=said):
        Credentials.find(api.environment, str(tmp_path))
