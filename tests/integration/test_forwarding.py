"""What goes through a router of two planes: every byte, in both directions."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import socket
from typing import Any

import httpx
import pytest

from tests.integration.routers import Router, eventually

MODEL = "sim-model"


def clear_records(fleet: list[str]) -> None:
    for url in fleet:
        httpx.delete(f"{url}/sim/requests")


def records(fleet: list[str]) -> list[dict[str, Any]]:
    """What the workers received, less health checks and scrapes."""
    found = [record for url in fleet for record in httpx.get(f"{url}/sim/requests").json()["requests"]]
    return [record for record in found if record["target"] not in ("/health", "/metrics", "/v1/models")]


def odd_bodies(count: int) -> list[bytes]:
    """JSON bodies that a router which decodes and encodes again would not pass on as they are."""
    rng = random.Random(7)
    numbers = [
        "1.0",
        "1e2",
        "1E+2",
        "-0",
        "-0.0",
        "0.10",
        "1e-7",
        "123456789012345678901234567890",
        "1.7976931348623157e308",
    ]
    strings = ['"\\u0041"', '"\\/"', '"\\ud83d\\ude00"', '"\u00e9"', '"\u2028"', '"\\u0000"', '"\\u00e9\\n"', '""']
    keys = ["chat_template_kwargs", "x_unknown", "\\u006dessages2", "tools", "temperature", "", "user"]
    bodies = []
    for number in range(count):
        fields = [f'"model"{rng.choice(["", " "])}:{rng.choice(["", "  ", chr(10)])}"{MODEL}"']
        for _ in range(rng.randrange(1, 12)):
            value = rng.choice([*numbers, *strings, "null", "true", "[1, 2.50,3 ]", '{"a":{"b":[{}]},"a":1}'])
            fields.append(f'"{rng.choice(keys)}" : {value}')
        rng.shuffle(fields)
        separator = rng.choice([",", ", ", " ,\t", ",\r\n"])
        bodies.append(f"{rng.choice(['', ' ', chr(10)])}{{{separator.join(fields)}}}{' ' * (number % 3)}".encode())
    return bodies


def test_odd_json_bodies_reach_the_worker_byte_for_byte(client: httpx.Client, fleet: list[str]) -> None:
    clear_records(fleet)
    bodies = odd_bodies(300)
    for body in bodies:
        client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})

    received = [base64.b64decode(record["body"]) for record in records(fleet)]

    assert sorted(received) == sorted(bodies)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_8_mb_reaches_the_worker_byte_for_byte(client: httpx.Client, *, chunked: bool) -> None:
    filling = random.Random(1).randbytes(3 * 1024 * 1024).hex() + "\\u00e9" * 400_000
    body = json.dumps({"model": MODEL, "x": ""}).encode()[:-2] + filling.encode() + b'"}'
    assert len(body) > 8_000_000

    def parts() -> Any:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    answer = client.post("/sim/echo", content=parts() if chunked else body).json()

    assert (answer["body_length"], answer["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def test_multipart_passes_as_it_is(client: httpx.Client) -> None:
    request = client.build_request(
        "POST", "/sim/echo", files={"file": ("a.wav", b"\x00\xff" * 5000, "audio/wav")}, data={"model": MODEL}
    )
    body = request.read()

    answer = client.send(request).json()

    assert answer["sha256"] == hashlib.sha256(body).hexdigest()
    assert dict(answer["headers"])["content-type"] == request.headers["content-type"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_goes_to_a_worker(client: httpx.Client, method: str) -> None:
    assert client.request(method, "/sim/echo").json()["method"] == method


@pytest.mark.parametrize(
    "target",
    ["/sim/echo?a=1&b=%20x&a=2", "/sim/echo?", "/sim/echo/%2Fescaped%20path?q=%C3%A9", "/sim/echo//twice/../x;p=1"],
)
def test_the_target_reaches_the_worker_as_the_client_wrote_it(router: Router, target: str) -> None:
    """Sent raw, as clients tidy up what they are given."""
    with socket.create_connection(("127.0.0.1", router.port)) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["target"] == target.removesuffix("?")


def test_head_has_the_workers_length_and_no_body(client: httpx.Client) -> None:
    answer = client.head("/sim/echo?bytes=1234")

    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "1234", b"")
    # The connection to the worker is in step: the next request on it gets its own answer.
    assert client.get("/sim/echo?bytes=3").content == b"\x00\x01\x02"


@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 404, 418, 429, 500, 503])
def test_statuses_pass(client: httpx.Client, status: int) -> None:
    assert client.get(f"/sim/echo?status={status}").status_code == status


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
def test_bodies_of_answers_pass_with_their_length(client: httpx.Client, size: int) -> None:
    answer = client.get(f"/sim/echo?bytes={size}")

    assert answer.headers["content-length"] == str(size)
    assert answer.content == bytes(index % 251 for index in range(size))


def test_chunks_keep_their_boundaries(router: Router) -> None:
    with socket.create_connection(("127.0.0.1", router.port)) as connection:
        connection.sendall(b"GET /sim/echo?chunks=5&size=100 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.split(b"\r\n\r\n", 1)[1].count(b"64\r\n") == 5


def test_hop_by_hop_fields_end_at_the_router(client: httpx.Client) -> None:
    sent = {
        "connection": "keep-alive, x-private",
        "x-private": "1",
        "keep-alive": "timeout=1",
        "te": "trailers",
        "proxy-authorization": "Basic abc",
        "x-kept": "yes",
        "authorization": "Bearer sk-test",
    }

    answer = client.get("/sim/echo?header=keep-alive:timeout=9&header=x-answer:yes", headers=sent)

    received = [name.lower() for name, _ in client.get("/sim/echo", headers=sent).json()["headers"]]
    assert {"x-kept", "authorization"} <= set(received)
    assert not {"x-private", "keep-alive", "te", "proxy-authorization"} & set(received)
    assert received.count("host") == 1
    assert "keep-alive" not in answer.headers
    assert answer.headers["x-answer"] == "yes"


def test_repeated_fields_pass_in_their_order_both_ways(client: httpx.Client) -> None:
    answer = client.get(
        "/sim/echo?header=set-cookie:a=1&header=set-cookie:b=2", headers=[("x-many", "1"), ("x-many", "2")]
    )
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]

    told = client.get("/sim/echo", headers=[("x-many", "1"), ("x-many", "2")]).json()["headers"]
    assert [value for name, value in told if name == "x-many"] == ["1", "2"]


def test_a_request_id_is_kept_or_given_and_comes_back(client: httpx.Client) -> None:
    given = client.get("/sim/echo", headers={"x-request-id": "mine-1"})
    correlated = client.get("/sim/echo", headers={"x-correlation-id": "other-2"})
    made = client.get("/sim/echo")

    for answer, expected in ((given, "mine-1"), (correlated, "other-2"), (made, made.headers["x-request-id"])):
        assert answer.headers.get_list("x-request-id") == [expected]
        told = [value for name, value in answer.json()["headers"] if name.lower() == "x-request-id"]
        assert told == [expected]
    assert len(made.headers["x-request-id"]) == 24


def test_a_client_that_leaves_ends_the_workers_work(router: Router, fleet: list[str]) -> None:
    clear_records(fleet)
    with socket.create_connection(("127.0.0.1", router.port)) as connection:
        connection.sendall(b"GET /sim/echo?chunks=1000&delay_ms=1000 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1000)

    def outcomes() -> list[str]:
        return [record["outcome"] for record in records(fleet)]

    eventually(lambda: outcomes() == ["aborted"], "the worker to see the client leave")


def test_a_reader_that_stops_stops_the_worker(router: Router, fleet: list[str]) -> None:
    """1 GB in chunks: what the worker could send is bounded by buffers on the way, not by its will."""
    clear_records(fleet)
    with socket.create_connection(("127.0.0.1", router.port)) as connection:
        connection.sendall(b"GET /sim/echo?chunks=16384&size=65536 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1000)
        before = -1

        def settled() -> bool:
            nonlocal before
            resident = sum(resident_bytes(pid) for pid in router.plane_pids())
            still, before = abs(resident - before) < 100_000, resident
            return still

        eventually(settled, "the planes' memory to settle")
        assert [record["outcome"] for record in records(fleet)] == ["active"]
        assert before < 400 * 1024 * 1024
    eventually(lambda: [record["outcome"] for record in records(fleet)] == ["aborted"], "the end of the stream")


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_an_unknown_model_is_404_in_openais_shape(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", json={"model": "nope", "messages": []})

    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "model_not_found")
    assert MODEL in error["message"]
    assert answer.headers["x-request-id"] in error["message"]


def test_models_are_the_workers_own_cards(client: httpx.Client, fleet: list[str]) -> None:
    merged = client.get("/v1/models").json()
    direct = httpx.get(f"{fleet[0]}/v1/models").json()

    assert merged["object"] == "list"
    assert [{**card, "created": 0, "permission": 0} for card in merged["data"]] == [
        {**card, "created": 0, "permission": 0} for card in direct["data"]
    ]


def test_own_paths_answer_for_the_fleet(client: httpx.Client, fleet: list[str]) -> None:
    assert client.get("/liveness").text == "OK"
    assert client.get("/health").text == "All servers healthy"
    assert client.get("/readiness").json() == {
        "status": "ready",
        "healthy_workers": len(fleet),
        "total_workers": len(fleet),
    }
    assert client.post("/health").status_code == 405
