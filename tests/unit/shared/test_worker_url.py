from __future__ import annotations

import pytest

from shared.config import ConfigError
from shared.worker_url import check_worker_url


@pytest.mark.parametrize("url", ["http://a:1", "https://a", "http://[::1]:8000", "http://a.b.c:65535/"])
def test_worker_urls_that_work(url: str) -> None:
    check_worker_url("--worker-urls", url)


@pytest.mark.parametrize(
    "url",
    ["", "a:1", "http://", "ftp://a", "http://a:0", "http://a:99999", "http://u:p@a", "http://a/v1", "http://a?x=1"],
)
def test_worker_urls_that_do_not(url: str) -> None:
    with pytest.raises(ConfigError, match="--worker-urls has "):
        check_worker_url("--worker-urls", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@a:1",
        "http://user:secret@a:99999",
        "http://user:secret@a:x",
        "http://user:secret@[a",
        "http://user:secret@a\u2100b",
        "http://user:secret@a:0",
        "http://user:secret@",
        "http://user:sec/ret@a",
        "ftp://user:secret@a",
        "user:secret@a:8000",
        "http://user:secret@a/v1",
    ],
)
def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="--worker-urls has ") as caught:
        check_worker_url("--worker-urls", url)
    assert "sec" not in str(caught.value)
