"""deploy/kubernetes: what is to be applied is what the router asks for; docs/kubernetes.md names its flags."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from controlplane.cli.argv import as_fields, normalise
from controlplane.kubernetes.credentials import FOLDER
from controlplane.kubernetes.pods import ANNOTATIONS
from shared.config import flag_of
from shared.config_fields import FIELDS
from shared.config_sources import resolve
from shared.kubernetes_config import SELECTORS
from shared.routes import ROUTES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()


def objects() -> dict[str, Any]:
    """What is in the file, by kind."""
    text = (ROOT / "deploy" / "kubernetes" / "router.yaml").read_text()
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_its_command_line_is_a_right_one() -> None:
    found = objects()
    spec = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    program, command, *words = container["command"]
    assert (program, command) == ("routerctl", "start")
    namespace = f"$({container['env'][0]['name']})"
    assert sum(namespace in word for word in words) == 1
    config = resolve(as_fields(normalise([word.replace(namespace, "gpu") for word in words])), {})
    assert config.service_discovery
    assert config.service_discovery_credentials is None
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": config.port, "prometheus": config.prometheus_port}
    assert config.longest_stop < spec["terminationGracePeriodSeconds"]
    paths = {route.path for route in ROUTES}
    assert {container[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe")} <= paths
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == found["Service"]["spec"]["selector"] == labels


def test_it_may_do_what_it_does_and_nothing_else() -> None:
    found = objects()
    (rule,) = found["Role"]["rules"]
    assert rule == {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    binding, account = found["RoleBinding"], found["ServiceAccount"]["metadata"]["name"]
    assert binding["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account}]
    assert found["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == account


def test_the_page_has_every_flag_and_annotation() -> None:
    fields = [field for field in FIELDS if field.startswith("service_discovery") or field in SELECTORS]
    listed = set(re.findall(r"`(--[a-z-]+)", PAGE.partition("| flag |")[2].partition("\n\n")[0]))
    assert set(map(flag_of, fields)) <= listed
    assert set(re.findall(r"^\| `([a-z.]+/[a-z-]+)` \|", PAGE, re.MULTILINE)) == set(ANNOTATIONS)
    assert FOLDER in PAGE
