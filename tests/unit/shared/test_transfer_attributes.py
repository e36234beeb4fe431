"""What operators say of KV transfers."""

from __future__ import annotations

from typing import Any

import pytest

from shared.transfer import Transfer, bootstrap_url
from shared.transfer_attributes import TransferAttributes, told_and_said
from shared.worker_attributes import wrong_attributes


def test_what_is_said_lies_over_what_is_told_part_by_part() -> None:
    told = Transfer(address="a", tp_size=2)
    assert told_and_said(told) is told
    assert told_and_said(None, None, TransferAttributes()) is None
    said = told_and_said(told, TransferAttributes(address="b", dp_size=1), TransferAttributes(dp_size=4))
    assert said == Transfer(address="b", tp_size=2, dp_size=4)


@pytest.mark.parametrize(
    ("transfer", "complaint"),
    [
        ("x", "write a table"),
        ({"port": 1}, "it may have connector, address"),
        ({"engine_ids": {}}, "it may have connector, address"),
        ({"bootstrap_port": 0}, "from 1 to 65535"),
        ({"bootstrap_port": "1"}, "from 1 to 65535"),
        ({"tp_size": True}, "from 1 to 1024"),
        ({"mode": "both"}, "choose one of: read, write"),
        ({"address": ""}, "visible ASCII"),
        ({"address": "a:1\r\nb"}, "visible ASCII"),
        ({"address": "a" * 257 + ":1"}, "visible ASCII"),
        ({"address": "10.0.0.1"}, "host:port"),
        ({"address": "host:a,handshake:1"}, "host:port"),
    ],
)
def test_what_can_not_work_is_named(transfer: Any, complaint: str) -> None:
    ((name, fault),) = wrong_attributes({"transfer": transfer})
    assert name == "transfer"
    assert complaint in fault


def test_a_bootstrap_server_is_on_the_workers_host() -> None:
    assert bootstrap_url("https://gpu-1:8000", 8998) == "http://gpu-1:8998"
    assert bootstrap_url("http://[fe80::1]:8000", 1) == "http://[fe80::1]:1"
