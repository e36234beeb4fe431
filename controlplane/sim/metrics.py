"""The text of `/metrics`, in the form and order of vLLM's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .config import SimConfig
from .engine import Engine
from .families import CACHE_CONFIG, FAMILIES, HISTOGRAMS
from .stats import Histogram

Labels = tuple[tuple[str, str], ...]


def page(
    config: SimConfig, engines: Sequence[Engine], served: Mapping[tuple[str, str, str], int], started_at: float
) -> bytes:
    """Return the page. `served` counts answers by (handler, method, class); `started_at` is in unix seconds."""
    for engine in engines:
        engine.stats.fold()
    model = ("model_name", config.models[0])
    ranks = [((("engine", str(rank)), model), engine) for rank, engine in enumerate(engines)]
    lines: list[str] = []
    _process_start(lines, started_at)
    for family in FAMILIES:
        # Admission happens before a request has an engine, so its family has no such label.
        told = [((model,), engines[0])] if family.name == "vllm:admission_rejections_total" else ranks
        rows = [(tuple(sorted((*own, *extra))), value) for own, engine in told for extra, value in family.rows(engine)]
        _head(lines, family.name, family.kind, family.help)
        lines += [_line(family.name, labels, value) for labels, value in rows]
        if family.kind == "counter":
            created = family.name.removesuffix("_total") + "_created"
            _head(lines, created, "gauge", family.help)
            lines += [_line(created, labels, started_at) for labels, _ in rows]
    for histogram in HISTOGRAMS:
        found = [(common, histogram.histogram(engine)) for common, engine in ranks]
        _histogram(lines, histogram.name, histogram.help, found, started_at)
    _cache_config(lines, config)
    _served(lines, served, started_at)
    return ("\n".join(lines) + "\n").encode()


def _process_start(lines: list[str], started_at: float) -> None:
    name = "process_start_time_seconds"
    _head(lines, name, "gauge", "Start time of the process since unix epoch in seconds.")
    lines.append(f"{name} {_number(started_at)}")


def _head(lines: list[str], name: str, kind: str, text: str) -> None:
    lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")


def _line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {_number(value)}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """Return the value as Go and the Python client print it: an exponent from 1e6 on."""
    text = repr(float(value))
    point = text.find(".")
    if value > 0 and point > 6 and "e" not in text:
        digits = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
        return f"{digits}e+0{point - 1}" if point - 1 < 10 else f"{digits}e+{point - 1}"
    return text


def _histogram(
    lines: list[str], name: str, text: str, found: Sequence[tuple[Labels, Histogram]], started_at: float
) -> None:
    _head(lines, name, "histogram", text)
    for common, histogram in found:
        bounds = [repr(bound) for bound in histogram.bounds] + ["+Inf"]
        for bound, count in zip(bounds, histogram.cumulative(), strict=True):
            lines.append(_line(f"{name}_bucket", tuple(sorted((*common, ("le", bound)))), count))
        lines.append(_line(f"{name}_count", common, histogram.count))
        lines.append(_line(f"{name}_sum", common, histogram.sum))
    _head(lines, f"{name}_created", "gauge", text)
    lines += [_line(f"{name}_created", common, started_at) for common, _ in found]


def _cache_config(lines: list[str], config: SimConfig) -> None:
    tokens = config.num_blocks * config.block_size
    labels = {
        **CACHE_CONFIG,
        "block_size": str(config.block_size),
        "effective_attention_block_size": str(config.block_size),
        "num_gpu_blocks": str(config.num_blocks),
        "kv_cache_size_tokens": str(tokens),
        "kv_cache_max_concurrency": str(tokens / config.max_model_len),
    }
    name = "vllm:cache_config_info"
    _head(lines, name, "gauge", "Information of the LLMEngine CacheConfig")
    each = ({**labels, "engine": str(rank)} for rank in range(config.data_parallel_size))
    lines += [_line(name, tuple(sorted(one.items())), 1) for one in each]


def _served(lines: list[str], served: Mapping[tuple[str, str, str], int], started_at: float) -> None:
    text = "Total number of requests by method, status and handler."
    rows = [
        ((("handler", handler), ("method", method), ("status", status)), count)
        for (handler, method, status), count in served.items()
    ]
    _head(lines, "http_requests_total", "counter", text)
    lines += [_line("http_requests_total", labels, count) for labels, count in rows]
    _head(lines, "http_requests_created", "gauge", text)
    lines += [_line("http_requests_created", labels, started_at) for labels, _ in rows]
