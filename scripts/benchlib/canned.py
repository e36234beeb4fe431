"""The bytes that go over the wire: requests as a client sends them, answers as vLLM 0.32 gives them.

Answers have the headers, the field order and the sizes of real ones (chat 700 B, SSE event 215 B,
metrics page 55 KB), because a router's cost depends on all three.
"""

from functools import lru_cache

import msgspec

CHAT_PATH = b"/v1/chat/completions"
DONE = b"data: [DONE]\n\n"

_HEAD = b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 03:08:39 GMT\r\nserver: uvicorn\r\n"
_ID = b"chatcmpl-a89baf8150dc1b1a"
_CHUNK = (
    b'data: {"id":"' + _ID + b'","object":"chat.completion.chunk","created":1795230520,"model":"tiny",'
    b'"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]%s}\n\n'
)
_WORDS = (b" look", b"out", b" for", b" the", b" light", b"house", b" keeper", b".")

CHAT_JSON = (
    b'{"id":"' + _ID + b'","object":"chat.completion","created":1795230520,"model":"tiny","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":" lookout for the light","refusal":null,"annotations":null,'
    b'"audio":null,"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":"length",'
    b'"stop_reason":null,"token_ids":null,"routed_experts":null}],"service_tier":null,'
    b'"system_fingerprint":"vllm-0.32.0-eadfa03d","usage":{"prompt_tokens":13,"total_tokens":21,'
    b'"completion_tokens":8,"prompt_tokens_details":null,"completion_tokens_details":null},'
    b'"prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"kv_transfer_params":null,'
    b'"ec_transfer_params":null,"metrics":null}'
)

_HANDOFF_JSON = CHAT_JSON.replace(
    b'"kv_transfer_params":null',
    b'"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1,2,3]],'
    b'"remote_engine_id":"6b4ac5ab-9d2e-4ae8-8ed4-5e7e1d3f1a2b","remote_request_id":"chatcmpl-a89baf81-0-9478e19e",'
    b'"remote_host":"%b","remote_port":5600,"tp_size":1,"dcp_size":1,"pp_size":1,"remote_num_tokens":161,'
    b'"remote_blocks_expiry_time":null,"transfer_mode":"pull","remote_prefill_cached_tokens":0}',
)
LOAD_HEADER_ASK = b"endpoint-load-metrics-format"
_LOAD_HEADER = (
    b"endpoint-load-metrics: TEXT named_metrics.num_requests_waiting=0.0, named_metrics.kv_cache_usage_perc=0.0\r\n"
)


class Ask(msgspec.Struct):
    """What a fake worker reads of a chat request.

    `max_tokens` is the number of SSE chunks ([DONE] is the last of them); `bench_pace_ms` the time
    between two of them, 0 for as fast as the connection takes them.
    """

    stream: bool = False
    max_tokens: int = 16
    bench_pace_ms: float = 0.0
    kv_transfer_params: dict[str, object] | None = None

    @property
    def is_prefill(self) -> bool:
        """Whether the KV cache is to be kept for another worker."""
        return self.kv_transfer_params is not None and self.kv_transfer_params.get("do_remote_decode") is True

    def is_from(self, host: str) -> bool:
        """Whether the KV cache is to be fetched from there."""
        return self.kv_transfer_params is not None and self.kv_transfer_params.get("remote_host") == host


def _head(content_type: str, size: int, extra: bytes = b"") -> bytes:
    fields = f"content-length: {size}\r\ncontent-type: {content_type}\r\nvary: Origin\r\n\r\n"
    return _HEAD + extra + fields.encode()


def _answer(body: bytes, content_type: str = "application/json") -> bytes:
    return _head(content_type, len(body)) + body


@lru_cache
def handoff(host: str) -> bytes:
    """Return a prefill worker's whole answer; the KV cache is at `host`."""
    return _answer(_HANDOFF_JSON.replace(b"%b", host.encode()))


