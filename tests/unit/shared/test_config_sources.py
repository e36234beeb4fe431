from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import ConfigError, StartConfig, flag_of
from shared.config_fields import FIELDS, Place, nearest
from shared.config_file import ConfigFile
from shared.config_sources import gather, resolve

Flags = Mapping[str, str | Sequence[str]]


def test_defaults() -> None:
    assert resolve({}, {}) == StartConfig()


def test_flag_wins_over_environment_wins_over_file() -> None:
    file = ConfigFile("router.toml", 'port = 1\nadmin_port = 2\npolicy = "random"\n')
    config = resolve({"port": "3"}, {"ROUTERCTL_PORT": "4", "ROUTERCTL_ADMIN_PORT": "5"}, file)
    assert (config.port, config.admin_port, config.policy) == (3, 5, "random")


@pytest.mark.parametrize("text", ["http://a:1 http://b:2", "http://a:1,http://b:2", " http://a:1,\n http://b:2 "])
def test_lists_in_the_environment(text: str) -> None:
    assert resolve({}, {"ROUTERCTL_WORKER_URLS": text}).worker_urls == ("http://a:1", "http://b:2")


def test_lists_from_flags_and_from_the_file() -> None:
    file = ConfigFile("f", 'worker_urls = ["http://a:1"]\nrequest_id_headers = "x-a, x-b"\n')
    config = resolve({"worker_urls": ["http://b:1", "http://c:1"]}, {}, file)
    assert config.worker_urls == ("http://b:1", "http://c:1")
    assert config.request_id_headers == ("x-a", "x-b")


def test_an_empty_list_flag_wins_too() -> None:
    assert resolve({"worker_urls": [""]}, {"ROUTERCTL_WORKER_URLS": "http://a:1"}).worker_urls == ()


def test_numbers() -> None:
    config = resolve({"connect_timeout_secs": "2.5", "shutdown_grace_secs": "0"}, {})
    assert (config.connect_timeout_secs, config.shutdown_grace_secs) == (2.5, 0.0)
    assert resolve({}, {}, ConfigFile("f", "connect_timeout_secs = 3")).connect_timeout_secs == 3.0


def test_localhost_is_an_address() -> None:
    assert resolve({"host": "localhost"}, {}).host == "127.0.0.1"


def test_an_empty_variable_and_a_service_link_of_kubernetes_are_no_values() -> None:
    environment = {"ROUTERCTL_PORT": "tcp://10.0.0.1:30000", "ROUTERCTL_POLICY": "", "ROUTERCTL_SERVICE_HOST": "x"}
    assert resolve({}, environment) == StartConfig()


