"""The flags of vllm-router 0.1.17 that are no flags here: what each is said in other words, or what to use instead.

All others are flags of `routerctl start` by the same name; a test holds the whole list against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

SWITCHES = frozenset(
    {
        "--enable-program-scheduling", "--mini-lb", "--vllm-pd-disaggregation", "--enable-igw", "--service-discovery",
        "--disable-retries", "--disable-circuit-breaker",
    }
)  # fmt: skip
"""Its flags without a value."""

_PROGRAMS = (
    "give requests of one program the same x-session-id and use --policy sticky_least_loaded or consistent_hash, "
    "which keep a session at its worker"
)
_WASM = "change requests in a proxy before the router, or in vLLM's own --middleware"
INSTEAD: Mapping[str, str] = {
    "--enable-program-scheduling": _PROGRAMS,
    "--program-scheduling-config-json": _PROGRAMS,
    "--wasm-middleware": _WASM,
    "--wasm-middleware-sha256": _WASM,
    "--wasm-middleware-route": _WASM,
}
"""Those that are not offered, and what does the same."""
SECRETS: Mapping[str, str] = {
    "--api-key": "--api-key would show the key to everybody on the machine (ps); write it to a file and give "
    "--api-key-file FILE, or set ROUTERCTL_API_KEY_FILE"
}
"""Those that have a secret for a value, and what to write instead."""


def _mini_lb(value: str) -> tuple[str, ...]:
    """Its debug balancer is for prefill/decode, and draws both workers at random whatever the policies are."""
    policies = ("--policy=random", "--prefill-policy=random", "--decode-policy=random")
    return ("--vllm-pd-disaggregation=true", *policies) if value == "true" else ()


def _pd_kv_events(value: str) -> tuple[str, ...]:
    """Sources of KV events are told alike for all workers here, whatever their role."""
    return (f"--kv-event-source={value}",)


MEANINGS: Mapping[str, Callable[[str], tuple[str, ...]]] = {"--mini-lb": _mini_lb, "--pd-kv-events": _pd_kv_events}
"""Those that are said by other flags: from a value to these, each with its own tied to it."""