_ERROR = b'{"error":{"message":"EngineCore failed to load the KV cache","type":"InternalServerError","code":500}}'
NOT_FETCHED = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_ERROR)
) + _ERROR
"""A decode worker's, which could not fetch the KV cache."""
CHAT_HEAD = _head("application/json", len(CHAT_JSON))
CHAT_HEAD_WITH_LOAD = _head("application/json", len(CHAT_JSON), _LOAD_HEADER)
STREAM_HEAD = (
    _HEAD + b"content-type: text/event-stream; charset=utf-8\r\nvary: Origin\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"


@lru_cache
def stream_events(chunks: int) -> tuple[bytes, ...]:
    """Return the `chunks` SSE events of one answer: role, tokens, finish, [DONE]."""
    role = _CHUNK % (b'{"role":"assistant","content":""}', b"null", b',"prompt_token_ids":null')
    tokens = [
        _CHUNK % (b'{"content":"' + _WORDS[n % len(_WORDS)] + b'"}', b'null,"token_ids":null', b"")
        for n in range(max(0, chunks - 3))
    ]
    finish = _CHUNK % (b'{"content":""}', b'"length","stop_reason":null,"token_ids":null', b"")
    return tuple([role, *tokens, finish, DONE][-chunks:])


@lru_cache
def stream_frames(chunks: int) -> tuple[bytes, ...]:
    """Return the same events, each as one chunk of HTTP's chunked coding (uvicorn's framing)."""
    return tuple(b"%x\r\n%b\r\n" % (len(event), event) for event in stream_events(chunks))


def _metrics_page() -> bytes:
    """Return a page of the size and shape of vLLM's; scrapers pay for its 55 KB on every visit."""
    label = 'engine="0",model_name="tiny"'
    gauges = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    lines = ["# TYPE process_start_time_seconds gauge", "process_start_time_seconds 1.7952304949e+09"]
    for name in gauges:
        lines += [f"# HELP vllm:{name} As vLLM reports it.", f"# TYPE vllm:{name} gauge"]
        lines.append(f"vllm:{name}{{{label}}} 0.0")
    size = sum(map(len, lines))
    histogram = 0
    while size < 55_000:
        name = f"vllm:bench_histogram_{histogram}_seconds"
        block = [f"# HELP {name} Histogram of nothing.", f"# TYPE {name} histogram"]
        block += [f'{name}_bucket{{{label},le="{edge / 10}"}} 0.0' for edge in range(1, 24)]
        block += [f"{name}_count{{{label}}} 0.0", f"{name}_sum{{{label}}} 0.0"]
        size += sum(map(len, block))
        lines += block
        histogram += 1
    return "\n".join([*lines, ""]).encode()


_MODELS = (
    b'{"object":"list","data":[{"id":"tiny","object":"model","created":1795227593,"owned_by":"vllm",'
    b'"root":"/models/tiny","parent":null,"max_model_len":1024,"permission":[]}]}'
)
NOT_FOUND = (
    b'HTTP/1.1 404 Not Found\r\ncontent-length: 22\r\ncontent-type: application/json\r\n\r\n{"detail":"Not Found"}'
)

#: Path -> whole answer, for all that routers ask of a worker besides chat.
PAGES: dict[bytes, bytes] = {
    b"/health": _HEAD + b"content-length: 0\r\nvary: Origin\r\n\r\n",
    b"/v1/models": _answer(_MODELS),
    b"/version": _answer(b'{"version":"0.32.0"}'),
    b"/load": _answer(b'{"server_load":0}'),
    b"/get_load": _answer(b'{"load":0}'),
    b"/get_server_info": _answer(b'{"version":"0.32.0"}'),
    b"/get_model_info": _answer(b'{"model_path":"/models/tiny"}'),
    b"/metrics": _answer(_metrics_page(), "text/plain; version=1.0.0; charset=utf-8"),
}


def chat_request(host: str, *, chunks: int = 0, pace_ms: float = 0.0) -> bytes:
    """Return one chat request, headers as the openai client sends them; a stream if `chunks` > 0."""
    body = (
        b'{"messages":[{"role":"system","content":"You are the keeper of a lighthouse."},'
        b'{"role":"user","content":"What do you look out for at night, and what do you do when you see it?"}],'
        b'"model":"tiny","max_tokens":%d,"temperature":0.7' % (chunks or 16)
    )
    if chunks:
        body += b',"stream":true,"bench_pace_ms":%g' % pace_ms
    body += b"}"
    head = (
        f"POST {CHAT_PATH.decode()} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
        "User-Agent: OpenAI/Python 2.8.0\r\nAuthorization: Bearer EMPTY\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def expected_size(chunks: int) -> int:
    """Return the size of the whole answer's body in bytes (without chunked framing)."""
    return sum(map(len, stream_events(chunks))) if chunks else len(CHAT_JSON)
