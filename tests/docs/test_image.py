"""deploy/Dockerfile: its files make the whole package, its extras exist, and what it starts is a right command line."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from controlplane.cli.argv import as_fields, normalise
from shared.config_sources import resolve

ROOT = Path(__file__).parents[2]
STEPS = (ROOT / "deploy" / "Dockerfile").read_text()
SENT = {
    line.removeprefix("!") for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split() if "!" in line
}


def copied() -> set[str]:
    """What comes from the repository's folder, by its top level."""
    return {
        source for words in re.findall(r"^COPY (?!--from)(.*)$", STEPS, re.MULTILINE) for source in words.split()[:-1]
    }


def packed(folder: Path) -> set[str]:
    return {
        file.distribution_path
        for file in WheelBuilder(str(folder)).recurse_included_files()
        if "__pycache__" not in file.distribution_path
    }


def test_the_files_it_takes_are_the_whole_package(tmp_path: Path) -> None:
    assert copied() == SENT
    for name in copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    assert packed(tmp_path) == packed(ROOT)


def test_its_extras_and_its_python_are_the_package_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"\.\[([a-z,]+)\]", STEPS)
    assert set(extras.split(",")) == set(project["optional-dependencies"]) - {"dev"}
    least = project["requires-python"].removeprefix(">=")
    assert set(re.findall(r"^FROM python:([0-9.]+)-slim", STEPS, re.MULTILINE)) == {least}


def test_what_it_starts_is_a_right_command_line() -> None:
    program, command, *words = json.loads(STEPS.partition("\nCMD ")[2])
    assert (program, command) == ("routerctl", "start")
    config = resolve(as_fields(normalise(words)), {})
    (exposed,) = re.findall(r"^EXPOSE (.*)$", STEPS, re.MULTILINE)
    assert exposed == f"{config.port} {config.prometheus_port}"
    assert {config.host, config.prometheus_host} == {"0.0.0.0"}
