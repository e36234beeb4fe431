"""The dashboard and the alerts ask for what the router exports, and say what there is to do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from controlplane.cli import run
from controlplane.cli.argv import START_FLAGS
from shared import catalog
from tests.docs.promql import Matcher, Query, Selector, parse
from tests.docs.ready_made import (
    ALERTS,
    BOARD,
    DEPLOY,
    PANELS,
    RULES,
    alert_expressions,
    board_expressions,
    filled_in,
)
from tests.docs.test_metrics_page import every_family

PAGE = (DEPLOY.parent / "docs" / "alerts.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
OF_THE_SCRAPE = {"job", "instance"}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")


def exported() -> dict[str, set[str]]:
    """The labels of every sample that Prometheus can have of the router, and of what the rules record."""
    found = {"up": set(OF_THE_SCRAPE)}
    for family in every_family():
        labels = {"version"} if family.type == "info" else set(getattr(family, "_labelnames", ()))
        suffixes = {
            "counter": ("_total",),
            "info": ("_info",),
            "summary": ("_count", "_sum"),
            "histogram": ("_bucket", "_count", "_sum"),
        }
        for suffix in suffixes.get(family.type, ("",)):
            found[family.name + suffix] = labels | OF_THE_SCRAPE | ({"le"} if suffix == "_bucket" else set())
    for rule in RULES:
        if "record" in rule:
            found[rule["record"]] = set(parse(rule["expr"]).groupings)
    return found


EXPORTED = exported()
ASKED = alert_expressions() + board_expressions()


@pytest.mark.parametrize(
    ("expression", "query"),
    [
        ("up == 0", Query((Selector("up", ()),), frozenset())),
        ("1 - rate(a_total[5m])", Query((Selector("a_total", ()),), frozenset())),
        (
            'sum by (le, x) (rate(a{b="c",d=~"e|f"}[$__rate_interval])) / on (y) group_left b > bool 1e0',
            Query(
                (Selector("a", (Matcher("b", "=", "c"), Matcher("d", "=~", "e|f"))), Selector("b", ())),
                frozenset({"le", "x", "y"}),
            ),
        ),
        (
            'absent(r:a:b{x!="}"}) unless c offset 5m',
            Query((Selector("r:a:b", (Matcher("x", "!=", "}"),)), Selector("c", ())), frozenset()),
        ),
    ],
)
def test_expressions_are_read(expression: str, query: Query) -> None:
    assert parse(expression) == query


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="no PromQL"):
        parse("sum(a) ; b")


def test_every_expression_asks_for_what_is_exported() -> None:
    for place, expression in ASKED:
        query = parse(expression)
        known: set[str] = set()
        for selector in query.selectors:
            assert selector.name in EXPORTED, (place, selector.name)
            labels = EXPORTED[selector.name]
            assert {matcher.label for matcher in selector.matchers} <= labels, (place, selector)
            known |= labels
        assert known, place
        assert query.groupings <= known, place


def test_bounds_are_those_of_the_histogram() -> None:
    bounds = {f"routerctl_{one.name}_bucket": [str(bound) for bound in one.buckets] for one in catalog.HISTOGRAMS}
    asked = [
        (one.name, matcher)
        for _, expression in ASKED
        for one in parse(expression).selectors
        for matcher in one.matchers
    ]
    told = [(name, matcher.value) for name, matcher in asked if matcher.label == "le"]
    assert told
    assert all(value in bounds[name] for name, value in told)


# --- the dashboard -------------------------------------------------------------------------------------------


def test_the_data_source_is_chosen_by_who_imports_it() -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    sources = [panel["datasource"] for panel in PANELS]
    sources += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    sources += [one["datasource"] for one in variables.values() if one["type"] == "query"]
    assert {json.dumps(source) for source in sources} == {'{"type": "prometheus", "uid": "${datasource}"}'}


def test_variables_are_there_and_list_what_is_exported() -> None:
    variables = {one["name"]: one for one in BOARD["templating"]["list"]}
    used = {name for _, expression in board_expressions() for name in re.findall(r"\$(\w+)", expression)}
    assert used - {"__rate_interval"} == set(variables) - {"datasource"}
    for name in used - {"__rate_interval"}:
        listed = re.fullmatch(r"label_values\((.+), (\w+)\)", variables[name]["query"]["query"])
        assert listed is not None
        (selector,) = parse(listed[1]).selectors
        assert {listed[2], *(matcher.label for matcher in selector.matchers)} <= EXPORTED[selector.name]


def test_every_panel_is_limited_to_the_routers_that_were_chosen() -> None:
    for place, expression in board_expressions():
        for selector in parse(expression).selectors:
            assert Matcher("instance", "=~", "$router") in selector.matchers, place


OPTIONAL = re.compile(
    r"routerctl_(model_arm|leg_|disaggregated_|pair_|kv_|policy_cached|traces_total|client_key_|limit|queue)"
)
"""What is there only where a feature is in use."""


def test_panels_of_features_that_are_not_in_use_say_so() -> None:
    for panel in PANELS:
        # One query that always has an answer is enough.
        if all(OPTIONAL.search(target["expr"]) for target in panel["targets"]):
            assert panel["fieldConfig"]["defaults"].get("noValue"), panel["title"]


def test_errors_by_cause_have_those_that_workers_answered_themselves() -> None:
    """Or most of what fails would be in no panel of causes."""
    (panel,) = [panel for panel in PANELS if panel["title"] == "Errors by cause"]
    selectors = {one for target in panel["targets"] for one in parse(target["expr"]).selectors}
    own = {Matcher("instance", "=~", "$router"), Matcher("status", "=~", "5.."), Matcher("cause", "=", "")}
    assert any(set(one.matchers) == own for one in selectors)


def test_legends_name_labels_that_are_left() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            query = parse(target["expr"])
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            is_summed = re.search(r"\b(sum|count)\b", target["expr"]) is not None
            left = query.groupings if is_summed else EXPORTED[query.selectors[0].name]
            assert named <= left, panel["title"]


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


# --- the alerts ----------------------------------------------------------------------------------------------

NAMED = {rule["alert"]: rule for rule in RULES if "alert" in rule}


@pytest.mark.parametrize("name", NAMED)
def test_every_alert_says_what_to_do_and_where_to_read_on(name: str) -> None:
    rule = NAMED[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
    assert SECTIONS[name].lstrip().startswith(f"`{rule['labels']['severity']}`.")
    assert "- **Look:** " in SECTIONS[name]
    assert "- **Do:** " in SECTIONS[name]
    assert f"[{name}](#{name.lower()})" in PAGE.partition("\n## ")[0]


@pytest.mark.parametrize("name", NAMED)
def test_alerts_name_labels_that_they_have(name: str) -> None:
    query = parse(NAMED[name]["expr"])
    named = set(re.findall(r"\$labels\.(\w+)", str(NAMED[name]["annotations"])))
    is_summed = re.search(r"\bsum\b", query_of(name)) is not None and not query_of(name).startswith("routerctl:")
    assert named <= (query.groupings if is_summed else EXPORTED[query.selectors[0].name])


def query_of(name: str) -> str:
    expression: str = NAMED[name]["expr"]
    return expression


def test_the_page_has_no_other_sections() -> None:
    assert set(SECTIONS) == set(NAMED)


TEXTS = [PAGE, *(rule["annotations"]["description"] for rule in NAMED.values())]
COMMANDS = sorted({tuple(told.split()) for text in TEXTS for told in re.findall(r"`routerctl ([^`]+)`", text)})


def test_commands_that_people_are_told_to_run_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) > 10
    for words in COMMANDS:
        names = [word for word in words if word.isalpha() and word.islower()]
        assert run([*names, "--help"]) == 0, words
        shown = capsys.readouterr().out
        assert f"Usage: routerctl {' '.join(names)} " in shown
        assert all(word in shown for word in words if word.startswith("-")), words


def test_flags_that_people_are_told_to_set_are_there() -> None:
    vllm = {"--kv-events-config", "--kv-transfer-config", "--gpu-memory-utilization", "--kv-cache-dtype"}
    vllm.add("--enable-prompt-tokens-details")
    texts = [*TEXTS, *(panel.get("description", "") for panel in PANELS)]
    named = {flag for text in texts for flag in re.findall(r"(?:(?<=`)|(?<=: ))(--[a-z-]+)", text)}
    assert len(named) > 5
    assert named <= START_FLAGS | vllm


# --- Prometheus' own word --------------------------------------------------------------------------------------


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(("promtool", *arguments), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_prometheus_takes_the_files() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


@needs_promtool
def test_the_dashboards_expressions_are_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"asked:{number}", "expr": filled_in(asked.expression)}
        for number, asked in enumerate(board_expressions())
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", ALERTS.with_name("alerts_test.yml"))
