"""The errors that users meet most, word for word: commands, what they print, and their exit codes, in one file.

A text that changes there is read by everybody who meets it: it says what was wrong, where, and what to write instead.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from controlplane.cli import run

STORED = Path(__file__).parent / "data" / "error_texts.txt"
FILES = {
    "wrong.toml": 'port = 99999\npolicy = "best"\nworker_urls = ["gpu-2:8000"]\n',
    "unknown.toml": "polcy = 1\n",
    "broken.toml": "port = \n",
    "table.toml": '[policy]\nname = "random"\n',
    "servers.toml": "[servers]\n[config]\nrequest_timout = 5\n",
}


class Scene(NamedTuple):
    command: str
    text: str
    code: int


def scenes() -> list[Scene]:
    found = re.findall(r"^\$ routerctl (.*)\n((?:(?!\[).*\n)*)\[exit code (\d)\]$", STORED.read_text(), re.MULTILINE)
    return [Scene(command, text, int(code)) for command, text, code in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands name."""
    path = tmp_path_factory.mktemp("errors")
    for name, text in FILES.items():
        (path / name).write_text(text)
    (path / "open").mkdir(mode=0o755)
    (path / "run").mkdir(mode=0o700)
    return path


@pytest.fixture(scope="module")
def taken_port() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scene", scenes(), ids=lambda scene: scene.command)
def test_the_text_is_the_stored_one(
    scene: Scene, folder: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for name in os.environ:
        if name.startswith("ROUTERCTL_"):
            monkeypatch.delenv(name)
    words = scene.command.replace("TAKEN", str(taken_port)).split()
    # What ends before anything is started needs no process of its own.
    command = (sys.executable, "-m", "controlplane.cli", *words)
    code = subprocess.run(command, check=False).returncode if "TAKEN" in scene.command else run(words)
    said = "".join(capfd.readouterr()).replace(str(folder), "FOLDER").replace(str(taken_port), "TAKEN")
    said = re.sub(rf"process {os.getpid()} \(.*\)", "process PID (NAME)", said)
    assert (said, code) == (scene.text, scene.code)


def test_there_are_twenty_and_each_is_stored_once() -> None:
    stored = scenes()
    assert len(stored) >= 20
    assert len({scene.command for scene in stored}) == len(stored) == STORED.read_text().count("\n$ ") + 1
