"""`routerctl import`: the file says what the other router was told, and names what it can not say."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.cli.argv import START_FLAGS, UsageProblem, as_fields, normalise
from controlplane.cli.importing import mvllm, vllm_router
from controlplane.cli.vllm_router_flags import INSTEAD
from controlplane.cli.vllm_router_import import carry_over
from shared.config_file import ConfigFile
from shared.config_sources import gather, resolve

URLS = ("http://a:8000", "http://b:8000/", "https://c")
VALUES: dict[str, tuple[str, ...]] = {
    "--host": ("0.0.0.0", "127.0.0.1", "localhost"),
    "--port": ("30000", "8080"),
    "--worker-urls": URLS,
    "--policy": ("round_robin", "cache_aware", "power_of_two", "consistent_hash", "sticky_least_loaded", "random"),
    "--decode-policy": ("power_of_two",),
    "--router-temperature": ("0.5",),
    "--kv-event-source": ("http://a:8000=tcp://a:5557,tcp://a:5558",),
    "--kv-event-model": ("m",),
    "--cache-threshold": ("0.4",),
    "--max-payload-size": ("1048576",),
    "--log-level": ("debug", "warning"),
    "--request-id-headers": ("x-a", "x-b"),
    "--retry-max-retries": ("3",),
    "--retry-jitter-factor": ("0.1",),
    "--disable-retries": (),
    "--mini-lb": (),
    "--enable-igw": (),
    "--queue-size": ("0", "10"),
    "--cors-allowed-origins": ("http://localhost:3000",),
    "--disable-circuit-breaker": (),
    "--health-check-endpoint": ("/healthz",),
    "--intra-node-data-parallel-size": ("4",),
    "--vllm-discovery-address": ("10.0.0.1:30001",),
}
MANY = ("--worker-urls", "--request-id-headers")


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    words: list[str] = []
    for flag in draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True)):
        values = VALUES[flag]
        if flag in MANY:
            words += [flag, *draw(st.permutations(values))[: draw(st.integers(0, len(values)))]]
        elif values:
            value = draw(st.sampled_from(values))
            words += draw(st.sampled_from(([flag, value], [f"{flag}={value}"])))
        else:
            words.append(draw(st.sampled_from((flag, f"{flag}=false"))))
    return words


@given(command_lines())
@settings(max_examples=50)
def test_the_file_is_what_start_would_make_of_the_same_flags(words: list[str]) -> None:
    with redirect_stdout(StringIO()) as said:
        assert vllm_router(["vllm-router", *words]) == 0
    gathered = gather({}, {}, ConfigFile("r.toml", said.getvalue()))
    assert not gathered.problems
    assert not gathered.warnings
    started = as_fields(normalise(words))
    if started.get("vllm_pd_disaggregation") == "true":
        # vllm-router passes over them then.
        started.pop("worker_urls", None)
    assert gathered.config == resolve(started, {})


@pytest.mark.parametrize("flag", sorted({*INSTEAD, "--api-key"}))
def test_what_is_left_out_is_named_without_its_value(
    flag: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "router.toml"
    assert vllm_router([flag, "s3cret", "--port", "31000"], str(file)) == 0
    said = capsys.readouterr()
    written = file.read_text()
    assert said.out == ""
    assert said.err.startswith(f"routerctl: warning: not carried over: {flag}")
    assert f"# Not carried over: {flag}" in written
    assert written.endswith("\nport = 31000\n")
    assert "s3cret" not in said.err + written
    assert flag not in START_FLAGS


def test_what_stands_before_the_flags_is_passed_over() -> None:
    for launcher in (["vllm-router"], ["python3", "-m", "vllm_router.launch_router"], []):
        assert carry_over([*launcher, "--port", "31000"]).fields == ("port",)


def test_workers_are_left_out_beside_prefill_and_decode_as_there() -> None:
    words = "--vllm-pd-disaggregation --worker-urls http://a:1 --prefill http://p:1 9000 --prefill http://q:1 none"
    carried = carry_over([*words.split(), "--decode", "http://d:1", "--kv-connector", "mooncake"])
    assert not carried.gathered.problems
    assert carried.gathered.config.worker_urls == ()
    assert carried.gathered.config.prefill == ("http://p:1", "9000", "http://q:1")
    assert carried.left_out == ("worker_urls: left out, as vllm-router passes over it with --vllm-pd-disaggregation",)


@pytest.mark.parametrize(
    ("words", "fields", "left_out"),
    [
        ("--service-discovery --selector a=b c=d --service-discovery-port 8000", {"selector": ("a=b", "c=d")}, ()),
        ("--service-discovery --selector a=b --worker-urls http://a:1", {"worker_urls": ()}, ("worker_urls",)),
        (
            "--service-discovery --vllm-pd-disaggregation --selector a=b --prefill-selector r=p --decode-selector r=d",
            {"selector": (), "prefill_selector": ("r=p",), "decode_selector": ("r=d",)},
            ("selector",),
        ),
        (
            "--service-discovery --selector a=b --prefill-selector r=p",
            {"selector": ("a=b",), "prefill_selector": ()},
            ("prefill_selector",),
        ),
        (
            "--selector a=b --service-discovery-namespace gpu",
            {"selector": (), "service_discovery_namespace": None},
            ("selector", "service_discovery_namespace"),
        ),
    ],
)
def test_pods_are_looked_for_as_there(words: str, fields: dict[str, object], left_out: tuple[str, ...]) -> None:
    carried = carry_over(words.split())
    assert not carried.gathered.problems
    assert {field: getattr(carried.gathered.config, field) for field in fields} == fields
    assert tuple(line.partition(":")[0] for line in carried.left_out) == left_out


def test_a_wrong_value_and_a_wrong_flag_write_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "router.toml"
    assert vllm_router(["--port", "many"], str(file)) == 1
    assert "--port is 'many'; write a whole number" in capsys.readouterr().err
    with pytest.raises(UsageProblem, match="unknown flag --worker-url; did you mean --worker-urls"):
        vllm_router(["--worker-url", "http://a:1"], str(file))
    with pytest.raises(UsageProblem, match="command line is missing"):
        vllm_router([], str(file))
    assert not file.exists()


def test_no_file_is_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "router.toml"
    file.write_text("port = 1\n")
    assert vllm_router(["--port", "31000"], str(file)) == 1
    assert "File exists; name another one" in capsys.readouterr().err
    assert file.read_text() == "port = 1\n"


def test_mvllms_file_gets_the_routers_own_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = (
        '[servers]\nservers = [{ url = "http://a:1", max_concurrent_requests = 3 }, { url = "http://b:1" }]\n'
        "[config]\nrequest_timeout = 120\nfailure_threshold = 2\n"
    )
    servers = tmp_path / "servers.toml"
    servers.write_text(text)
    assert mvllm(str(servers)) == 0
    said = capsys.readouterr()
    assert "failure_threshold has no effect" in said.err
    own = gather({}, {}, ConfigFile("own.toml", said.out))
    assert not own.problems
    assert own.config == gather({}, {}, ConfigFile("servers.toml", text)).config
    assert own.config.policy == "least_load"
