from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from shared.config import StartConfig
from shared.plane_fingerprint import digest_of, plane_fingerprint, wire_digest


def changed(**values: object) -> StartConfig:
    return msgspec.structs.replace(StartConfig(), **values)


@pytest.mark.parametrize("field", ["host", "port", "shutdown_grace_secs"])
def test_what_a_plane_takes_at_its_start_is_in_its_fingerprint(field: str) -> None:
    values: dict[str, object] = {"host": "127.0.0.2", "port": 3, "shutdown_grace_secs": 1.5}
    assert plane_fingerprint(changed(**{field: values[field]})) != plane_fingerprint(StartConfig())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("policy", "random"),
        ("data_planes", 7),
        ("admin_port", 5),
        ("log_level", "debug"),
        ("worker_urls", ("http://a:1",)),
    ],
)
def test_what_travels_in_the_table_is_not(field: str, value: object) -> None:
    assert plane_fingerprint(changed(**{field: value})) == plane_fingerprint(StartConfig())


class Said(msgspec.Struct, tag="said"):
    words: int


class Longer(msgspec.Struct, tag="said"):
    words: int
    more: int


class Renamed(msgspec.Struct, tag="told"):
    words: int


class Listed(msgspec.Struct, tag="said", array_like=True):
    words: int


class Nested(msgspec.Struct, tag="said"):
    words: Said


@pytest.mark.parametrize("other", [Longer, Renamed, Listed, Nested])
def test_every_form_of_a_message_has_a_digest_of_its_own(other: type[msgspec.Struct]) -> None:
    same_name = msgspec.defstruct("Said", [("words", int)], tag="said")
    assert digest_of([same_name]) == digest_of([Said])
    other.__name__ = "Said"
    assert digest_of([other]) != digest_of([Said])


def test_so_has_what_stands_beside_them() -> None:
    assert digest_of([Said], ("requests", ("model",))) != digest_of([Said], ("requests", ("model", "status")))


def test_all_processes_of_one_code_have_the_same_digest() -> None:
    said = [
        subprocess.run(
            (sys.executable, "-c", "from shared.plane_fingerprint import wire_digest; print(wire_digest())"),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert said == [wire_digest(), wire_digest()]
    assert wire_digest() in plane_fingerprint(StartConfig())
