"""Chat and text completions: from a request body to sequences of the engine, and back to an answer."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import answers, text, wire
from .engine import Sequence
from .errors import ApiError, too_long
from .exchange import Exchange, Pull
from .kv_transfer.base import NO_HANDOFF, EngineDeadError, Fetched, Leg
from .loader import Loader
from .requests import Batch, Chat, Completion, Generate, chat_prompt, check_sampling, prompts, read
from .stats import Arrival

if TYPE_CHECKING:
    from .rank import Rank
    from .worker import Worker

_DEFAULT_COMPLETION_TOKENS = 16


def chat(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /v1/chat/completions`."""
    request = exchange.request
    body = read(Chat, request.body, request.header(b"content-type"), "messages")
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    check_sampling(body, limit)
    model = worker.model(body.model)
    messages = body.messages if isinstance(body.messages, list) else []
    run(worker, exchange, body, answers.Chat, model, [chat_prompt(messages)], limit, identity_of(exchange, "chatcmpl-"))


def batch(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /v1/chat/completions/batch`: a choice for each conversation."""
    request = exchange.request
    body = read(Batch, request.body, request.header(b"content-type"), "messages")
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if body.stream:
        raise ApiError(400, "Streaming is not supported for batch requests.", param="stream")
    check_sampling(body, limit)
    model = worker.model(body.model)
    conversations = body.messages if isinstance(body.messages, list) else []
    all_prompts = [chat_prompt(messages) for messages in conversations]
    if not all_prompts:
        raise ApiError(400, "messages must not be empty", param="messages")
    run(worker, exchange, body, answers.Chat, model, all_prompts, limit, identity_of(exchange, "chatcmpl-"))


def completion(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /v1/completions`."""
    request = exchange.request
    body = read(Completion, request.body, request.header(b"content-type"), "prompt")
    limit = _DEFAULT_COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
    check_sampling(body, limit)
    model = worker.model(body.model)
    if not isinstance(body.prompt, str | list) or not body.prompt:
        raise ApiError(400, "Either prompt or prompt_embeds must be provided and non-empty.", param="prompt")
    run(worker, exchange, body, answers.Completion, model, prompts(body.prompt), limit, identity_of(exchange, "cmpl-"))


def identity_of(exchange: Exchange, prefix: str) -> str:
    """Return the id of an answer: the request's own, or a new one, behind the prefix of its kind."""
    given = exchange.request.header(b"x-request-id")
    return prefix + (given.decode("latin-1") if given else f"{random.getrandbits(64):016x}")


class Choice:
    """One answer of a request; mutable: `sent` follows what the sequence has produced."""

    __slots__ = ("done", "index", "opened", "sent", "sequence", "stop_reason", "text_limit")

    def __init__(self, index: int, sequence: Sequence) -> None:
        self.index = index
        self.sequence = sequence
        self.opened = False
        self.sent = 0
        self.done = False
        self.stop_reason: str | None = None
        self.text_limit: int | None = None
        """Characters of the answer before the stop string, when there is one."""

    def slice(self, start: int, stop: int) -> str:
        """Return the text of the tokens from start to stop, cut before the stop string."""
        words = text.words(self.sequence.seed, start, stop)
        if self.text_limit is None:
            return words
        return words[: max(0, self.text_limit - start * text.WIDTH)]


def run(
    worker: Worker,
    exchange: Exchange,
    body: Generate,
    writer: Callable[[str, int, str, str], answers.Chat],
    model: str,
    all_prompts: list[list[int]],
    limit: int | None,
    identity: str,
) -> None:
    """Generate an answer for each prompt, up to `limit` tokens, in the writer's shape; `identity` is its id."""
    rank, longest = worker.rank(exchange.request.header(b"x-data-parallel-rank")), worker.config.max_model_len
    answer = writer(identity, int(worker.wall()), model, worker.fingerprint)
    answer.prompt_tokens = len(all_prompts[0])
    # As vLLM names it inside; a text completion has several prompts.
    name = f"{identity}{'-0' if isinstance(answer, answers.Completion) else ''}-{random.getrandbits(32):08x}"
    leg = Leg(name, body.kv_transfer_params or {}, all_prompts[0])

    def generate(fetched: Fetched | None) -> None:
        choices = choices_of(rank, longest, body, all_prompts, limit, fetched)
        if body.stream:
            events = Events(worker, rank, exchange, body, answer, choices, leg)
            exchange.stream(200, wire.EVENTS, events)
            rank.submit([choice.sequence for choice in choices], events.progressed)
        else:
            whole = Whole(worker, rank, exchange, body, answer, choices, leg)
            exchange.watch(whole)
            rank.submit([choice.sequence for choice in choices], whole.progressed)

    try:
        loading = worker.kv_transfer.load(leg) if worker.kv_transfer is not None else None
    except EngineDeadError:
        worker.kill()
        return
    if loading is None:
        generate(None)
    else:
        Loader(worker, exchange, loading, generate, answer.opening(0, None, None)).start()


def choices_of(
    rank: Rank,
    longest: int,
    body: Generate,
    all_prompts: list[list[int]],
    limit: int | None,
    fetched: Fetched | None = None,
) -> list[Choice]:
    """Return what is to be generated; `fetched` is KV cache that came for it."""
    count = body.n or 1
    choices: list[Choice] = []
    for prompt in all_prompts:
        if not prompt:
            raise ApiError(400, "The decoder prompt cannot be empty", param="prompt")
        if len(prompt) >= longest:
            raise too_long(longest)
        for number in range(count):
            # The first choice is the greedy answer whatever the temperature, so that a test can compare it.
            own = text.seed_of(prompt, 0 if body.temperature == 0 else number)
            seed = own if fetched is None or fetched.seed is None else fetched.seed
            target, stops = _length(seed, limit, longest - len(prompt), body.ignore_eos)
            choice = Choice(len(choices), Sequence(prompt, target, seed, stops=stops))
            choice.sequence.external = 0 if fetched is None else fetched.tokens
            if body.stop:
                _stop_at(choice, [body.stop] if isinstance(body.stop, str) else body.stop, body.min_tokens or 0)
            choices.append(choice)
            rank.engine.stats.arrived(Arrival(None if number else count, limit or longest - len(prompt)))
    return choices


def _length(seed: int, limit: int | None, room: int, ignore_eos: bool) -> tuple[int, bool]:
    """Return (tokens, whether the answer ends by itself). A request that gives a limit gets all of it."""
    if limit is not None:
        return min(limit, room), False
    natural = text.natural_length(seed)
    return (room, False) if ignore_eos or natural > room else (natural, True)


def _stop_at(choice: Choice, stops: list[str], least: int) -> None:
    """Shorten the answer to end at the first stop string: it is known beforehand what will be said."""
    sequence = choice.sequence
    words = text.words(sequence.seed, 0, sequence.target)
    found = [(at, stop) for stop in stops if stop and (at := words.find(stop, least * text.WIDTH)) >= 0]
    if found:
        at, stop = min(found)
        sequence.target = -(-(at + len(stop)) // text.WIDTH)
        sequence.stops = True
        choice.stop_reason = stop
        choice.text_limit = at


class _Generation:
    """What a whole and a streamed answer share: the sequences and their end."""

    def __init__(
        self,
        worker: Worker,
        rank: Rank,
        exchange: Exchange,
        body: Generate,
        answer: answers.Chat,
        choices: list[Choice],
        leg: Leg,
    ) -> None:
        self._worker = worker
        self._rank = rank
        self._exchange = exchange
        self._answer = answer
        self._choices = choices
        self._with_ids = bool(body.return_token_ids)
        self._leg = leg

    def pull(self) -> bytes | Pull:
        """Return nothing: a whole answer is sent at once."""
        return Pull.WAIT

    def cancel(self) -> None:
        """Free slots and blocks: the client is gone."""
        self._rank.abort([choice.sequence for choice in self._choices])

    def _handoff(self) -> bytes:
        """Return what is told of the prompt's KV cache, once the answer is complete: that of the first choice only."""
        first, connector = self._choices[0].sequence, self._worker.kv_transfer
        if connector is None:
            return NO_HANDOFF
        leg = self._leg._replace(cached=self._cached())
        return connector.finished(leg, first.seed, by_length=first.finish_reason == "length")

    def _cached(self) -> int:
        """Return the last prompt's cached tokens: those of a cache and those that came, or what the order tells."""
        order = self._leg.order
        told = order.get("remote_prefill_cached_tokens") if order.get("do_remote_prefill") else None
        return (
            told
            if isinstance(told, int) and self._worker.config.heeds_prefill_count
            else self._choices[-1].sequence.cached
        )

    def _counts(self) -> tuple[int, int, int | None]:
        """Return (prompt, answer, cached tokens if they are told) of all choices; the prompt of `n` counts once."""
        seen = {id(choice.sequence.prompt): len(choice.sequence.prompt) for choice in self._choices}
        cached = self._cached() if self._worker.config.prompt_tokens_details else None
        return sum(seen.values()), sum(choice.sequence.produced for choice in self._choices), cached

    def _part(self, choice: Choice, start: int) -> answers.Part:
        sequence = choice.sequence
        return answers.Part(
            index=choice.index,
            text=choice.slice(start, sequence.produced),
            finish_reason=sequence.finish_reason or "stop",
            stop_reason=choice.stop_reason,
            token_ids=text.ids(sequence.seed, start, sequence.produced) if self._with_ids else None,
            prompt_token_ids=list(sequence.prompt) if self._with_ids else None,
        )


class Whole(_Generation):
    """An answer that is sent when every choice is finished."""

    def progressed(self) -> None:
        """Send the answer if it is complete."""
        if any(choice.sequence.finish_reason is None for choice in self._choices):
            return
        parts = [self._part(choice, 0) for choice in self._choices]
        body = self._answer.whole(parts, *self._counts(), self._handoff())
        self._exchange.send(200, self._load_header() + wire.JSON, body)

    def _load_header(self) -> bytes:
        """Return the ORCA header, if the request asks for it; vLLM sends it with whole answers only."""
        wanted = self._exchange.request.header(b"endpoint-load-metrics-format")
        if not wanted:
            return b""
        engine = self._rank.engine
        figures = {
            "num_requests_waiting": float(len(engine.waiting)),
            "kv_cache_usage_perc": engine.kv_usage,
        }
        if wanted.lower() == b"text":
            line = "TEXT " + ", ".join(f"named_metrics.{name}={value}" for name, value in figures.items())
        elif wanted.lower() == b"json":
            line = "JSON " + json.dumps({"named_metrics": figures})
        else:
            return b""
        return b"endpoint-load-metrics: %b\r\n" % line.encode()


class Events(_Generation):
    """An answer that is sent token by token."""

    def __init__(
        self,
        worker: Worker,
        rank: Rank,
        exchange: Exchange,
        body: Generate,
        answer: answers.Chat,
        choices: list[Choice],
        leg: Leg,
    ) -> None:
        super().__init__(worker, rank, exchange, body, answer, choices, leg)
        options = body.stream_options
        self._usage = answer.tells_usage or (options is not None and bool(options.include_usage))
        self._running = self._usage and options is not None and bool(options.continuous_usage_stats)
        self._tail = list(answer.tail)
        self._events: deque[bytes] = deque()
        self._current = 0
        self._handed_over = False

    def progressed(self) -> None:
        """Send what can be sent."""
        self._exchange.wake()

    def pull(self) -> bytes | Pull:
        """Return the next event."""
        if not self._answer.has_several:
            return self._pull()
        if not self._events:
            pulled = self._pull()
            if isinstance(pulled, Pull):
                return pulled
            # Each event is written by itself, also where a token has several.
            self._events.extend(part + b"\n\n" for part in pulled.split(b"\n\n")[:-1])
        return self._events.popleft()

    def _pull(self) -> bytes | Pull:
        """Return the events of a token: choices take turns, a token each."""
        choices = self._choices
        for _ in range(len(choices)):
            choice = choices[self._current]
            self._current = (self._current + 1) % len(choices)
            event = self._next_event(choice)
            if event is not None:
                return event
        if not all(choice.done for choice in choices):
            return Pull.WAIT
        if not self._handed_over:
            self._handed_over = True
            # A stream has no place for what is told of it.
            self._handoff()
        if self._usage:
            self._usage = False
            return self._answer.usage(*self._counts())
        return self._tail.pop() if self._tail else Pull.END

    def _next_event(self, choice: Choice) -> bytes | None:
        sequence = choice.sequence
        if choice.done or not sequence.produced:
            return None
        prompt = len(sequence.prompt)
        if not choice.opened:
            choice.opened = True
            ids = list(sequence.prompt) if self._with_ids else None
            running = answers.usage(prompt, 0) if self._running else None
            opening = self._answer.opening(choice.index, ids, running)
            if opening is not None:
                return opening
        start = choice.sent
        if start >= sequence.produced:
            return None
        running = answers.usage(prompt, start + 1) if self._running else None
        choice.sent = start + 1
        if choice.sent == sequence.target:
            choice.done = True
            return self._answer.last(self._part(choice, start), running, stamped=not self._usage)
        ids = text.ids(sequence.seed, start, start + 1) if self._with_ids else None
        return self._answer.event(choice.index, choice.slice(start, start + 1), ids, running)
