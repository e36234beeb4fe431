"""Requests that no engine works on lack nothing, whatever the policy."""

from __future__ import annotations

import pytest

from dataplane.policies import policy_class
from dataplane.policies.conformance import SampleRequest
from tests.unit.dataplane.policies.tables import MODEL, candidates, names, plane, table

WORKERS = names(2)
LACKS = {
    "consistent_hash": "no_key",
    "sticky_least_loaded": "no_session",
    "cache_aware": "no_prompt",
    "kv_aware": "no_events",
}


def outcomes(name: str, request: SampleRequest) -> dict[str, int]:
    policy = policy_class(name)(plane())
    policy.follow(table(*WORKERS))
    policy.pick(candidates(*WORKERS), request)
    return dict(policy.outcomes)


@pytest.mark.parametrize("name", LACKS)
@pytest.mark.parametrize(
    ("path", "body"),
    [("/version", b""), ("/metrics", b""), ("/", b""), ("/v1/responses/r", b""), ("/detokenize", b'{"tokens":[1]}')],
)
def test_what_no_engine_works_on_lacks_nothing(name: str, path: str, body: bytes) -> None:
    assert outcomes(name, SampleRequest(None, path=path, body=body)) == {"no_engine": 1}
    assert "no_engine" not in policy_class(name).fallbacks


@pytest.mark.parametrize(("name", "lack"), LACKS.items())
@pytest.mark.parametrize(
    ("path", "body"), [("/v1/embeddings", b"{}"), ("/v1/realtime", b""), ("/of/its/own", b"{}"), ("/pooling", b"")]
)
def test_what_an_engine_works_on_does(name: str, lack: str, path: str, body: bytes) -> None:
    assert outcomes(name, SampleRequest(MODEL, path=path, body=body)) == {lack: 1}
