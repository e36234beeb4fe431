"""Loading and unloading LoRA adapters: what is asked of the control plane, and what became of it."""

from __future__ import annotations

from typing import Literal

import msgspec

AdapterVerb = Literal["load-adapter", "unload-adapter"]
VERBS: dict[str, AdapterVerb] = {
    "/v1/load_lora_adapter": "load-adapter",
    "/v1/unload_lora_adapter": "unload-adapter",
}
"""By the path of vLLM's that it is asked for at."""
PATHS = {verb: path for path, verb in VERBS.items()}
WITHIN = 60.0
"""Seconds for all workers together: an adapter of some hundred MB comes from a network disk."""
REREAD_WITHIN = 5.0
"""Seconds more until all of them have told their models anew: as long as a look at one may take by default."""
SERVED_WITHIN = 5.0
"""Seconds more until all planes serve by what they told: a tenth of one, as a rule."""
PATIENCE = WITHIN + REREAD_WITHIN + SERVED_WITHIN + 5
"""Seconds until the control plane's answer is awaited no longer."""


class AdapterBody(msgspec.Struct):
    """What is read of a body; all of it is passed on."""

    lora_name: str
    lora_path: str = ""


class AdapterOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The client's body as it came, a JSON text for vLLM; `model` restricts it to the workers that serve that one."""

    body: str
    model: str | None = None


class AdapterReport(msgspec.Struct, frozen=True, kw_only=True):
    """The workers that did it, by their URLs, and why the others did not."""

    done: tuple[str, ...]
    failed: dict[str, str]

    @property
    def status(self) -> int:
        """The HTTP status that tells it."""
        return 502 if self.failed else 200


class AdapterProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Why nobody was asked; `code` is that of an error of `shared.errors`."""

    code: Literal["bad_adapter", "adapter_for_nobody"]
    message: str

    @property
    def status(self) -> int:
        """The HTTP status that tells it."""
        return 400 if self.code == "bad_adapter" else 404


class AdapterAnswer(msgspec.Struct, frozen=True):
    """What came of an order, as it goes over the wire: one of the two."""

    report: AdapterReport | None = None
    problem: AdapterProblem | None = None
