"""A real server of a pooling model, and the official client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.integration.routers import Router, router_before
from tests.real.conftest import one_for_embeddings
from tests.real.servers import MODEL, PATIENCE, Server

pytestmark = pytest.mark.parametrize("fleet", [one_for_embeddings], indirect=True)

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "embeddings": ("/v1/embeddings", {"input": ["bado", "kiru feli"]}),
    "base64": ("/v1/embeddings", {"input": "bado", "encoding_format": "base64"}),
    "chat": ("/v1/embeddings", {"messages": [{"role": "user", "content": "bado"}]}),
    "cohere": ("/v2/embed", {"texts": ["bado"], "embedding_types": ["float"]}),
    "pooling": ("/pooling", {"input": "bado"}),
    "score": ("/score", {"queries": "bado", "documents": ["bado", "kiru"]}),
    "rerank": ("/v1/rerank", {"query": "bado", "documents": ["kiru", "bado"]}),
    "tokenize": ("/tokenize", {"prompt": "bado"}),
}


@pytest.fixture(scope="module")
def router(fleet: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with router_before(tmp_path_factory.mktemp("router"), [fleet[0].url], planes=2) as one:
        yield one


@pytest.mark.parametrize("name", ASKED)
def test_g_bytes_2_an_answer_is_the_workers(
    fleet: list[Server], router: Router, client: httpx.Client, name: str
) -> None:
    path, body = ASKED[name]

    def answer_of(url: str) -> bytes:
        headers = {"x-request-id": "the-same"}
        answer = client.post(url + path, json={"model": MODEL, **body}, headers=headers)
        assert answer.status_code == 200, answer.text
        return re.sub(rb'(?<="created":)\d+|(?<="id":")[^"]+', b"0", answer.content)

    direct = answer_of(fleet[0].url)
    assert json.loads(direct)
    assert answer_of(router.url) == direct


def test_the_official_client(router: Router) -> None:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE) as api:
        # It asks for base64 and decodes it.
        [one, two] = api.embeddings.create(model=MODEL, input=["bado", "kiru"]).data
        assert len(one.embedding) == len(two.embedding) == 64
        assert one.embedding != two.embedding
        with pytest.raises(openai.NotFoundError):
            api.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "bado"}])
