"""What in a configuration is right by itself and has no effect beside the rest of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from shared.config import StartConfig
from shared.fault import Fault


def without_effect(config: StartConfig) -> Iterator[Fault]:
    """Yield everything that is switched on and does nothing."""
    if config.preempt_batch:
        yield from _preempting(config)


def _preempting(config: StartConfig) -> Iterator[Fault]:
    what = "--preempt-batch has no effect"
    if not (config.max_concurrent_requests or config.model_max_concurrent_requests):
        lacking = "without --max-concurrent-requests or --model-max-concurrent-requests: there are no places to take"
        yield Fault(
            ("preempt_batch", "max_concurrent_requests", "model_max_concurrent_requests"),
            f"{what} {lacking}; give one of them, or leave it out",
        )
    if not config.queue_size:
        why = "as nobody may wait, neither whoever asks for a place nor whoever gives his"
        yield Fault(("preempt_batch", "queue_size"), f"{what} with --queue-size 0, {why}; give a size, or leave it out")
    limits = [field for field in ("worker_max_concurrent_requests", "adaptive_worker_limit") if getattr(config, field)]
    if any(worker.max_concurrent_requests for worker in config.workers):
        limits.append("workers")
    if limits:
        names = " and ".join(_LIMITS[field] for field in limits)
        yield Fault(("preempt_batch", *limits), f"{what} where workers have limits ({names}); leave one of them out")
    if config.prefill or config.decode or any(worker.role in ("prefill", "decode") for worker in config.workers):
        yield Fault(
            ("preempt_batch", "prefill", "decode", "workers"),
            f"{what} on requests that a prefill and a decode worker share; leave it out where all are",
        )


_LIMITS = {
    "worker_max_concurrent_requests": "--worker-max-concurrent-requests",
    "adaptive_worker_limit": "--adaptive-worker-limit",
    "workers": "max_concurrent_requests of workers",
}
