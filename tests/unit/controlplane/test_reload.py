"""A reload against planes that agree, refuse or say nothing, without any process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.cli.config_view import diff_lines
from controlplane.config_history import Entry
from controlplane.planes import Plane
from controlplane.reload import CONFIRM_WITHIN, TRIED_WITHIN
from controlplane.reload_rules import Mode, judge, overruled, triers, verdict
from shared.config import StartConfig
from shared.config_diff import diff
from shared.config_file import ConfigFile
from shared.config_settings import settings_of
from shared.config_sources import Gathered, gather
from shared.table import Stamp
from tests.unit.controlplane.reloads import Router, agreeing, plane


@pytest.mark.parametrize(
    ("planes", "refusal", "silent"),
    [
        ([], None, ()),
        ([plane(0, acked=5), plane(1, acked=6)], None, ()),
        ([plane(0, acked=5), plane(1, acked=4), plane(2)], None, ("1", "2")),
        ([plane(0), plane(1, nacked=5)], "plane 1 refuses it: no", ()),
        ([plane(0, acked=5), plane(1, acked=4, nacked=4)], None, ("1",)),
        ([plane(0, acked=5), plane(1, folded=True)], None, ()),
    ],
)
def test_what_the_planes_say(planes: list[Plane], refusal: str | None, silent: tuple[str, ...]) -> None:
    assert verdict(planes, Stamp(1, 5, 0)) == (refusal, silent)


def file(text: str) -> Gathered:
    return gather({}, {}, ConfigFile("r.toml", text))


def test_what_a_flag_makes_ineffective_is_told_and_nothing_else() -> None:
    """NaN, which is refused, is not even equal to itself."""
    config = ConfigFile("r.toml", 'otel_sampling_ratio = nan\npolicy = "random"\nqueue_size = 5\nreceipts = 9')
    flags = {"policy": "round_robin", "queue_size": "5"}
    assert overruled(gather(flags, {}, config), gather({}, {}, config)) == (
        "r.toml:2: policy has no effect: --policy of the router's start wins",
    )


def test_values_that_planes_can_take_while_they_run() -> None:
    plan = judge(StartConfig(), file('policy = "random"\nhealth_check_interval_secs = 5\nlog_level = "debug"'))
    assert plan.outcome == "possible"
    assert {change.key for change in plan.changes} == {"policy", "health_check_interval_secs", "log_level"}
    assert judge(StartConfig(), file("")).outcome == "unchanged"


@pytest.mark.parametrize(
    "line",
    [
        'host = "127.0.0.2"',
        "port = 3",
        'admin_host = "127.0.0.2"',
        "admin_port = 3",
        'prometheus_host = "127.0.0.2"',
        "prometheus_port = 3",
        "data_planes = 200",
        'runtime_dir = "/x"',
        'plane_affinity = "none"',
        "shutdown_grace_secs = 3",
    ],
)
def test_what_needs_a_restart_is_refused_by_name_and_takes_everything_with_it(line: str) -> None:
    plan = judge(StartConfig(), file(f'policy = "random"\n{line}'))
    assert (plan.outcome, plan.changes) == ("refused", ())
    (problem,) = plan.problems
    assert problem.startswith(f"r.toml:2: {line.split(' ')[0]} can not change by a reload (")


@pytest.mark.parametrize(
    ("line", "values", "helps"),
    [
        ("data_planes = 3", "2 -> 3", "stop the router and start it anew"),
        ("metrics_compat = true", "false -> true", "`routerctl start` again replaces the control plane"),
        ('log_format = "json"', '"text" -> "json"', "`routerctl start` again replaces the planes one by one"),
    ],
)
def test_a_refusal_says_what_helps_in_the_words_of_config_diff(line: str, values: str, helps: str) -> None:
    old = file("data_planes = 2").config
    lines = ["data_planes = 2"] * (not line.startswith("data_planes")) + [line]
    plan = judge(old, file("\n".join(lines)))
    (problem,) = plan.problems
    key = line.split(" ")[0]
    assert problem == (
        f"r.toml:{len(lines)}: {key} can not change by a reload ({values}); set it back, or start with it: {helps}"
    )
    (shown,) = diff_lines(diff(old, file("\n".join(lines)).config))
    assert shown == f"{key}: {values}  ({helps})"


def test_workers_change_by_a_reload() -> None:
    plan = judge(StartConfig(), file('worker_urls = ["http://a"]'))
    assert (plan.outcome, [change.key for change in plan.changes]) == ("possible", ["worker_urls"])


@pytest.mark.parametrize("text", ["", "[servers]\nservers = []", "worker_urls = []\nlog_level = 'debug'"])
def test_a_list_is_not_emptied_by_accident(text: str) -> None:
    had = StartConfig(worker_urls=("http://a", "http://b"))
    plan = judge(had, file(text))
    assert (plan.outcome, plan.changes) == ("refused", ())
    assert "the list in use has 2" in plan.problems[0]
    assert "--allow-no-workers" in plan.problems[0]
    assert judge(had, file(text), allow_no_workers=True).outcome == "possible"
    assert judge(StartConfig(policy="random"), file("")).outcome == "possible"


def test_a_file_that_is_emptied_takes_no_worker_away_unless_that_is_said(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    text = 'worker_urls = ["http://a"]'
    router.apply(text)
    router.file.write_text("")
    for cause in ("reload", "watch", "SIGHUP"):
        assert (router.reload(cause).outcome, router.adopted.worker_urls) == ("refused", ("http://a",))
    assert router.reloader.refused is not None
    assert router.rollback(1).outcome == "refused"
    assert router.file.read_text() == ""
    assert router.reload(mode=Mode(allow_no_workers=True)).outcome == "applied"
    assert router.adopted.worker_urls == ()
    assert router.on_disk().worker_urls == ()


def test_settings_are_tried_on_one_plane_of_each_version_that_serves() -> None:
    planes = [
        plane(0, acked=1, version="1", heard=5.0),
        plane(1, acked=1, version="1", heard=6.0),
        plane(2, acked=1, version="2", heard=1.0),
        plane(3, acked=1, version="3", folded=True),
        plane(4, version="4"),
    ]
    assert {tried.identity.slot for tried in triers(planes)} == {1, 2}


def test_every_problem_is_told() -> None:
    plan = judge(StartConfig(), file("port = 0\nprot = 1\npolicy = 'x'"))
    assert plan.outcome == "refused"
    assert len(plan.problems) == 3


def test_what_all_planes_confirm_counts_and_is_kept(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.file.write_text("request_timeout_secs = 5")
    assert router.reload().outcome == "applied"
    assert router.adopted.request_timeout_secs == router.settings.request_timeout == 5.0
    assert router.on_disk() == router.adopted
    assert router.reload().outcome == "unchanged"


def test_what_one_plane_refuses_is_taken_back(tmp_path: Path) -> None:
    def answers(version: int) -> list[Plane]:
        return [plane(0, acked=version), plane(1, acked=1, nacked=2) if version == 2 else plane(1, acked=version)]

    router = Router(tmp_path, answers)
    router.file.write_text("request_timeout_secs = 5")
    result = router.reload()
    assert (result.outcome, result.problems) == ("refused", ("plane 1 refuses it: no",))
    assert router.adopted == router.config
    assert router.settings == settings_of(router.config)
    assert not router.runtime.config.exists()


def test_what_a_plane_would_refuse_reaches_no_other(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [plane(0, acked=version), plane(1, acked=version, heard=1.0)])
    router.said["0000000000000001"] = "not with me"
    router.file.write_text("request_timeout_secs = 5")
    result = router.reload()
    assert (result.outcome, result.problems) == ("refused", ("plane 1 refuses it: not with me",))
    assert router.tried == ["0000000000000001"]
    assert (router.version, router.adopted) == (1, router.config)


def test_a_plane_that_can_not_be_asked_holds_nobody_up(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.said["0000000000000000"] = None
    router.file.write_text("request_timeout_secs = 5")
    result = router.reload()
    assert result.outcome == "applied"
    (warning,) = result.warnings
    assert warning.startswith(f"it could not be tried on plane 0, which said nothing for {TRIED_WITHIN:g} s")


def test_what_is_not_the_planes_business_is_not_tried(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.file.write_text('worker_urls = ["http://a"]')
    assert router.reload().outcome == "applied"
    assert (router.tried, router.version) == ([], 1)


def test_a_plane_that_hangs_holds_nobody_up_and_is_named(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [plane(0, acked=version), plane(1, acked=1)])
    router.file.write_text("request_timeout_secs = 5")
    result = router.reload()
    assert result.outcome == "applied"
    (warning,) = result.warnings
    assert warning.startswith(f"plane 1 has not confirmed within {CONFIRM_WITHIN:g} s")


def test_what_can_not_be_kept_is_taken_back(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.file.write_text("request_timeout_secs = 5")
    router.runtime.config.mkdir()
    result = router.reload()
    assert result.outcome == "refused"
    assert "config.json" in result.problems[0]
    assert router.adopted == router.config
    assert router.settings == settings_of(router.config)


@pytest.mark.parametrize("content", [b"port = ", b"policy = 1", b"\xff", b"data_planes = 5\nprot = 1"])
def test_a_bad_file_changes_nothing(tmp_path: Path, content: bytes) -> None:
    router = Router(tmp_path, agreeing)
    router.file.write_bytes(content)
    result = router.reload()
    assert result.outcome == "refused"
    assert "r.toml" in result.problems[0]
    assert (router.version, router.adopted) == (1, router.config)


def test_a_file_that_is_gone_and_a_start_that_is_not_known(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [])
    router.file.unlink()
    assert "No such file" in router.reload().problems[0]
    router.runtime.sources.unlink()
    assert "how the router was started is not known" in router.reload().problems[0]


def test_flags_go_on_to_win(tmp_path: Path) -> None:
    router = Router(tmp_path, lambda version: [])
    router.file.write_text("data_planes = 7")
    result = router.reload()
    assert result.outcome == "unchanged"
    (warning,) = result.warnings
    assert warning.endswith("r.toml:1: data_planes has no effect: --data-planes of the router's start wins")
    router.file.write_text("data_planes = 1")
    assert router.reload().warnings == ()


def entry(router: Router, number: int) -> Entry:
    return next(entry for entry in router.reloader.history.entries if entry.number == number)


def test_apply_gives_the_file_another_text_and_goes_by_it(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    text = "# ours\r\nrequest_timeout_secs = 5 # five\n"
    result = router.apply(text)
    assert (result.outcome, result.number, [change.key for change in result.changes]) == (
        "applied",
        2,
        ["request_timeout_secs"],
    )
    assert router.file.read_bytes() == text.encode()
    assert router.adopted.request_timeout_secs == 5.0
    assert (entry(router, 2).text, entry(router, 2).detail) == (text, "new.toml")
    assert (router.reload().outcome, router.causes()) == ("unchanged", ["start", "apply"])


def test_a_text_with_other_comments_only_is_put_there_too(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    assert (router.apply("# a word").outcome, router.file.read_text()) == ("unchanged", "# a word")
    assert router.causes() == ["start", "apply"]
    assert not router.runtime.config.exists()


@pytest.mark.parametrize("text", ["port = ", "port = 5", "request_timeout_secs = 5\nprot = 1", "policy = 'x'"])
def test_what_is_refused_leaves_the_file_as_it_is(tmp_path: Path, text: str) -> None:
    router = Router(tmp_path, agreeing)
    router.file.write_text("# theirs")
    result = router.apply(text)
    assert (result.outcome, result.number) == ("refused", 1)
    assert "new.toml:" in result.problems[0]
    assert (router.file.read_text(), router.adopted, router.causes()) == ("# theirs", router.config, ["start"])
    assert router.reloader.refused is None


def test_what_a_plane_refuses_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.said["0000000000000000"] = "not with me"
    assert router.apply("request_timeout_secs = 5").outcome == "refused"
    assert (router.file.read_text(), router.causes()) == ("", ["start"])


def test_a_dry_run_tries_and_changes_nothing(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    result = router.apply("request_timeout_secs = 5", dry_run=True)
    assert (result.outcome, len(result.changes), len(router.tried)) == ("possible", 1, 1)
    assert (router.file.read_text(), router.version, router.causes()) == ("", 1, ["start"])
    router.said["0000000000000000"] = "not with me"
    assert router.apply("request_timeout_secs = 5", dry_run=True).outcome == "refused"


def test_what_somebody_has_written_and_never_seen_in_use_is_not_lost(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.file.write_text("prot = 1")
    assert router.apply("request_timeout_secs = 5").outcome == "applied"
    assert router.causes() == ["start", "overwritten", "apply"]
    assert entry(router, 2).text == "prot = 1"
    # It was never in use, so there is no going back to it without naming it; and then it is refused.
    assert router.rollback().number == 4
    assert router.file.read_text() == ""
    assert router.rollback(2).problems[0].startswith("configuration 2:1: unknown key 'prot'")


def test_a_rollback_goes_back_and_a_second_one_undoes_it(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.file.write_text("request_timeout_secs = 5")
    router.reload()
    router.apply("request_timeout_secs = 6")
    assert router.rollback().outcome == "applied"
    assert (router.file.read_text(), router.adopted.request_timeout_secs) == ("request_timeout_secs = 5", 5.0)
    assert (entry(router, 4).cause, entry(router, 4).detail) == ("rollback", "configuration 2")
    router.rollback()
    assert router.adopted.request_timeout_secs == 6.0
    router.rollback(1)
    assert (router.file.read_text(), router.adopted) == ("", router.config)
    assert router.rollback(1).outcome == "unchanged"


def test_a_rollback_restores_a_file_that_was_broken_or_removed(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.apply("request_timeout_secs = 5")
    router.file.unlink()
    assert router.reload().outcome == "refused"
    assert router.rollback(2).outcome == "unchanged"
    assert router.file.read_text() == "request_timeout_secs = 5"
    assert router.reloader.refused is None


@pytest.mark.parametrize("edit", ["prot = 1", "request_timeout_secs = 7", None])
def test_a_rollback_undoes_an_edit_that_is_not_in_use_before_anything_else(tmp_path: Path, edit: str | None) -> None:
    router = Router(tmp_path, agreeing)
    router.apply("request_timeout_secs = 5")
    if edit is None:
        router.file.unlink()
    else:
        router.file.write_text(edit)
    result = router.rollback()
    assert (result.outcome, result.written, router.file.read_text()) == (
        "unchanged",
        str(router.file),
        "request_timeout_secs = 5",
    )
    assert router.rollback(2).written is None
    assert router.adopted.request_timeout_secs == 5.0
    assert (router.rollback().outcome, router.file.read_text()) == ("applied", "")


def test_without_an_earlier_one_or_a_file_there_is_no_way_back(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    assert router.rollback().problems[0].startswith("there is no earlier configuration")
    assert router.rollback(7).problems[0].startswith("there is no configuration 7 in the history")
    (tmp_path / "other").mkdir()
    other = Router(tmp_path / "other", agreeing, has_file=False)
    assert "start it with --config FILE" in other.apply("").problems[0]
    assert (other.reload().outcome, other.causes()) == ("unchanged", [])


def test_when_something_can_not_be_kept_the_file_comes_back(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.runtime.config.mkdir()
    result = router.apply("request_timeout_secs = 5")
    assert (result.outcome, result.number) == ("refused", 1)
    assert result.problems[0].startswith(f"it can not be kept in {router.runtime.path}: ")
    assert (router.file.read_text(), router.causes()) == ("", ["start"])
    assert router.settings == settings_of(router.config)
    router.runtime.config.rmdir()
    assert Router(tmp_path, agreeing).causes() == ["start"]


def test_the_history_outlives_a_restart_and_knows_a_file_that_was_changed_meanwhile(tmp_path: Path) -> None:
    first = Router(tmp_path, agreeing)
    first.apply("request_timeout_secs = 5")
    # A start with an empty file, then another one with the same.
    assert Router(tmp_path, agreeing).causes() == ["start", "apply", "start"]
    assert Router(tmp_path, agreeing).causes() == ["start", "apply", "start"]


def test_a_start_is_written_down_with_its_file_and_what_that_changed(tmp_path: Path) -> None:
    Router(tmp_path, agreeing, text="request_timeout_secs = 5\nport = 3")
    router = Router(tmp_path, agreeing, name="f.toml", text="port = 3\npolicy = 'random'")
    first, second = router.reloader.history.entries
    assert (first.file, set(first.keys)) == (str(tmp_path / "r.toml"), {"request_timeout_secs", "port"})
    assert (second.file, set(second.keys)) == (str(tmp_path / "f.toml"), {"request_timeout_secs", "policy"})


def test_a_file_gets_the_text_of_another_one_only_where_that_is_said(tmp_path: Path) -> None:
    old, new = "request_timeout_secs = 5", "request_timeout_secs = 6"
    Router(tmp_path, agreeing, name="servers.toml", text=old)
    router = Router(tmp_path, agreeing, name="f.toml", text=new)
    result = router.rollback()
    assert (result.outcome, router.file.read_text()) == ("refused", new)
    assert f"of {tmp_path}/servers.toml" in result.problems[0]
    # An edit is undone all the same.
    router.file.write_text("prot = 1")
    assert (router.rollback().outcome, router.file.read_text()) == ("unchanged", new)
    named = router.rollback(1)
    assert (named.outcome, router.file.read_text()) == ("applied", old)
    assert named.warnings == (f"configuration 1 is of {tmp_path}/servers.toml; {router.file} gets its text",)
    assert (router.rollback().outcome, router.file.read_text()) == ("applied", new)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    router = Router(tmp_path, agreeing)
    router.file.unlink()
    os.mkfifo(router.file)
    assert "no regular file" in router.reload().problems[0]
