"""Bodies and stream events of chat and text completions, key for key as vLLM 0.32 writes them.

Built by joining bytes: a generated token is plain ASCII, so an event is a constant head, the word and a
constant tail, and one event costs well under a microsecond.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

_encode = msgspec.json.encode
DONE = b"data: [DONE]\n\n"


def fingerprint(models: tuple[str, ...]) -> str:
    """Return `system_fingerprint`: the version, and eight digits that stand for the settings."""
    return "vllm-0.32.0-" + blake2b("\n".join(models).encode(), digest_size=4).hexdigest()


def usage(prompt: int, completion: int) -> bytes:
    """Return the usage object of a stream's last event."""
    return b'{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}' % (
        prompt,
        prompt + completion,
        completion,
    )


def _full_usage(prompt: int, completion: int, cached: int | None) -> bytes:
    details = b"null"
    if cached is not None:
        details = b'{"cached_tokens":%d,"created_cache_tokens":null,"multimodal_tokens":null}' % cached
    return b'%b,"prompt_tokens_details":%b,"completion_tokens_details":null}' % (
        usage(prompt, completion)[:-1],
        details,
    )


def _ids(ids: list[int] | None) -> bytes:
    return b"null" if ids is None else _encode(ids)


def _reason(reason: str | None) -> bytes:
    return b"null" if reason is None else b'"%b"' % reason.encode()


class Part(msgspec.Struct, frozen=True):
    """What one choice of a whole answer holds."""

    index: int
    text: str
    finish_reason: str
    stop_reason: str | None
    token_ids: list[int] | None
    prompt_token_ids: list[int] | None


class Chat:
    """Writes one chat completion."""

    tail: tuple[bytes, ...] = (DONE,)
    """What ends a stream."""
    tells_usage = False
    """Whether a stream's last event before that is `usage`, asked for or not."""
    has_several = False
    """Whether a token may have several events."""

    def __init__(self, identity: str, created: int, model: str, system_fingerprint: str) -> None:
        self.identity = identity
        self.prompt_tokens = 0
        """How many the first prompt has."""
        self._id = _encode(identity)
        self._created = b"%d" % created
        self._model = _encode(model)
        self._fingerprint = b'"%b"' % system_fingerprint.encode()
        self._opening = b'data: {"id":%b,"object":"chat.completion.chunk","created":%b,"model":%b,"choices":[' % (
            self._id,
            self._created,
            self._model,
        )

    def whole(
        self, parts: list[Part], prompt: int, completion: int, cached: int | None = None, handoff: bytes = b"null"
    ) -> bytes:
        """Return the body of an answer that is not streamed; counts are tokens, `handoff` is JSON."""
        choices = b",".join(
            b'{"index":%d,"message":{"role":"assistant","content":%b,"refusal":null,"annotations":null,'
            b'"audio":null,"function_call":null,"reasoning":null},"logprobs":null,"finish_reason":%b,'
            b'"stop_reason":%b,"token_ids":%b,"routed_experts":null}'
            % (part.index, _encode(part.text), _reason(part.finish_reason), _encode(part.stop_reason),
               _ids(part.token_ids))
            for part in parts
        )  # fmt: skip
        return (
            b'{"id":%b,"object":"chat.completion","created":%b,"model":%b,"choices":[%b],"service_tier":null,'
            b'"system_fingerprint":%b,"usage":%b,"prompt_logprobs":null,"prompt_token_ids":%b,"prompt_text":null,'
            b'"kv_transfer_params":%b,"ec_transfer_params":null,"metrics":null}'
            % (
                self._id, self._created, self._model, choices, self._fingerprint,
                _full_usage(prompt, completion, cached), _ids(parts[0].prompt_token_ids), handoff,
            )
        )  # fmt: skip

    def opening(self, index: int, prompt_token_ids: list[int] | None, running: bytes | None) -> bytes | None:
        """Return the event that opens a choice; `running` is the usage so far when every event carries it."""
        return (
            self._opening
            + b'{"index":%d,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]' % index
            + (b"" if running is None else b',"usage":' + running)
            + b',"prompt_token_ids":%b,"prompt_text":null}\n\n' % _ids(prompt_token_ids)
        )

    def event(self, index: int, text: str, token_ids: list[int] | None, running: bytes | None) -> bytes:
        """Return the event of one token."""
        return (
            self._opening
            + b'{"index":%d,"delta":{"content":"%b"},"logprobs":null,"finish_reason":null,"token_ids":%b}]'
            % (index, text.encode(), _ids(token_ids))
            + (b"}\n\n" if running is None else b',"usage":%b}\n\n' % running)
        )

    def last(self, part: Part, running: bytes | None, *, stamped: bool) -> bytes:
        """Return the event that ends a choice; stamped with the fingerprint if no usage event follows."""
        return (
            self._opening
            + b'{"index":%d,"delta":{"content":"%b"},"logprobs":null,"finish_reason":%b,'
            b'"stop_reason":%b,"token_ids":%b}]'
            % (part.index, part.text.encode(), _reason(part.finish_reason), _encode(part.stop_reason),
               _ids(part.token_ids))
            + (b"" if running is None else b',"usage":' + running)
            + (b',"system_fingerprint":' + self._fingerprint if stamped else b"")
            + b"}\n\n"
        )  # fmt: skip

    def usage(self, prompt: int, completion: int, cached: int | None = None) -> bytes:
        """Return the usage event."""
        counts = usage(prompt, completion)
        if cached is not None:
            counts = b'%b,"prompt_tokens_details":{"cached_tokens":%d}}' % (counts[:-1], cached)
        return self._opening + b'],"usage":%b,"system_fingerprint":%b}\n\n' % (counts, self._fingerprint)


