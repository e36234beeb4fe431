"""The schema says of a file what `gather` says of it."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import msgspec
import pytest

from controlplane.cli.option_texts import HELP
from shared.config import StartConfig
from shared.config_fields import FIELDS
from shared.config_file import ConfigFile
from shared.config_schema import schema
from shared.config_sources import gather

SCHEMA = schema({field: text for field, (_, text) in HELP.items()})
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def is_valid(value: Any, rules: dict[str, Any]) -> bool:
    """The part of JSON Schema that the schema uses; an unknown keyword is an error."""
    for keyword, rule in rules.items():
        match keyword:
            case "$schema" | "title" | "description" | "default":
                fits = True
            case "type":
                fits = isinstance(value, _KINDS[rule]) and (rule == "boolean") == isinstance(value, bool)
            case "enum":
                fits = value in rule
            case "minimum":
                fits = value >= rule
            case "maximum":
                fits = value <= rule
            case "minLength":
                fits = len(value) >= rule
            case "maxLength":
                fits = len(value) <= rule
            case "minItems":
                fits = len(value) >= rule
            case "maxItems" | "maxProperties":
                fits = len(value) <= rule
            case "required":
                fits = set(rule) <= set(value)
            case "propertyNames":
                fits = all(is_valid(key, rule) for key in value)
            case "pattern":
                fits = re.search(rule, value) is not None
            case "items":
                fits = all(is_valid(item, rule) for item in value)
            case "anyOf":
                fits = any(is_valid(value, one) for one in rule)
            case "properties":
                fits = all(is_valid(value[key], one) for key, one in rule.items() if key in value)
            case "additionalProperties" if rule is False:
                fits = set(value) <= set(rules["properties"])
            case "additionalProperties":
                fits = all(is_valid(one, rule) for one in value.values())
            case _:
                raise AssertionError(f"unknown keyword {keyword}")
        if not fits:
            return False
    return True


def test_the_defaults_are_valid_and_in_it() -> None:
    defaults = msgspec.json.decode(msgspec.json.encode(StartConfig()))
    assert is_valid({field: value for field, value in defaults.items() if value is not None}, SCHEMA)
    for field, rules in SCHEMA["properties"].items():
        assert rules["description"]
        if FIELDS[field].default not in (msgspec.NODEFAULT, None):
            assert rules["default"] == defaults[field]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ('worker_urls = ["http://a:1", "HTTPS://[::1]:8000/"]\nhost = "::1"\nadmin_host = "localhost"', True),
        ('worker_urls = "http://a http://b"\nconnect_timeout_secs = 3', True),
        ('policy = "random"\ndisable_retries = true\nrequest_id_headers = ["x-a"]', True),
        ("prot = 1", False),
        ("[router]\nport = 1", False),
        ("port = 0", False),
        ("port = 65536", False),
        ('port = "1"', False),
        ("port = 1.5", False),
        ("port = true", False),
        ("retry_jitter_factor = 1.1", False),
        ('policy = "best"', False),
        ("policy = 1", False),
        ('worker_urls = ["a:1"]', False),
        ('worker_urls = ["http://u:p@a:1"]', False),
        ('worker_urls = ["http://a/v1"]', False),
        ("worker_urls = [1]", False),
        ("disable_retries = 1", False),
        ('disable_retries = "true"', False),
        ('health_check_endpoint = "health"', False),
        ('runtime_dir = ""', False),
        ('host = "example"', False),
        ('worker_server_name = "a/b"', False),
        ('request_id_headers = ["x y"]', False),
        ('[[workers]]\nurl = "http://a:1"\nlabels = {zone = "a"}\nweight = 0\ncapacity = 0.5\npriority = 0', True),
        ('[[workers]]\nurl = "http://a:1"\nrole = "regular"', True),
        ('[[workers]]\nurl = "http://a:1"\nrole = "prefill"', True),
        ("[[workers]]\nweight = 1", False),
        ('[[workers]]\nurl = "a:1"', False),
        ('[[workers]]\nurl = "http://a:1"\nwait = 1', False),
        ('[[workers]]\nurl = "http://a:1"\nweight = 1001', False),
        ('[[workers]]\nurl = "http://a:1"\nweight = true', False),
        ('[[workers]]\nurl = "http://a:1"\ncapacity = 0', False),
        ('[[workers]]\nurl = "http://a:1"\npriority = 1.5', False),
        ('[[workers]]\nurl = "http://a:1"\nlabels = {"-a" = "b"}', False),
        ('[[workers]]\nurl = "http://a:1"\nlabels = {a = 1}', False),
        ('workers = "http://a:1"', False),
        ('[models]\na = "b"\n[models."c.d"]\nlabels = {x = "y"}\nrewrite = false\nto = "b"', True),
        ('[models.a]\nsplit = [{to = "b", weight = 9}, {labels = {x = "y"}, weight = 0.5}]', True),
        ('[models.a]\nparent = "b"', True),
        ("[models]\na = 1", False),
        ('[models]\na = ""', False),
        ("[models.a]\nsplit = []", False),
        ('[models.a]\nsplit = [{to = "b", weight = -1}]', False),
        ('[models.a]\ntoo = "b"', False),
    ],
)
def test_files(text: str, fits: bool) -> None:
    assert is_valid(tomllib.loads(text), SCHEMA) is fits
    # "x y" is two names where texts are split; the schema, for editors, wants them apart.
    if "x y" not in text:
        assert (not gather({}, {}, ConfigFile("f", text)).problems) is fits
