"""When planes are to be replaced for a certificate, and when a replacement counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import trustme

from controlplane import certificates
from controlplane.certificates import Certificates, is_older, replaced
from controlplane.supervisor_socket import NoSupervisorError, PlanesRestarted
from shared.server_tls import ServerTls, identity


def papers(folder: Path) -> ServerTls:
    tls = ServerTls(str(folder / "cert"), str(folder / "key"), None, ("--tls-cert", "--tls-key", "--tls-client-ca"))
    renew(tls)
    return tls


def renew(tls: ServerTls) -> None:
    leaf = trustme.CA().issue_cert("router.test")
    leaf.cert_chain_pems[0].write_to_path(tls.cert)
    leaf.private_key_pem.write_to_path(tls.key)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(certificates, "RETRY_PAUSE", 0.01)


def test_planes_that_are_older_than_a_file_have_another_one_in_use() -> None:
    files = ((1, 2, 3, 50_000_000_000), None, (1, 2, 3, 70_000_000_000))
    assert is_older([60.0, 80.0], files)
    assert not is_older([70.0, 80.0], files)
    assert not is_older([], files)
    assert not is_older([1.0], (None,))


def test_half_a_replacement_is_waited_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tls = papers(tmp_path)

    async def main() -> None:
        seen = identity(tls)
        waiting = asyncio.create_task(replaced(tls, seen))
        key = await asyncio.to_thread((tmp_path / "key").read_bytes)
        await asyncio.to_thread((tmp_path / "key").write_bytes, b"half")
        while "stays in use" not in caplog.text:  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.01)
        assert not waiting.done()
        await asyncio.to_thread((tmp_path / "key").write_bytes, key)
        assert await asyncio.wait_for(waiting, 30) == identity(tls)

    asyncio.run(main())
    assert caplog.text.count("stays in use") == 1


def test_planes_are_asked_for_until_they_are_replaced(tmp_path: Path) -> None:
    tls = papers(tmp_path)
    done = asyncio.Event()
    outcomes: list[PlanesRestarted | None] = [
        None,
        PlanesRestarted(outcome="refused", reason="a plane is being started"),
        PlanesRestarted(outcome="restarted"),
    ]

    async def restart(slots: tuple[int, ...]) -> PlanesRestarted:
        assert slots == ()
        outcome = outcomes.pop(0)
        if outcome is None:
            raise NoSupervisorError("there is none")
        if not outcomes:
            done.set()
        return outcome

    async def main() -> None:
        # A plane that was started before the files were written.
        task = asyncio.create_task(Certificates(tls, lambda: [1.0], restart).run())
        await asyncio.wait_for(done.wait(), 30)
        task.cancel()

    asyncio.run(main())
    assert outcomes == []