class Completion(Chat):
    """Writes one text completion."""

    def __init__(self, identity: str, created: int, model: str, system_fingerprint: str) -> None:
        super().__init__(identity, created, model, system_fingerprint)
        self._opening = b'data: {"id":%b,"object":"text_completion","created":%b,"model":%b,"choices":[' % (
            self._id,
            self._created,
            self._model,
        )
        self._prompt_ids: dict[int, list[int] | None] = {}

    def whole(
        self, parts: list[Part], prompt: int, completion: int, cached: int | None = None, handoff: bytes = b"null"
    ) -> bytes:
        """Return the body of an answer that is not streamed."""
        choices = b",".join(
            b'{"index":%d,"text":%b,"logprobs":null,"finish_reason":%b,"stop_reason":%b,"token_ids":%b,'
            b'"prompt_logprobs":null,"prompt_token_ids":%b,"routed_experts":null}'
            % (part.index, _encode(part.text), _reason(part.finish_reason), _encode(part.stop_reason),
               _ids(part.token_ids), _ids(part.prompt_token_ids))
            for part in parts
        )  # fmt: skip
        return (
            b'{"id":%b,"object":"text_completion","created":%b,"model":%b,"choices":[%b],"service_tier":null,'
            b'"system_fingerprint":%b,"usage":%b,"kv_transfer_params":%b,"ec_transfer_params":null,"metrics":null}'
            % (
                self._id,
                self._created,
                self._model,
                choices,
                self._fingerprint,
                _full_usage(prompt, completion, cached),
                handoff,
            )
        )

    def opening(self, index: int, prompt_token_ids: list[int] | None, running: bytes | None) -> bytes | None:
        """Return None: the prompt's ids go with the first token of a text completion."""
        if prompt_token_ids is not None:
            self._prompt_ids[index] = prompt_token_ids
        return None

    def event(self, index: int, text: str, token_ids: list[int] | None, running: bytes | None) -> bytes:
        """Return the event of one token."""
        prompt_ids = self._prompt_ids.pop(index, None) if self._prompt_ids else None
        return (
            self._opening
            + b'{"index":%d,"text":"%b","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":%b,'
            b'"token_ids":%b}]'
            % (index, text.encode(), _ids(prompt_ids), _ids(token_ids))
            + (b"}\n\n" if running is None else b',"usage":%b}\n\n' % running)
        )

    def last(self, part: Part, running: bytes | None, *, stamped: bool) -> bytes:
        """Return the event that ends a choice."""
        prompt_ids = self._prompt_ids.pop(part.index, None)
        return (
            self._opening
            + b'{"index":%d,"text":"%b","logprobs":null,"finish_reason":%b,"stop_reason":%b,"prompt_token_ids":%b,'
            b'"token_ids":%b}]'
            % (part.index, part.text.encode(), _reason(part.finish_reason), _encode(part.stop_reason),
               _ids(prompt_ids), _ids(part.token_ids))
            + (b"" if running is None else b',"usage":' + running)
            + (b',"system_fingerprint":' + self._fingerprint if stamped else b"")
            + b"}\n\n"
        )  # fmt: skip