@pytest.mark.parametrize(
    ("flags", "environment", "toml", "message"),
    [
        pytest.param({"port": "abc"}, {}, "", "--port is 'abc'; write a whole number, such as 30000", id="flag"),
        pytest.param({"port": "1.5"}, {}, "", "--port is '1.5'; write a whole number, such as 30000", id="fraction"),
        pytest.param({}, {"ROUTERCTL_PORT": "0"}, "", "ROUTERCTL_PORT is 0; write a number from 1", id="environment"),
        pytest.param({}, {}, "\n\nport = 0", "r.toml:3: port is 0; write a number from 1 to 65535", id="file"),
        pytest.param({}, {}, 'port = "1"', "r.toml:1: port is '1'; write a whole number without quotes", id="quoted"),
        pytest.param({}, {}, "policy = 1", "r.toml:1: policy is 1; write a text, such as cache_aware", id="no-text"),
        pytest.param({}, {}, "port = true", "r.toml:1: port is true; write a whole number", id="bool"),
        pytest.param({}, {}, "worker_urls = [1]", 'such as ["http://host:8000"]', id="list-of-numbers"),
        pytest.param({}, {}, "a = 1\nprot = 1", "unknown key 'a'", id="two"),
        pytest.param({}, {}, "\n prot = 1", "r.toml:2: unknown key 'prot'; did you mean port?", id="near-key"),
        pytest.param({}, {}, "admin-port = 1", "r.toml:1: unknown key 'admin-port'; did you mean admin_port?", id="-"),
        pytest.param({}, {}, "x = 1\n[table.y]\n", "r.toml:1: unknown key 'x'", id="table"),
        pytest.param({}, {}, "port = 1\nx = = 1", "r.toml:2: this is no TOML: ", id="no-toml"),
        pytest.param({}, {}, "\ufeff\nport = 0", "r.toml:2: port is 0", id="byte-order-mark"),
        pytest.param({}, {}, "\ufeff\ufeff", "r.toml:1: this is no TOML: ", id="two-marks"),
        pytest.param({}, {}, "[router]\nport = 1", "r.toml:1: unknown table 'router'", id="unknown-table"),
        pytest.param({}, {}, "x = [", "r.toml", id="cut-off"),
        pytest.param(
            {"port": "5"},
            {"ROUTERCTL_ADMIN_PORT": "5"},
            "",
            "--port and ROUTERCTL_ADMIN_PORT are both 5; give them different ports",
            id="two-places",
        ),
        pytest.param({"host": "example"}, {}, "", "--host is 'example'; write an IP address", id="host"),
        pytest.param({"connect_timeout_secs": "nan"}, {}, "", "--connect-timeout-secs is nan", id="nan"),
        pytest.param({"worker_urls": ["grpc://a:1"]}, {}, "", "scheme 'grpc' is not http or https", id="grpc"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(
    flags: Flags, environment: dict[str, str], toml: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(flags, environment, ConfigFile("r.toml", toml))
    assert message in str(caught.value).splitlines()[0]


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_no_number_can_be_other_than_finite(text: str) -> None:
    for field in (name for name, field in FIELDS.items() if field.type in (int, float)):
        flag, of_file = gather({field: text}, {}), gather({}, {}, ConfigFile("r.toml", f"{field} = {text}"))
        assert any(f"{flag_of(field)} is " in problem.text for problem in flag.problems)
        assert any(f"r.toml:1: {field} is {text}; write a" in problem.text for problem in of_file.problems)


def test_every_value_has_its_place() -> None:
    file = ConfigFile("r.toml", "\nport = 1\nadmin_port = 2\n")
    places = gather({"port": "3"}, {"ROUTERCTL_POLICY": "random"}, file).places
    assert set(places) == set(FIELDS)
    assert places["port"] == Place("flag", "--port")
    assert places["policy"] == Place("environment", "ROUTERCTL_POLICY")
    assert places["admin_port"] == Place("file", "r.toml", 3, "admin_port")
    assert places["host"] == Place("default")


def test_all_problems_of_a_file_are_found_with_their_lines() -> None:
    text = (
        "port = 99999\n"
        "polcy = 1\n"
        'worker_urls = [\n  "http://a",\n  "b",\n  "http://a/",\n]\n'
        "admin_port = '3'\n"
        "[router]\nport = 3\n"
    )
    problems = gather({}, {}, ConfigFile("r.toml", text)).problems
    assert sorted(problem.line for problem in problems) == [1, 2, 5, 6, 8, 9]
    assert all(problem.text.startswith(f"r.toml:{problem.line}: ") for problem in problems)


def test_a_value_that_could_not_be_read_is_not_also_compared() -> None:
    problems = gather({"port": "29000", "prometheus_port": "x"}, {}).problems
    assert [problem.text for problem in problems] == ["--prometheus-port is 'x'; write a whole number, such as 29000"]


def test_a_password_in_a_list_that_is_none_is_not_repeated() -> None:
    (problem,) = gather({}, {}, ConfigFile("f", 'worker_urls = [1, "http://u:secret@a"]')).problems
    assert "secret" not in problem.text


@given(
    text=st.text(max_size=200)
    | st.lists(st.sampled_from([*FIELDS, *'=[]{}",1.#', "\n", "servers", "url", "config"])).map("".join)
)
def test_whatever_a_file_holds_is_a_value_or_a_problem(text: str) -> None:
    gathered = gather({}, {}, ConfigFile("f", text))
    for problem in gathered.problems:
        assert problem.text.startswith("f:") or "worker_ca_file" in problem.text
        assert "; " in problem.text


def test_nearest() -> None:
    assert nearest("prot", ["port", "host"]) == "port"
    assert nearest("something-else", ["port", "host"]) is None


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_a_switch_takes_the_usual_words(text: str, value: bool) -> None:
    assert resolve({}, {"ROUTERCTL_DISABLE_RETRIES": text}).disable_retries is value
    assert resolve({"disable_retries": text}, {}).disable_retries is value


def test_a_switch_that_is_no_switch_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^ROUTERCTL_DISABLE_RETRIES is 'perhaps'; write true or false$"):
        resolve({}, {"ROUTERCTL_DISABLE_RETRIES": "perhaps"})
