"""`routerctl config` as its users run it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.commands import routerctl

SERVERS = """\
[servers]
servers = [{ url = "http://gpu:8081", max_concurrent_requests = 3 }]
[config]
max_retries = 2
failure_threshold = 2
"""


def test_show_tells_where_each_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('# ours\npolicy = "random"\nport = 1\n')
    command = ("config", "show", "--port", "31000", "--worker-urls", "http://a", "http://b")
    result = routerctl(*command, cwd=tmp_path, ROUTERCTL_CONFIG="r.toml", ROUTERCTL_ADMIN_PORT="31001")
    assert (result.returncode, result.stderr) == (0, "")
    shown = {line.split(" = ")[0]: [part.strip() for part in line.split("#")] for line in result.stdout.splitlines()}
    assert shown["port"] == ["port = 31000", "--port"]
    assert shown["worker_urls"] == ['worker_urls = ["http://a", "http://b"]', "--worker-urls"]
    assert shown["policy"] == ['policy = "random"', "r.toml:2"]
    assert shown["admin_port"] == ["admin_port = 31001", "ROUTERCTL_ADMIN_PORT"]
    assert shown["log_level"] == ['log_level = "info"', "default"]


def test_show_takes_the_key_that_start_takes_and_shows_none_of_it(tmp_path: Path) -> None:
    command = (
        "config",
        "show",
        "--runtime-dir",
        str(tmp_path / "r"),
        "--api-key",
        "sk-workers-1234",
        "--port",
        "31000",
    )
    result = routerctl(*command, cwd=tmp_path)
    assert result.returncode == 0
    assert f'api_key_file = "{tmp_path / "r" / "worker-key"}"' in result.stdout
    assert "port = 31000" in result.stdout
    assert "give --api-key-file FILE" in result.stderr
    assert "sk-workers" not in result.stdout + result.stderr


def test_what_show_prints_is_a_file_with_the_same_values(tmp_path: Path) -> None:
    flags = ("--worker-urls", "http://a", "http://b", "--disable-retries", "--runtime-dir", 'a "b"\\é')
    first = routerctl("config", "show", "--json", *flags, cwd=tmp_path)
    (tmp_path / "r.toml").write_text(routerctl("config", "show", *flags, cwd=tmp_path).stdout)
    again = routerctl("config", "show", "--json", "--config", "r.toml", cwd=tmp_path)
    values, values_again = ([(one["key"], one["value"]) for one in json.loads(r.stdout)] for r in (first, again))
    assert values == values_again


def test_check_names_everything_wrong_by_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('port = 0\npolcy = 1\nworker_urls = [\n"a:1",\n]\nadmin_port = "3"\n')
    result = routerctl("config", "check", "wrong.toml", cwd=tmp_path, ROUTERCTL_PORT="x")
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"wrong.toml:{line}" for line in (1, 2, 4, 6)]
    assert "did you mean policy?" in lines[1]


def test_check_of_a_right_file_and_of_none(tmp_path: Path) -> None:
    (tmp_path / "right.toml").write_text('worker_urls = ["http://a"]\n')
    result = routerctl("config", "check", "right.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "right.toml: nothing is wrong\n", "")
    result = routerctl("config", "check", "absent.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "absent.toml: No such file" in result.stderr


def test_check_of_a_file_without_a_worker(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    result = routerctl("config", "check", "empty.toml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    warning, verdict = result.stdout.splitlines()
    assert warning.startswith("warning: empty.toml: it names no worker")
    assert verdict == "empty.toml: no error, 1 warning"


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    result = routerctl("config", "check", "/dev/zero", cwd=tmp_path)
    assert result.returncode == 2
    assert "more than 4 MB" in result.stderr


def test_schema_is_json(tmp_path: Path) -> None:
    result = routerctl("config", "schema", cwd=tmp_path)
    assert result.returncode == 0
    assert json.loads(result.stdout)["properties"]["port"]["maximum"] == 65535


def test_diff_tells_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text("port = 1\n")
    (tmp_path / "new.toml").write_text('port = 2\nlog_level = "debug"\npolicy = "random"\n')
    result = routerctl("config", "diff", "old.toml", "new.toml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    port, policy, log_level = result.stdout.splitlines()
    assert port == "port: 1 -> 2  (stop the router and start it anew)"
    assert policy.startswith('policy: "cache_aware" -> "random"  (a reload is')
    assert log_level.startswith('log_level: "info" -> "debug"  (a reload is')
    result = routerctl("config", "diff", "--json", "old.toml", "new.toml", cwd=tmp_path)
    assert json.loads(result.stdout)[0] == {"key": "port", "old": 1, "new": 2, "needs": "router"}
    assert routerctl("config", "diff", "old.toml", "old.toml", cwd=tmp_path).stdout == "no value is different\n"


def test_everything_wrong_is_named_by_show_start_and_diff_too(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("polcy = 1\nport = 0\nretry_max_retries = 101\nprot = 1\n")
    lines = routerctl("config", "check", "r.toml", cwd=tmp_path).stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == [f"r.toml:{line}:" for line in (1, 2, 3, 4)]
    assert routerctl("config", "diff", "r.toml", "r.toml", cwd=tmp_path).stderr.splitlines() == lines
    for command in (("config", "show"), ("start",)):
        result = routerctl(*command, "--config", "r.toml", cwd=tmp_path)
        assert result.returncode == 2
        assert result.stderr.splitlines() == [f"routerctl: error: {line}" for line in lines]


def test_a_file_that_can_not_be_read_is_named_by_what_names_it(tmp_path: Path) -> None:
    for command in (("config", "show"), ("start",)):
        result = routerctl(*command, cwd=tmp_path, ROUTERCTL_CONFIG="/nope")
        assert (result.returncode, result.stderr.split(": ")[2]) == (2, "ROUTERCTL_CONFIG=/nope")
        result = routerctl(*command, "--config", "/no", cwd=tmp_path, ROUTERCTL_CONFIG="/nope")
        assert (result.returncode, result.stderr.split(": ")[2]) == (2, "--config /no")


def test_diff_with_a_wrong_file(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text("port = 0\n")
    result = routerctl("config", "diff", "old.toml", "old.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("old.toml:1: port is 0")


def test_mvllms_file_is_taken_as_it_is_and_says_what_it_loses(tmp_path: Path) -> None:
    (tmp_path / "servers.toml").write_text(SERVERS)
    result = routerctl("config", "show", "--config", "servers.toml", cwd=tmp_path)
    assert result.returncode == 0
    assert "retry_max_retries = 3" in result.stdout
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("routerctl: warning: servers.toml:5: failure_threshold has no effect")
    assert 'workers = [{ capacity = 3.0, url = "http://gpu:8081" }]' in result.stdout
