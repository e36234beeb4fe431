"""The JSON Schema of the TOML file, made from the fields' types, ranges, choices and help texts.

What needs more than one value, or the network or the disk, to judge is not in it: two equal ports, a file that
holds no certificate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from shared.config_access import ORIGIN
from shared.config_faults import (
    ADDRESSES,
    CHOICES,
    HEADER_LISTS,
    HEADER_NAME,
    POLICY_FIELDS,
    RANGES,
    SERVER_NAME,
    URL_LISTS,
)
from shared.config_fields import FIELDS, LISTS
from shared.config_models import MAX_ARMS, MAX_NAME, MAX_NAMES
from shared.config_pd import KV_CONNECTORS
from shared.config_policies import MAX_MODEL, MAX_MODELS
from shared.connector_plugins import connector_names
from shared.discovery_config import DISCOVERY_ADDRESSES
from shared.kubernetes_config import LABEL, NAMESPACE, SELECTORS
from shared.kv_config import ENDPOINT
from shared.policy_names import POLICIES
from shared.policy_plugins import MODULE_AND_CLASS, plugin_names
from shared.table import Role
from shared.transfer import AUTO, TransferMode
from shared.transfer_attributes import MAX_ADDRESS, NUMBERS
from shared.worker_attributes import (
    CAPACITIES,
    LABEL_KEY,
    MAX_LABEL_KEY,
    MAX_LABEL_VALUE,
    MAX_LABELS,
    MAX_LIMIT,
    MAX_PRIORITY,
    MAX_WEIGHT,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {int: "integer", float: "number", bool: "boolean"}
_WORKER_URL = r"^\s*[Hh][Tt][Tt][Pp][Ss]?://[^/@?#\s]+/?\s*$"
_IPV4_OR_IPV6 = r"^(localhost|[0-9.]+|[0-9A-Fa-f:.%]*:[0-9A-Za-z:.%]*)$"
_KV_SOURCE = rf"^([Hh][Tt][Tt][Pp][Ss]?://[^/@?#\s=]+/?=)?{ENDPOINT}$"
_ITEMS = {
    **dict.fromkeys(URL_LISTS, _WORKER_URL),
    "prefill": rf"{_WORKER_URL}|^[0-9]+$|^[Nn][Oo][Nn][Ee]$",
    "discovery_allow": r"^[0-9A-Fa-f.:]+(/[0-9.]+)?$",
    **dict.fromkeys(SELECTORS, f"^{LABEL}$"),
    "tokenizer": r"^[^=]([\s\S]*[^=])?$",
    "kv_event_source": _KV_SOURCE,
    "kv_event_replay_source": _KV_SOURCE,
    "trusted_proxies": r"^[0-9A-Fa-f.:]+(/[0-9.]+)?$",
    "model_max_concurrent_requests": r"^.+=[1-9][0-9]{0,9}$",
    "cors_allowed_origins": ORIGIN,
    **dict.fromkeys(HEADER_LISTS, f"^{HEADER_NAME}$"),
}
_CONNECTOR = "|".join((AUTO, *KV_CONNECTORS, *map(re.escape, connector_names()), MODULE_AND_CLASS))
_POLICY = "|".join((*POLICIES, *map(re.escape, plugin_names()), MODULE_AND_CLASS))
_PATTERNS = {
    **dict.fromkeys(POLICY_FIELDS, f"^({_POLICY})$"),
    "kv_connector": f"^({_CONNECTOR})$",
    **dict.fromkeys(DISCOVERY_ADDRESSES, r"^(tcp://)?(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"),
    **dict.fromkeys(ADDRESSES, _IPV4_OR_IPV6),
    "service_discovery_namespace": f"^{NAMESPACE}$",
    "health_check_endpoint": "^/",
    "worker_server_name": f"^{SERVER_NAME}$",
}

_ADDRESS = {"type": "string", "minLength": 1, "maxLength": MAX_ADDRESS}
_LABELS = {
    "type": "object",
    "propertyNames": {"pattern": f"^{LABEL_KEY}$", "maxLength": MAX_LABEL_KEY},
    "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_VALUE},
    "maxProperties": MAX_LABELS,
}
_WEIGHT = {"type": "number", "minimum": 0, "maximum": MAX_WEIGHT}
_MODEL = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_MODEL_RULE = {
    "type": "object",
    "properties": {
        "to": _MODEL,
        "labels": _LABELS,
        "rewrite": {"type": "boolean"},
        "parent": _MODEL,
        "split": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"to": _MODEL, "labels": _LABELS, "weight": _WEIGHT},
                "additionalProperties": False,
            },
            "minItems": 1,
            "maxItems": MAX_ARMS,
        },
    },
    "additionalProperties": False,
}
_WORKER = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "pattern": _WORKER_URL},
        "role": {"type": "string", "enum": list(get_args(Role))},
        "labels": _LABELS,
        "weight": _WEIGHT,
        "capacity": {"type": "number", "minimum": CAPACITIES[0], "maximum": CAPACITIES[1]},
        "max_concurrent_requests": {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT},
        "priority": {"type": "integer", "minimum": 0, "maximum": MAX_PRIORITY},
        "transfer": {
            "type": "object",
            "properties": {
                "connector": _ADDRESS,
                "address": _ADDRESS,
                "mode": {"type": "string", "enum": list(get_args(TransferMode))},
                **{name: {"type": "integer", "minimum": 1, "maximum": most} for name, most in NUMBERS.items()},
            },
            "additionalProperties": False,
        },
    },
    "required": ["url"],
    "additionalProperties": False,
}


def schema(help_texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema; `help_texts` are by field."""
    return {
        "$schema": DIALECT,
        "title": "routerctl's configuration file",
        "type": "object",
        "properties": {field: {"description": help_texts[field], **_property(field)} for field in FIELDS},
        "additionalProperties": False,
    }


def _property(field: str) -> dict[str, Any]:
    described: dict[str, Any] = _type(field)
    default = FIELDS[field].default
    if default is not msgspec.NODEFAULT and default is not None:
        described["default"] = list(default) if isinstance(default, tuple) else default
    return described


def _type(field: str) -> dict[str, Any]:
    if field == "workers":
        return {"type": "array", "items": _WORKER}
    if field == "models":
        return {
            "type": "object",
            "propertyNames": {"minLength": 1, "maxLength": MAX_NAME},
            "additionalProperties": {"anyOf": [_MODEL, _MODEL_RULE]},
            "maxProperties": MAX_NAMES,
        }
    if field == "policies":
        return {
            "type": "object",
            "propertyNames": {"minLength": 1, "maxLength": MAX_MODEL},
            "additionalProperties": {"type": "string", "pattern": f"^({_POLICY})$"},
            "maxProperties": MAX_MODELS,
        }
    if field in LISTS:
        items: dict[str, Any] = {"type": "string", "pattern": _ITEMS[field]}
        # A text with several in it is taken too, as in the environment.
        return {"anyOf": [{"type": "array", "items": items}, {"type": "string"}]}
    kind = _TYPES.get(FIELDS[field].type)
    if kind == "boolean":
        return {"type": kind}
    if kind is not None:
        low, high = RANGES[field]
        return {"type": kind, "minimum": low, "maximum": high}
    text: dict[str, Any] = {"type": "string"}
    if field in CHOICES:
        text["enum"] = list(CHOICES[field])
    elif field in _PATTERNS:
        text["pattern"] = _PATTERNS[field]
    else:
        text["minLength"] = 1
    return text
