"""The TLS files: what is wrong with them is said, and what replaces them is taken up."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from shared.tls import CHECK_INTERVAL, SYSTEM, TlsConfig, TlsFileError, WorkerTls, explain, load

PASSWORD = serialization.BestAvailableEncryption(b"secret")
PKCS8, OPENSSL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Files:
    """An authority, and a certificate with its key, each in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        leaf = self.authority.issue_cert("router.test")
        self.ca = self.write("ca.pem", self.authority.cert_pem.bytes())
        self.cert = self.write("cert.pem", leaf.cert_chain_pems[0].bytes())
        self.key = self.write("key.pem", leaf.private_key_pem.bytes())
        self.both = self.write("both.pem", leaf.private_key_and_cert_chain_pem.bytes())
        self.other_key = self.write("other.pem", trustme.CA().issue_cert("x.test").private_key_pem.bytes())

    def write(self, name: str, content: bytes) -> str:
        """Write a file as careful programs do: whole, in the old one's place."""
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        os.replace(new, self.folder / name)
        return str(self.folder / name)

    def encrypted(self, name: str, form: serialization.PrivateFormat) -> str:
        key = serialization.load_pem_private_key(Path(self.key).read_bytes(), None)
        return self.write(name, key.private_bytes(serialization.Encoding.PEM, form, PASSWORD))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def authorities(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509_ca"]


def test_whatever_is_given_a_worker_has_to_prove_its_name_with_tls_1_2_at_least(files: Files) -> None:
    own = (TlsConfig(files.ca, files.cert, files.key), TlsConfig(None, files.both))
    for config in (SYSTEM, TlsConfig(files.ca), *own):
        context = load(config)
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_an_own_authority_replaces_the_systems(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = files.write("bundle.pem", b"".join(trustme.CA().cert_pem.bytes() for _ in range(3)))
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    assert authorities(load(SYSTEM)) >= 3
    assert authorities(load(TlsConfig(files.ca))) == 1
    commented = files.write("commented.pem", "# Zürich\n".encode() + Path(files.ca).read_bytes())
    assert authorities(load(TlsConfig(commented))) == 1


def broken(content: bytes) -> bytes:
    """A PEM file whose middle is missing."""
    lines = content.splitlines(keepends=True)
    return b"".join([*lines[:2], *lines[-1:]])


WRONG: dict[str, tuple[Callable[[Files], TlsConfig], list[str]]] = {
    "ca-missing": (lambda f: TlsConfig(f.ca + ".x"), ["--worker-ca-file", "No such file"]),
    "ca-folder": (lambda f: TlsConfig(str(f.folder)), ["--worker-ca-file", "is not a file"]),
    "ca-null": (lambda f: TlsConfig("a\0b"), ["--worker-ca-file", "null"]),
    "ca-empty": (lambda f: TlsConfig(f.write("e", b"")), ["--worker-ca-file", "no certificate in PEM"]),
    "ca-der": (lambda f: TlsConfig(f.write("d", b"\x30\x82\x01")), ["--worker-ca-file", "no certificate in PEM"]),
    "ca-is-key": (lambda f: TlsConfig(f.key), ["--worker-ca-file", "no certificate in PEM"]),
    "ca-broken": (lambda f: TlsConfig(f.write("b", broken(Path(f.ca).read_bytes()))), ["can not be used", "whole"]),
    "key-alone": (lambda f: TlsConfig(None, None, f.key), ["--worker-client-key", "without --worker-client-cert"]),
    "cert-alone": (lambda f: TlsConfig(None, f.cert), ["holds no private key", "--worker-client-key"]),
    "cert-missing": (lambda f: TlsConfig(None, "/no/cert", f.key), ["--worker-client-cert /no/cert: No such file"]),
    "cert-is-key": (lambda f: TlsConfig(None, f.key, f.key), ["--worker-client-cert", "no certificate in PEM"]),
    "cert-broken": (lambda f: TlsConfig(None, f.write("b", broken(Path(f.cert).read_bytes())), f.key), ["-cert"]),
    "key-missing": (lambda f: TlsConfig(None, f.cert, "/no/key"), ["--worker-client-key /no/key: No such file"]),
    "key-is-cert": (lambda f: TlsConfig(None, f.cert, f.cert), ["--worker-client-key", "no private key in PEM"]),
    "key-broken": (lambda f: TlsConfig(None, f.cert, f.write("b", broken(Path(f.key).read_bytes()))), ["client-key"]),
    "other-key": (lambda f: TlsConfig(None, f.cert, f.other_key), ["is not the key of", "cert.pem"]),
    "encrypted": (lambda f: TlsConfig(None, f.cert, f.encrypted("k", PKCS8)), ["is encrypted", "openssl pkey"]),
    "encrypted-too": (lambda f: TlsConfig(None, f.cert, f.encrypted("k", OPENSSL)), ["is encrypted", "openssl pkey"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_can_not_be_used_is_named_with_what_to_do(files: Files, name: str) -> None:
    make, parts = WRONG[name]
    with pytest.raises(TlsFileError) as caught:
        load(make(files))
    text = str(caught.value)
    assert all(part in text for part in parts), text
    assert "\n" not in text
    assert "; " in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(files: Files) -> None:
    os.chmod(files.key, 0)
    with pytest.raises(TlsFileError, match=r"Permission denied.*this user may read"):
        load(TlsConfig(None, files.cert, files.key))


# --- replaced files ------------------------------------------------------------------------------------------


def second_later(tls: WorkerTls, clock: Clock) -> ssl.SSLContext:
    clock.now += CHECK_INTERVAL
    return tls.context()


def test_a_replaced_file_is_taken_up_within_a_second(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    tls = WorkerTls(TlsConfig(files.ca), clock)
    first = tls.context()
    assert second_later(tls, clock) is first
    files.write("ca.pem", trustme.CA().cert_pem.bytes() + trustme.CA().cert_pem.bytes())
    assert tls.context() is first
    with caplog.at_level("INFO"):
        second = second_later(tls, clock)
    assert authorities(second) == 2
    assert tls.is_current(second)
    assert not tls.is_current(first)
    assert "have changed and are in use" in caplog.text


def test_a_broken_replacement_changes_nothing_and_is_told_once(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    tls = WorkerTls(TlsConfig(None, files.cert, files.key), clock)
    first = tls.context()
    # A new key whose certificate is still to come: so it is between any two renames.
    leaf = files.authority.issue_cert("router.test")
    files.write("key.pem", leaf.private_key_pem.bytes())
    for _ in range(5):
        assert second_later(tls, clock) is first
    (record,) = caplog.records
    assert "is not the key of" in record.getMessage()
    assert "with what it was before" in record.getMessage()
    files.write("cert.pem", leaf.cert_chain_pems[0].bytes())
    assert second_later(tls, clock) is not first
    assert len(caplog.records) == 1
    os.remove(files.key)
    kept = tls.context()
    assert second_later(tls, clock) is kept
    assert len(caplog.records) == 2


def test_a_link_that_is_turned_is_a_replacement(files: Files, tmp_path: Path) -> None:
    """Kubernetes mounts a secret behind a link to a folder, and turns the link."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    link = tmp_path / "data"
    link.symlink_to("one")
    clock = Clock()
    tls = WorkerTls(TlsConfig(str(link / "ca.pem")), clock)
    first = tls.context()
    (tmp_path / "turned").symlink_to("two")
    os.replace(tmp_path / "turned", link)
    assert second_later(tls, clock) is not first


def test_files_that_were_never_good_connect_nobody_until_they_are(files: Files) -> None:
    clock = Clock()
    tls = WorkerTls(TlsConfig(str(files.folder / "later.pem")), clock)
    for _ in range(2):
        with pytest.raises(TlsFileError, match="No such file"):
            second_later(tls, clock)
    files.write("later.pem", files.authority.cert_pem.bytes())
    assert authorities(second_later(tls, clock)) == 1


def test_other_files_are_used_at_once(files: Files) -> None:
    tls = WorkerTls(SYSTEM, Clock())
    first = tls.context()
    tls.use(SYSTEM)
    assert tls.context() is first
    tls.use(TlsConfig(files.ca, server_name="vllm.test"))
    assert not tls.is_current(first)
    assert authorities(tls.context()) == 1
    assert tls.server_name == "vllm.test"


def test_what_is_never_used_is_never_read() -> None:
    tls = WorkerTls(TlsConfig("/no/file"), Clock())
    tls.refresh()
    tls.use(TlsConfig("/no/other"))


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "tlsv13 alert certificate required (the worker asks for a client"),
        (
            "SSLV3_ALERT_HANDSHAKE_FAILURE",
            "sslv3 alert handshake failure (does the worker ask",
        ),
        ("TLSV1_ALERT_UNKNOWN_CA", "tlsv1 alert unknown ca (the worker does not accept the client certificate"),
        ("WRONG_VERSION_NUMBER", "wrong version number (does the worker speak TLS?"),
        ("UNSUPPORTED_PROTOCOL", "unsupported protocol"),
    ],
)
def test_a_failed_handshake_is_explained(reason: str, text: str) -> None:
    error = ssl.SSLError(1, "x")
    error.reason = reason
    assert explain(error).startswith(f"TLS failed: {text}")


def test_a_failure_without_a_reason_has_its_own_text() -> None:
    assert explain(ssl.SSLError("Something else")) == "TLS failed: Something else"
