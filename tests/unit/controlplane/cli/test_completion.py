"""Completion of commands, flags and values in bash, zsh and fish, and of workers from the table on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.cli.completion import line_of, values_of, whole_words
from shared.config_faults import CHOICES
from shared.config_fields import FLAGS
from shared.messages import encode
from shared.runtime_dir import RuntimeDir
from shared.table import Worker, make_table

URLS = ("http://10.0.0.1:8000", "http://10.0.0.2:8000")
SHOW = ("--show-completion",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runtime folder with a table."""
    path = tmp_path_factory.mktemp("run")
    path.chmod(0o700)
    workers = [Worker(id=url, url=url, state="ready") for url in URLS]
    RuntimeDir(path).table.write_bytes(encode(make_table(epoch=1, version=1, workers=workers)))
    return path


def routerctl(*arguments: str, **environment: str) -> str:
    command = (sys.executable, "-m", "controlplane.cli", *arguments)
    env = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [
        (["routerctl", "st"], 1, ["routerctl", "st"]),
        (["routerctl"], 1, ["routerctl", ""]),
        (["routerctl", "workers", "drain", "http", ":", "//a"], 5, ["routerctl", "workers", "drain", "http://a"]),
        (["routerctl", "workers", "drain", "http", ":"], 4, ["routerctl", "workers", "drain", "http:"]),
        (["r", "x", "http", ":", "//a", ":", "1", "--p"], 7, ["r", "x", "http://a:1", "--p"]),
        (["r", "start", "--port", "1"], 2, ["r", "start", "--port"]),
    ],
)  # fmt: skip
def test_words_are_whole_that_bash_splits_at_colons(words: list[str], number: int, expected: list[str]) -> None:
    assert whole_words(words, number) == expected


def test_the_line_is_read_from_what_each_shell_sets() -> None:
    assert line_of({"COMP_WORDS": "routerctl\nworkers\nli"}) == ["workers", "li"]
    assert line_of({"_TYPER_COMPLETE_ARGS": "routerctl start --poli"}) == ["start", "--poli"]
    assert line_of({"_TYPER_COMPLETE_ARGS": "routerctl start 'ab"}) == ["start", "'ab"]
    assert line_of({}) == []


def test_what_can_be_counted_out_is_completed() -> None:
    counted_out = {field for field in FLAGS if values_of(field) is not None}
    assert {*CHOICES, "policy", "decode_policy", "kv_connector", "disable_retries"} <= counted_out
    assert not {"port", "worker_urls", "log_dir"} & counted_out
    complete = values_of("policy")
    assert complete is not None
    assert complete("ro") == ["round_robin"]


def test_zsh_and_fish(folder: Path) -> None:
    asked = {"_ROUTERCTL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "routerctl sta"}
    said = routerctl(**asked)
    assert '"start":"Start a router' in said
    assert '"status":' in said
    line = f"routerctl workers drain --runtime-dir {folder} http"
    asked = {"_ROUTERCTL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    assert routerctl(**asked, _TYPER_COMPLETE_FISH_ACTION="get-args").split() == list(URLS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself(folder: Path, tmp_path: Path) -> None:
    script = routerctl("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    program = tmp_path / "routerctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m controlplane.cli "$@"\n')
    program.chmod(0o755)
    # Each line: the words as bash splits them, of which the last is completed.
    lines = [
        ("routerctl", "start", "--plane-aff"),
        ("routerctl", "start", "--policy", "cache"),
        ("routerctl", "workers", "drain", ""),
        ("routerctl", "workers", "drain", "http", ":", "//10.0.0.2"),
        ("routerctl", "workers", "drain", "http", ":", "//10.0.0.2", ":", ""),
    ]
    asks = []
    for words in lines:
        quoted = " ".join(f"'{word}'" for word in words)
        asks.append(f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _routerctl_completion {program}")
        asks.append('echo "${COMPREPLY[*]}"')
    env = {**os.environ, "ROUTERCTL_RUNTIME_DIR": str(folder)}
    command = ("bash", "--norc", "-c", "\n".join([script, *asks]))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "--plane-affinity",
        "cache_aware",
        " ".join(URLS),
        "//10.0.0.2:8000",
        "8000",
    ]
