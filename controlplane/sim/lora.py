"""`/v1/load_lora_adapter` and `/v1/unload_lora_adapter` (VLLM_ALLOW_RUNTIME_LORA_UPDATING), in vLLM's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ApiError
from .exchange import Exchange
from .requests import Adapter, read

if TYPE_CHECKING:
    from .worker import Worker

_WRONG = "InvalidUserInput"
MISSING = "missing"
"""An adapter whose path ends so can not be found."""


def load(worker: Worker, exchange: Exchange) -> None:
    """Take an adapter in: it is a model then."""
    body = _read(exchange)
    name = str(body.lora_name)
    if not name or not body.lora_path:
        raise ApiError(400, "Both 'lora_name' and 'lora_path' must be provided.", _WRONG)
    if name in worker.config.models:
        raise ApiError(400, f"The lora adapter '{name}' conflicts with a served base model.", _WRONG)
    if name in worker.adapters and not body.load_inplace:
        raise ApiError(
            400,
            f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set "
            "'load_inplace' to True.",
            _WRONG,
        )
    if body.lora_path.endswith(MISSING):
        raise ApiError(404, f"Loading lora {name} failed: No adapter found for {body.lora_path}", "NotFoundError")
    worker.adapters[name] = body.lora_path
    exchange.send(200, b"", f"Success: LoRA adapter '{name}' added successfully.".encode())


def unload(worker: Worker, exchange: Exchange) -> None:
    """Drop an adapter."""
    name = str(_read(exchange).lora_name)
    if name not in worker.adapters:
        raise ApiError(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
    del worker.adapters[name]
    exchange.send(200, b"", f"Success: LoRA adapter '{name}' removed successfully.".encode())


def _read(exchange: Exchange) -> Adapter:
    request = exchange.request
    return read(Adapter, request.body, request.header(b"content-type"), "lora_name")
