from __future__ import annotations

import pytest

from controlplane.cli.argv import UsageProblem, as_fields, normalise


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("--port 5", "--port=5", id="value-behind"),
        pytest.param("--port=5", "--port=5", id="value-tied"),
        pytest.param("--worker-urls a b --port 5", "--worker-urls=a --worker-urls=b --port=5", id="several"),
        pytest.param(
            "--worker-urls a --worker-urls b c", "--worker-urls=a --worker-urls=b --worker-urls=c", id="again"
        ),
        pytest.param("--disable-retries --port 5", "--disable-retries=true --port=5", id="switch"),
        pytest.param("--disable-retries=false", "--disable-retries=false", id="switch-with-value"),
        pytest.param("--worker-urls --port 5", "--worker-urls= --port=5", id="empty-list"),
        pytest.param("--request-id-headers x-a x-b", "--request-id-headers=x-a --request-id-headers=x-b", id="headers"),
        pytest.param("--port -5", "--port=-5", id="negative-number"),
        pytest.param("--config a=b.toml", "--config=a=b.toml", id="equals-in-value"),
        pytest.param("--help", "--help", id="help"),
        pytest.param("--once --port 5", "--once --port=5", id="switch"),
    ],
)
def test_values_are_tied_to_their_flags(given: str, expected: str) -> None:
    assert normalise(given.split(), frozenset({"--once"})) == expected.split()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--prot 5", "unknown flag --prot; did you mean --port?"),
        ("--zzz", "unknown flag --zzz; `routerctl start --help` lists all"),
        ("--wasm-middleware a", "--wasm-middleware of vllm-router is not offered; change requests"),
        ("--port", "--port needs a value"),
        ("--host --port 5", "--host needs a value"),
        ("--port 5 6", "unexpected argument '6'"),
        ("-p 5", "unknown flag -p"),
        ("--help=x", "--help takes no value"),
    ],
)
def test_what_can_not_be_understood(given: str, message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        normalise(given.split())
    assert message in str(caught.value)


def test_as_fields() -> None:
    fields = as_fields(["--port=1", "--worker-urls=a", "--worker-urls=b", "--port=2", "--log-level=x=y"])
    assert fields == {"port": "2", "worker_urls": ["a", "b"], "log_level": "x=y"}
