"""What a command says of an admin API that does not let it in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from controlplane.cli.admin_client import access_to
from controlplane.cli.admin_command import Refusal, ask_admin
from shared.runtime_dir import RuntimeDir


@pytest.fixture
def closed() -> Iterator[str]:
    """An admin API that takes no token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"error":{"message":"No."}}'
            self.send_response(401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_token_that_is_missing_and_a_wrong_one_are_told_apart(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROUTERCTL_ADMIN_TOKEN_FILE", raising=False)
    runtime, file = RuntimeDir(tmp_path / "run"), tmp_path / "token"
    file.write_text("a-wrong-token-of-a-test")
    for given, advice in (
        (None, "Name its file with --admin-token-file."),
        (str(file), f"The token of {file} was sent: name the right file with --admin-token-file."),
    ):
        with pytest.raises(Refusal) as refused:
            ask_admin(closed, access_to(closed, given, runtime), "/status", dict)
        assert str(refused.value) == f"{closed} answered 401: No. {advice}"
