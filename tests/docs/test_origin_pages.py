"""The commands on the pages for users of other routers are understood, and their files can be used."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from controlplane.cli import run
from controlplane.cli.argv import START_FLAGS, as_fields, normalise
from controlplane.cli.start import given_config_file
from controlplane.cli.vllm_router_flags import INSTEAD
from shared.config_mvllm import variables
from shared.config_sources import gather

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("from-vllm-router.md", "from-mvllm.md", "openai-clients.md")
SERVERS = '[servers]\nservers = [{ url = "http://gpu-server-1:8081", max_concurrent_requests = 3 }]\n'


def commands(page: str) -> list[list[str]]:
    """The commands of routerctl on a page, in their order."""
    found = re.findall(r"^\$ (routerctl .*)$", (DOCS / page).read_text(), re.MULTILINE)
    return [shlex.split(line)[1:] for line in found]


@pytest.mark.parametrize("page", PAGES[:2])
def test_commands_do_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "servers.toml").write_text(SERVERS)
    for name, *words in commands(page):
        if name == "start":
            given = as_fields(normalise(words))
            file = given.pop("config", None)
            config = gather(given, {}, given_config_file(file if isinstance(file, str) else None)).checked()
            assert config.all_urls
        else:
            assert run([name, *words]) == 0
    assert "error" not in capsys.readouterr().err


def test_all_that_is_not_offered_is_on_the_page() -> None:
    told = (DOCS / PAGES[0]).read_text().partition("## Not there")[2]
    assert set(re.findall(r"`(--[a-z0-9-]+)`", told)) >= set(INSTEAD)


@pytest.mark.parametrize("page", PAGES)
def test_each_flag_on_the_page_is_one(page: str) -> None:
    text = re.sub(r"\| `--(api-key KEY|reload)`", "", (DOCS / page).read_text().partition("## Not there")[0])
    others = {"--base-url", "--profile", "--backend", "--console", "--help", "--version", "--output", "--follow"}
    assert set(re.findall(r"`(--[a-z0-9-]+)", text)) - others <= START_FLAGS


def test_each_variable_of_mvllm_is_on_its_page() -> None:
    known = re.findall(r"`([A-Z_]{4,})`", (DOCS / PAGES[1]).read_text())
    assert set(known) - {"CONFIG_PATH", "LOG_TO_CONSOLE", "SHOW_MODELS", "ROUTERCTL_CONFIG"} == {
        given.place.name for given in variables(dict.fromkeys(known, "1")).values()
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (DOCS / page).read_text()):
        name, _, anchor = target.partition("#")
        text = (DOCS / (name or page)).read_text()
        headings = {
            re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-")
            for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        assert not anchor or anchor in headings, target
