import pytest

from controlplane.page.origin import is_own_page


@pytest.mark.parametrize(
    ("origin", "host", "has_token", "is_own"),
    [
        (None, "gpu:30080", False, True),
        ("http://127.0.0.1:30080", "127.0.0.1:30080", False, True),
        ("http://[::1]:30080", "[::1]:30080", False, True),
        ("http://localhost:30080", "LOCALHOST:30080", False, True),
        ("https://router.example", "router.example", True, True),
        # A name that an attacker owns may lead to us.
        ("http://router.example:30080", "router.example:30080", False, False),
        ("http://127.0.0.1.example:30080", "127.0.0.1.example:30080", False, False),
        ("http://evil.example", "127.0.0.1:30080", True, False),
        ("http://127.0.0.1:8080", "127.0.0.1:30080", True, False),
        ("http://127.0.0.1:30080@evil.example", "127.0.0.1:30080", True, False),
        ("null", "127.0.0.1:30080", True, False),
        ("", "", True, False),
        ("http://[", "[", True, False),
        ("file://127.0.0.1", "127.0.0.1", True, False),
    ],
)
def test_whose_page_it_is(origin: str | None, host: str, has_token: bool, is_own: bool) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    assert is_own_page(headers, has_token=has_token) is is_own
