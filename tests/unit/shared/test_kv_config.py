from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.config import ConfigError, StartConfig
from shared.config_faults import faults
from shared.kv_config import by_url, tokenizer_folders


def texts(**values: object) -> list[str]:
    return [fault.text for fault in faults(replace(StartConfig(), **values))]


def test_endpoints_belong_to_the_url_before_them() -> None:
    assert by_url(("http://a:1=tcp://h:1", "tcp://[::1]:2", "http://b=ipc:///x")) == {
        "http://a:1": ("tcp://h:1", "tcp://[::1]:2"),
        "http://b": ("ipc:///x",),
    }


def test_folders_may_be_for_one_model() -> None:
    assert tokenizer_folders(("/a", "m=/b", "org/n=/c")) == {None: "/a", "m": "/b", "org/n": "/c"}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (("tcp://a:1",), "--kv-event-source has 'tcp://a:1'; write URL=ENDPOINT"),
        (("http://a=",), "--kv-event-source has 'http://a='; write"),
        (("http://a=tcp://b",), "write URL=ENDPOINT"),
        (("http://a=http://b:1",), "write URL=ENDPOINT"),
        (("a:1=tcp://b:1",), "--kv-event-source the worker's URL has 'a:1'"),
        (("http://a=tcp://b:1", "http://a/=tcp://b:2"), "names worker http://a/ twice"),
    ],
)
def test_wrong_sources(sources: tuple[str, ...], message: str) -> None:
    [text] = texts(kv_event_source=sources)
    assert message in text


def test_a_model_has_a_name() -> None:
    assert texts(kv_event_model="") == ["--kv-event-model is empty; write a model's name, or leave it out"]


def test_a_replay_needs_its_source() -> None:
    [text] = texts(kv_event_replay_source=("http://a=tcp://b:1",))
    assert text.startswith("--kv-event-replay-source has more endpoints for http://a than --kv-event-source has")
    assert texts(kv_event_source=("http://a=tcp://b:1",), kv_event_replay_source=("http://a/=tcp://b:2",)) == []


def test_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    assert texts(tokenizer=(str(tmp_path),)) == []
    assert texts(tokenizer=("=/x",)) == ["--tokenizer has '=/x'; write [MODEL=]FOLDER"]
    assert "has two folders for m" in texts(tokenizer=("m=/x", "m=/y"))[0]
    [text] = texts(tokenizer=(f"m={tmp_path}/none",))
    assert text == f"--tokenizer is {tmp_path}/none, which has no tokenizer.json; give the folder of a model's files"


def test_the_packages_are_named_when_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr("shared.kv_config.TOKENIZER_PACKAGES", ("tokenizers", "no_such_package"))
    [text] = texts(tokenizer=(str(tmp_path),))
    assert "pip install routerctl[kv]" in text


def test_folders_mean_the_same_everywhere() -> None:
    config = StartConfig(tokenizer=("models/a", "m=models/b")).with_absolute_paths()
    here = Path.cwd()
    assert config.tokenizer == (f"{here}/models/a", f"m={here}/models/b")


@pytest.mark.parametrize("text", ["http://a", "=tcp://a:1"])
def test_what_is_no_source_raises(text: str) -> None:
    with pytest.raises(ConfigError):
        by_url((text,))
