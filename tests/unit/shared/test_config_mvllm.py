"""mvllm 0.1.0's `servers.toml`: the sample of its README, and every key that its program reads."""

from __future__ import annotations

import pytest

from shared.config import StartConfig
from shared.config_faults import RANGES
from shared.config_file import ConfigFile
from shared.config_mvllm import COUNTERPARTS
from shared.config_sources import Gathered, gather, relevant
from shared.worker_attributes import ConfiguredWorker

README = """\
[servers]
servers = [
    { url = "http://gpu-server-1:8081", max_concurrent_requests = 3 },
    { url = "http://gpu-server-2:8088", max_concurrent_requests = 5 },
    { url = "http://gpu-server-3:8089", max_concurrent_requests = 4 },
]

[config]
health_check_interval = 10
request_timeout = 120
max_retries = 3
"""
EVERY_KEY = """\
[servers]
servers = [ { url = "http://gpu-server-1:8081", max_concurrent_requests = 3 } ]
[config]
health_check_interval = 10            # s
health_check_timeout = 5              # s
health_check_min_success_rate = 0.8
health_check_max_response_time = 2.0  # s
health_check_window_size = 10
health_check_consecutive_failures = 4
enable_active_health_check = true
config_reload_interval = 30
request_timeout = 120
max_retries = 3
retry_delay = 0.1
failure_threshold = 2
auto_recovery_threshold = 60
"""
WITHOUT_COUNTERPART = [
    (15, "failure_threshold"),
    (16, "auto_recovery_threshold"),
]


def read(text: str, **flags: str) -> Gathered:
    return gather(flags, {}, ConfigFile("servers.toml", text))


def servers(text: str) -> str:
    return f"[servers]\nservers = [\n{text}\n]"


def test_the_sample_of_the_readme() -> None:
    gathered = read(README)
    config = gathered.checked()
    assert config.worker_urls == (
        "http://gpu-server-1:8081",
        "http://gpu-server-2:8088",
        "http://gpu-server-3:8089",
    )
    assert (config.policy, config.load_formula) == ("least_load", "mvllm")
    assert [worker.capacity for worker in config.workers] == [3, 5, 4]
    assert config.health_check_interval_secs == 10
    assert config.request_timeout_secs == 120.0
    assert config.retry_max_retries == 4
    assert gathered.places["request_timeout_secs"].line == 10
    assert gathered.warnings == ()


def test_every_key_is_mapped_or_named() -> None:
    gathered = read(EVERY_KEY)
    config = gathered.checked()
    assert config == StartConfig(
        worker_urls=("http://gpu-server-1:8081",),
        workers=(ConfiguredWorker(url="http://gpu-server-1:8081", capacity=3),),
        policy="least_load",
        load_formula="mvllm",
        mvllm_compat=True,
        health_check_interval_secs=10,
        health_check_timeout_secs=5,
        health_min_success_rate=0.8,
        health_max_response_time_secs=2.0,
        health_window_size=10,
        health_failure_threshold=4,
        request_timeout_secs=120.0,
        retry_max_retries=4,
        retry_initial_backoff_ms=100,
        watch_config=True,
    )
    assert [warning.split(" ")[:2] for warning in gathered.warnings] == [
        [f"servers.toml:{line}:", key] for line, key in WITHOUT_COUNTERPART
    ]
    assert all("\n" not in warning and " has no effect" in warning for warning in gathered.warnings)


def test_what_is_left_out_has_our_own_default() -> None:
    config = read('[servers]\nservers = [{ url = "http://a" }]').checked()
    assert config == StartConfig(
        worker_urls=("http://a",),
        workers=(ConfiguredWorker(url="http://a", capacity=3),),
        policy="least_load",
        load_formula="mvllm",
        mvllm_compat=True,
    )


def test_its_variables_count_with_its_file_only() -> None:
    environment = {
        "HOST": "0.0.0.0",
        "PORT": "8888",
        "LOG_LEVEL": "WARNING",
        "HEALTH_CHECK_INTERVAL": "7",
        "REQUEST_TIMEOUT": "90",
        "CONFIG_RELOAD_INTERVAL": "30",
        "LOG_TO_CONSOLE": "true",
    }
    file = ConfigFile("servers.toml", "[servers]\n[config]\nrequest_timeout = 1\nhealth_check_interval = 1")
    gathered = gather({"port": "9999"}, {**environment, "ROUTERCTL_LOG_LEVEL": "error"}, file)
    config = gathered.checked()
    assert (config.host, config.port, config.log_level) == ("0.0.0.0", 9999, "error")
    assert (config.health_check_interval_secs, config.request_timeout_secs, config.watch_config) == (7, 90.0, True)
    assert str(gathered.places["host"]) == "HOST"
    assert gather({}, environment, ConfigFile("r.toml", "receipts = 1")).checked() == StartConfig(receipts=1)
    assert gather({}, environment).checked() == StartConfig()
    # A reload looks at what was recorded at the start.
    assert gather({"port": "9999"}, relevant({**environment, "ROUTERCTL_LOG_LEVEL": "error"}), file).config == config


def test_a_wrong_variable_of_it_is_named() -> None:
    (problem,) = gather({}, {"HOST": "gpu"}, ConfigFile("servers.toml", "[servers]")).problems
    assert problem.text.startswith("HOST is 'gpu'; write an IP address")


def test_active_checks_can_be_off() -> None:
    text = "[servers]\n[config]\nenable_active_health_check = "
    assert read(text + "false").checked().disable_health_check is True
    assert read(text + "true").checked().disable_health_check is False
    (problem,) = read(text + "1").problems
    assert problem.text.endswith("enable_active_health_check is 1; write true or false")


