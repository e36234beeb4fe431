"""Real vLLM servers as processes, each in a session of its own and ended with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.routers import free_ports

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("REAL_VLLM", ROOT / ".real"))
MODEL_FOLDER = FOLDER / "model"
MODEL = "tiny"
BLOCK_SIZE = 32
"""Tokens per KV block: the smallest that vLLM has on a CPU."""
START = 600.0
"""Seconds in which a server must have come up: 30 on two idle cores, 140 were seen on busy ones."""
PATIENCE = 120.0
"""Seconds for a state to come at a server that works."""
_END = 20.0
_ENVIRONMENT = {
    # The model is a folder: nothing is to be looked up, and nobody to be told of its use.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Several servers share the few cores.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}


class Spec(NamedTuple):
    """What one server is started with."""

    arguments: tuple[str, ...] = ()
    environment: dict[str, str] | None = None


class Server:
    """One `vllm serve`."""

    def __init__(self, folder: Path, number: int, spec: Spec) -> None:
        [self.port] = free_ports(1)
        self.log = folder / f"vllm-{number}.log"
        command = (
            str(FOLDER / "venv" / "bin" / "vllm"),
            "serve",
            str(MODEL_FOLDER),
            f"--served-model-name={MODEL}",
            "--host=127.0.0.1",
            f"--port={self.port}",
            "--max-num-seqs=8",
            "--enforce-eager",
            # Exact enough that an answer does not depend on what was computed together.
            "--dtype=float32",
            f"--block-size={BLOCK_SIZE}",
            *spec.arguments,
        )
        # The project's own modules are not the server's.
        inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**inherited, **_ENVIRONMENT, **(spec.environment or {})},
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> Self:
        """Wait until it is healthy."""
        deadline = time.monotonic() + START
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", trust_env=False, timeout=5).status_code == 200:
                    return self
            assert self.is_alive, f"vLLM ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"vLLM did not come up:\n{self.tail()}"
            time.sleep(0.3)

    def tail(self) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-4000:]

    def end(self) -> None:
        """End it, politely first; then all that it started."""
        if self.is_alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END)
        self.kill()

    def kill(self) -> None:
        """End it and its engine at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def servers(folder: Path, *specs: Spec) -> Iterator[list[Server]]:
    """Servers that come up at the same time, in this order."""
    assert (MODEL_FOLDER / ".made-by").exists(), f"no vLLM in {FOLDER}: scripts/test --real installs it"
    with ExitStack() as stack:
        started: list[Server] = []
        for number, spec in enumerate(specs):
            server = Server(folder, number, spec)
            stack.callback(server.end)
            started.append(server)
        yield [server.wait() for server in started]


def eventually_true(condition: Any, what: str, *, seconds: float = PATIENCE) -> None:
    """Wait for a state of a server."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def figure(server: Server, name: str, **labels: str) -> float:
    """One of the server's own figures, summed over the labels that are not given."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False, timeout=PATIENCE).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def transfer(connector: str, role: str, **extra: Any) -> str:
    """The flag for a KV connector."""
    config: dict[str, Any] = {"kv_connector": connector, "kv_role": role}
    if extra:
        config["kv_connector_extra_config"] = extra
    return f"--kv-transfer-config={json.dumps(config)}"
