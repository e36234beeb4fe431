"""`/sim/...`: set faults, read what was received, see the engine. Faults never meet these paths."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from . import faults, wire
from .errors import ApiError
from .exchange import Exchange

if TYPE_CHECKING:
    from .engine import Engine
    from .worker import Worker


def _json(exchange: Exchange, answer: Any, status: int = 200) -> None:
    exchange.send(status, wire.JSON, msgspec.json.encode(answer))


def list_faults(worker: Worker, exchange: Exchange) -> None:
    """Answer the faults in force."""
    _json(exchange, {"worker": worker.index, "faults": worker.faults.active()})


def add_faults(worker: Worker, exchange: Exchange) -> None:
    """Put faults in force; each replaces the one of its name."""
    try:
        found = faults.decode(exchange.request.body)
    except faults.FaultError as error:
        raise ApiError(400, str(error)) from error
    for fault in found:
        worker.faults.add(fault)
    _settle(worker, exchange)


def clear_faults(worker: Worker, exchange: Exchange) -> None:
    """Remove all faults, or the one of `?name=`; a dead worker listens again."""
    names = parse_qs(exchange.request.query.decode("latin-1")).get("name", [None])
    for name in names:
        worker.faults.clear(name)
    _settle(worker, exchange)


def _settle(worker: Worker, exchange: Exchange) -> None:
    """Make the listener follow the faults, then answer: the next connection already sees the change."""
    if worker.faults.dead:
        exchange.request.keep_alive = False
        worker.kill(sparing=exchange.connection)
    else:
        worker.service.apply(worker)
        if worker.faults.refuses:
            worker.close_idle()
    list_faults(worker, exchange)


def list_requests(worker: Worker, exchange: Exchange) -> None:
    """Answer the requests received."""
    _json(exchange, {"worker": worker.index, **worker.recorder.describe()})


def clear_requests(worker: Worker, exchange: Exchange) -> None:
    """Forget the requests received."""
    worker.recorder.clear()
    _json(exchange, {"worker": worker.index})


def state(worker: Worker, exchange: Exchange) -> None:
    """Answer who this is and how busy it is; `engine` sums over its `engines`."""
    recorder, engines = worker.recorder, [_figures(rank.engine) for rank in worker.ranks]
    _json(
        exchange,
        {
            "pid": os.getpid(),
            "worker": worker.index,
            "workers": [other.url for other in worker.service.workers],
            "models": worker.config.models,
            "connections": len(worker.connections),
            "received": recorder.received,
            "finished": recorder.finished,
            "aborted": recorder.aborted,
            "killed": recorder.killed,
            "active": recorder.active,
            "kv_role": worker.config.kv_role,
            "zmq_address": worker.kv_transfer.zmq_address if worker.kv_transfer is not None else "",
            "bootstrap_port": worker.bootstrap_port,
            "engine_ids": worker.engine_ids,
            "handoffs": {
                "kept": len(worker.handoffs),
                "taken": worker.handoffs.taken,
                "expired": worker.handoffs.expired,
            },
            "engine": {name: sum(one[name] for one in engines) for name in engines[0]},
            "engines": engines,
        },
    )


def _figures(engine: Engine) -> dict[str, float]:
    return {
        "running": len(engine.running),
        "waiting": len(engine.waiting),
        "kv_usage": engine.kv_usage,
        "blocks": engine.pool.size,
        "blocks_referenced": engine.pool.referenced,
        "blocks_cached": engine.pool.cached,
        "prefix_cache_queries": engine.stats.prefix_cache_queries,
        "prefix_cache_hits": engine.stats.prefix_cache_hits,
        "external_prefix_cache_hits": engine.stats.external_hits,
        "prompt_tokens": engine.stats.prompt_tokens,
        "generation_tokens": engine.stats.generation_tokens,
        "preemptions": engine.stats.preemptions,
        "aborts": engine.stats.aborts,
    }


_OTHER = {
    ("faults", "GET"): list_faults,
    ("faults", "POST"): add_faults,
    ("faults", "DELETE"): clear_faults,
    ("requests", "GET"): list_requests,
    ("requests", "DELETE"): clear_requests,
    ("state", "GET"): state,
}


def other_worker(worker: Worker, exchange: Exchange) -> None:
    """Do `/sim/workers/{index}/faults|requests|state` for another worker of the process, dead or alive."""
    words = exchange.request.path.decode("latin-1").split("/")[3:]
    workers = worker.service.workers
    if len(words) != 2 or not words[0].isdigit() or int(words[0]) >= len(workers):
        raise ApiError(404, f"/sim/workers/INDEX/faults, with INDEX in 0..{len(workers) - 1}", "NotFoundError")
    handler = _OTHER.get((words[1], exchange.request.method.decode("latin-1")))
    if handler is None:
        raise ApiError(404, "there are /sim/workers/INDEX/faults, /requests and /state", "NotFoundError")
    handler(workers[int(words[0])], exchange)
