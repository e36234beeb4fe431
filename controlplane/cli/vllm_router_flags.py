"""The flags of vllm-router 0.1.17 that this version does not have: named as such instead of as a typing mistake."""

from __future__ import annotations

SECRETS = {
    "--api-key": "--api-key would show the key to everybody on the machine (ps); write it to a file and give "
    "--api-key-file FILE, or set ROUTERCTL_API_KEY_FILE"
}
"""Those that have a secret for a value, and what to write instead."""
NOT_OFFERED = frozenset(
    {
        "--enable-program-scheduling", "--program-scheduling-config-json",
        "--pd-kv-events", "--mini-lb",
        "--wasm-middleware", "--wasm-middleware-sha256", "--wasm-middleware-route",
        "--enable-igw", "--service-discovery", "--selector", "--service-discovery-port",
        "--service-discovery-namespace", "--prefill-selector", "--decode-selector",

        "--max-concurrent-requests", "--queue-size", "--queue-timeout-secs",
        "--rate-limit-tokens-per-second", "--cors-allowed-origins",
    }
)  # fmt: skip
