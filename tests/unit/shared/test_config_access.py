"""Wrong values among those that say who may use the router: each is named by its flag, with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from shared.config import StartConfig
from shared.config_access import access_faults
from shared.config_faults import faults


def texts(**given: object) -> list[str]:
    return [fault.text for fault in access_faults(StartConfig(**given))]  # type: ignore[arg-type]


def only(**given: object) -> str:
    (text,) = texts(**given)
    return text


@pytest.mark.parametrize("origins", [("https://chat.example",), ("*",), ("none",), ("null", "http://localhost:3000")])
def test_origins(origins: tuple[str, ...]) -> None:
    assert texts(cors_allowed_origins=origins) == []


def test_what_is_no_origin_is_told() -> None:
    for wrong in ("chat.example", "https://chat.example/path", "https://a b", "https://user@host"):
        assert "https://chat.example.com" in only(cors_allowed_origins=(wrong,))
    assert "write it alone" in only(cors_allowed_origins=("*", "https://chat.example"))


def test_networks() -> None:
    assert texts(trusted_proxies=("10.0.0.0/8", "::1", "192.0.2.1")) == []
    assert "10.0.0.0/8" in only(trusted_proxies=("10.0.0.1/8",))
    assert "'proxy'" in only(trusted_proxies=("proxy",))


def test_a_file_of_keys_that_can_not_be_read_is_told() -> None:
    assert "routerctl keys client create" in only(client_keys_file="/nowhere")


def test_tls_files_belong_together(tmp_path: Path) -> None:
    leaf, other = trustme.CA().issue_cert("x.test"), trustme.CA().issue_cert("x.test")
    cert, key, wrong = (str(tmp_path / name) for name in ("cert", "key", "wrong"))
    leaf.cert_chain_pems[0].write_to_path(cert)
    leaf.private_key_pem.write_to_path(key)
    other.private_key_pem.write_to_path(wrong)
    for prefix in ("", "admin_"):
        flag = f"--{prefix.replace('_', '-')}tls"

        def told(of: str = prefix, **given: str) -> str:
            return only(**{f"{of}tls_{name}": value for name, value in given.items()})

        assert texts(**{f"{prefix}tls_cert": cert, f"{prefix}tls_key": key, f"{prefix}tls_client_ca": cert}) == []
        assert f"{flag}-cert and {flag}-key belong together" in told(cert=cert)
        assert f"{flag}-cert and {flag}-key belong together" in told(client_ca=cert)
        assert f"{flag}-key {wrong} is not the key of {flag}-cert {cert}" in told(cert=cert, key=wrong)
        assert f"{flag}-cert /nowhere" in told(cert="/nowhere", key=key)
        assert f"{flag}-client-ca {key} holds no certificate" in told(cert=cert, key=key, client_ca=key)


def test_the_admin_port_is_on_no_public_address_without_a_token(tmp_path: Path) -> None:
    found = [fault.text for fault in faults(StartConfig(admin_host="0.0.0.0", worker_urls=("http://a:1",)))]
    assert any("--admin-token-file" in text for text in found)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    config = StartConfig(admin_host="0.0.0.0", worker_urls=("http://a:1",), admin_token_file=str(token))
    assert not list(faults(config))
