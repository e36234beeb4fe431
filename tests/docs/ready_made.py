"""The dashboard and the alerts of `deploy/`, as plain values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "routerctl.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


class Asked(NamedTuple):
    """An expression, and where it stands."""

    place: str
    expression: str


def alert_expressions() -> list[Asked]:
    return [Asked(rule.get("alert") or rule["record"], rule["expr"]) for rule in RULES]


def board_expressions() -> list[Asked]:
    return [Asked(f"panel {panel['title']}", target["expr"]) for panel in PANELS for target in panel["targets"]]


def filled_in(expression: str, interval: str = "5m") -> str:
    """An expression of the dashboard as Grafana asks it, with All chosen everywhere."""
    for variable in ("router", "model", "worker"):
        expression = expression.replace(f'"${variable}"', '".*"')
    return expression.replace("$__rate_interval", interval)
