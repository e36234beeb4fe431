"""The connectors by their names."""

from __future__ import annotations

from dataplane.pd.connector import Connector
from dataplane.pd.example import Example
from dataplane.pd.nccl import Nccl
from dataplane.pd.nixl import Nixl

_CONNECTORS: dict[str, Connector] = {connector.name: connector for connector in (Nixl(), Example(), Nccl())}


def connector_of(name: str) -> Connector:
    """Return the connector of a name. Raises KeyError."""
    return _CONNECTORS[name]
