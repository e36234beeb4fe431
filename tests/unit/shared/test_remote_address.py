import pytest

from shared.remote_address import RemoteAddress, parse_remote_address


@pytest.mark.parametrize(
    ("text", "host", "publish"),
    [
        ("tcp://10.0.0.1:30100", "10.0.0.1", "tcp://10.0.0.1:30101"),
        ("tcp://router.example:1", "router.example", "tcp://router.example:2"),
        ("tcp://[::1]:65534", "::1", "tcp://[::1]:65535"),
    ],
)
def test_an_address_is_two_endpoints(text: str, host: str, publish: str) -> None:
    address = parse_remote_address("--control", text)
    assert address.host == host
    assert (address.control_endpoint, address.publish_endpoint) == (text, publish)
    assert str(address) == text
    assert address.ports == (address.port, address.port + 1)
    assert RemoteAddress(*address) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1:30100",
        "ipc:///tmp/a",
        "tcp://10.0.0.1",
        "tcp://:30100",
        "tcp://*:30100",
        "tcp://10.0.0.1:x",
        "tcp://10.0.0.1:99999",
        "tcp://10.0.0.1:0",
        "tcp://10.0.0.1:65535",
        "tcp://10.0.0.1:30100/path",
        "tcp://me@10.0.0.1:30100",
        "tcp://[::1:30100",
    ],
)
def test_what_is_no_address_is_refused_by_the_flag(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--control (is|has) "):
        parse_remote_address("--control", text)