def test_a_table_that_is_nearly_named_servers_is_looked_through_too() -> None:
    text = "[server]\nservers = [{url = 'gpu:80'}]\n[config]\nmax_retries = '3'"
    assert [problem.line for problem in read(text).problems] == [1, 2, 4]


def test_flags_win() -> None:
    config = read(README, policy="random", worker_urls="http://b").checked()
    assert (config.policy, config.worker_urls) == ("random", ("http://b",))


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[servers]\n[config]\ncolour = 1", "f:3: unknown key 'colour' has no effect"),
        ("[servers]\nlog = 1", "f:2: unknown key 'log' has no effect"),
        (servers('{url = "http://a", wieght = 1}'), "f:3: unknown key 'wieght' of a server has no effect"),
    ],
)
def test_what_mvllm_passes_over_is_named(text: str, warning: str) -> None:
    gathered = gather({}, {}, ConfigFile("f", text))
    gathered.checked()
    (found,) = gathered.warnings
    assert found.startswith(warning)


def test_bounds_in_mvllms_units_end_where_those_of_the_field_do() -> None:
    bounded = {key: one for key, one in COUNTERPARTS.items() if one.bounds is not None}
    assert bounded.keys() == {"max_retries", "retry_delay"}
    for key, one in bounded.items():
        assert one.bounds is not None
        least, most = map(one.convert, one.bounds)
        assert RANGES[one.field] == (least - (key == "max_retries"), most)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (servers('{url = "gpu:80"}'), "f:3: servers (worker_urls) has 'gpu:80': "),
        (
            servers('{url = "http://a"},\n{url = "http://a/"}'),
            "f:4: servers (worker_urls) names http://a and http://a/",
        ),
        (servers("{uri = 1}"), "f:2: server 1 has no url; write { url = "),
        (
            servers('{url = "http://a", max_concurrent_requests = 0}'),
            "f:3: max_concurrent_requests is 0; write a whole",
        ),
        ("[servers]\n[config]\nrequest_timout = 1", "f:3: unknown key 'request_timout'; did you mean request_timeout?"),
        ("[servers]\nserver = []", "f:2: unknown key 'server'; did you mean servers?"),
        (
            servers('{url = "http://a", max_concurent_requests = 1}'),
            "f:3: unknown key 'max_concurent_requests' of a server; did you mean max_concurrent_requests?",
        ),
        ("[server]\nservers = [{url = 'http://a'}]", "f:1: unknown table [server]; did you mean [servers]?"),
        ("queue_size = 5\nport = 3\n[server]", "f:3: unknown table 'server'; write all keys without one, such as port"),
        ("[[workers]]\nurl = 'http://a:1'\n[serves]", "f:3: unknown table 'serves'; write all keys without one"),
        ("[servers]\n[server]", "f:2: 'server' is no key of mvllm's servers.toml; give "),
        ("[servers]\n[config]\npolicy = 'random'", "f:3: 'policy' is no key of mvllm's servers.toml; give "),
        ("[servers]\npolicy = 'random'", "f:2: 'policy' is no key of mvllm's servers.toml; give "),
        ("[servers]\nservers = 1", "f:2: servers.servers is no list of tables; write "),
        ("[servers]\nservers = [1]", "f:2: servers.servers is no list of tables; write "),
        ("port = 1\n[servers]", "f:1: 'port' is no key of mvllm's servers.toml; give "),
        ("config = 1\n[servers]", "f:1: 'config' is no key of mvllm's servers.toml; give "),
        ("[servers]\n[config]\nmax_retries = '3'", "f:3: max_retries is '3'; write a number without quotes"),
        ("[servers]\n[config]\nmax_retries = true", "f:3: max_retries is true; write a number"),
        ("[servers]\n[config]\nretry_delay = nan", "f:3: retry_delay is nan; write a number"),
        (
            "[servers]\n[config]\nhealth_check_min_success_rate = 1" + 400 * "0",
            "f:3: health_check_min_success_rate is 1000",
        ),
        ("[servers]\n[config]\nmax_retries = -2", "f:3: max_retries is -2; write a whole number from 0 to 99"),
        ("[servers]\n[config]\nmax_retries = -1", "f:3: max_retries is -1; write a whole number from 0 to 99"),
        ("[servers]\n[config]\nmax_retries = 100", "f:3: max_retries is 100; write a whole number from 0 to 99"),
        ("[servers]\n[config]\nmax_retries = 2.5", "f:3: max_retries is 2.5; write a whole number from 0 to 99"),
        ("[servers]\n[config]\nretry_delay = 61", "f:3: retry_delay is 61; write a number from 0.0 to 60.0"),
        ("[servers]\n[config]\nrequest_timeout = true", "f:3: request_timeout is true; write a number"),
        (
            servers('{url = "http://a", max_concurrent_requests = true}'),
            "f:3: max_concurrent_requests is true; write a whole",
        ),
        ("[servers]\n[config]\nrequest_timeout = 0", "f:3: request_timeout (request_timeout_secs) is 0.0; write a "),
        ("[servers]\n[config]\nhealth_check_timeout = 1.5", "f:3: health_check_timeout (health_check_timeout_secs) is"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(text: str, problem: str) -> None:
    (found,) = gather({}, {}, ConfigFile("f", text)).problems
    assert found.text.startswith(problem)
    assert found.text.startswith(f"f:{found.line}: ")
