"""A router before pods: they come, turn not ready and go; the API server and the control plane are gone for a while."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.integration.commands import routerctl
from tests.integration.routers import Router, eventually, samples
from tests.kubernetes_api import ApiServer, Json, pod, running

CHAT = {"model": "sim-model", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("account")) as one:
        yield one


@pytest.fixture(scope="module")
def before_pods(api: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A ready router that knows of no worker but by the API server."""
    one = Router(
        tmp_path_factory.mktemp("router"),
        "--data-planes=1",
        "--service-discovery",
        "--selector=app=vllm",
        f"--service-discovery-credentials={api.folder}",
        "--explain",
        wrapper=("env", *(f"{name}={value}" for name, value in api.environment.items())),
    )
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


def pod_at(url: str, **values: Any) -> Json:
    """A pod whose worker is a simulated one; its name is the port."""
    port = str(urlsplit(url).port)
    return pod(port, "127.0.0.1", annotations={"routerctl/port": port}, **values)


def status(router: Router) -> Json:
    """What the control plane tells; nothing while there is none."""
    with suppress(httpx.TransportError):
        told: Json = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False, timeout=30).json()
        return told
    return {"workers": [], "kubernetes": None}


def states(router: Router) -> dict[str, str]:
    return {worker["url"]: worker["state"] for worker in status(router)["workers"]}


def exported(router: Router) -> dict[str, float]:
    """The metrics; none while there is no control plane."""
    with suppress(httpx.TransportError):
        return samples(router)
    return {}


def tells(router: Router, text: str) -> bool:
    """Whether an event has that text."""
    return text in routerctl("events", f"--runtime-dir={router.runtime.path}").stdout


def served_by(router: Router, count: int = 6) -> Counter[str]:
    """Who serves so many requests, all of which have to be."""
    served = Counter[str]()
    for _ in range(count):
        answer = httpx.post(f"{router.url}/v1/chat/completions", json=CHAT, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        served[answer.headers["x-routerctl-worker"]] += 1
    return served


def test_g_disc_4_pods_come_and_go_and_the_api_server_may_be_gone(
    before_pods: Router, api: ApiServer, fleet: list[str]
) -> None:
    router, (first, second, third) = before_pods, fleet
    for url in fleet:
        api.put(pod_at(url))
    eventually(lambda: states(router) == dict.fromkeys(fleet, "ready"), "the pods to be workers")
    # The control plane knows it before the plane does.
    eventually(lambda: httpx.get(f"{router.url}/readiness", trust_env=False).is_success, "the plane to have workers")
    eventually(lambda: set(served_by(router)) == set(fleet), "requests at each")
    eventually(lambda: exported(router).get("routerctl_kubernetes_following") == 1, "the metric to say so")
    assert {worker["source"] for worker in status(router)["workers"]} == {"kubernetes"}

    api.put(pod_at(first, ready=False))
    eventually(lambda: states(router)[first] == "draining", "the pod that is not ready to be held")
    eventually(lambda: set(served_by(router)) == {second, third}, "no request there")
    said = routerctl("status", f"--runtime-dir={router.runtime.path}").stdout
    assert f"pod default/{urlsplit(first).port} is not ready" in said
    api.put(pod_at(first))
    eventually(lambda: states(router)[first] == "ready", "the pod to be ready again")

    drained = httpx.post(f"http://127.0.0.1:{router.admin_port}/workers/{quote(second, safe='')}/drain", timeout=30)
    assert drained.status_code == 200
    api.stop()
    # Nobody's word but that of the control plane before.
    pid = router.control_plane_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: (status(router)["kubernetes"] or {}).get("state") == "unreached", "no word of the API server")
    eventually(lambda: states(router) == {first: "ready", second: "draining", third: "ready"}, "the workers as before")
    assert set(served_by(router)) == {first, third}
    eventually(lambda: exported(router).get("routerctl_kubernetes_following") == 0, "the metric to say so")
    said = routerctl("status", f"--runtime-dir={router.runtime.path}").stdout
    assert "Kubernetes: no word of pods for " in said

    api.delete(str(urlsplit(third).port))
    api.start()
    eventually(lambda: states(router) == {first: "ready", second: "draining"}, "what became of the pods meanwhile")
    eventually(lambda: set(served_by(router)) == {first}, "all requests where they can go")
    eventually(lambda: status(router)["kubernetes"]["state"] == "following", "changes to be told again")
    for text in ("the API server does not tell of pods", "the API server tells of pods again"):
        eventually(partial(tells, router, text), text)
