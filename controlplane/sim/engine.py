"""A model of vLLM's engine: slots, queue, KV blocks and the time each step takes.

No socket and no clock: every call is told the time in seconds, and `next_time` says when to call again.

The engine runs in steps, as vLLM's scheduler does. At the start of a step each running sequence is given the
tokens it still has to compute: one for a sequence that decodes, up to the step's token budget for one that
prefills; then waiting sequences are admitted in order of arrival while there are slots and blocks. A step takes

    prefill tokens / prefill_tokens_per_second  +  (decode_ms * (1 + growth * (sequences - 1)) if any decodes)

and at its end every sequence that has computed all its tokens gets one more. When blocks run out, the sequence
admitted last gives its blocks back and waits at the head of the queue (preemption).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Tokens

from . import text
from .config import SimConfig
from .kv import BlockPool, block_hashes
from .kv_log import KvLog
from .stats import EngineStats, Sample

_FOREVER = 1 << 62


class Sequence:
    """One prompt and the answer that grows behind it; mutable, and changed by its engine only."""

    __slots__ = (
        "admitted_at", "arrived_at", "blocks", "cached", "computed", "external", "finish_reason", "finished_at",
        "first_token_at", "hashes", "preemptions", "produced", "prompt", "scheduled", "seed", "stops", "target",
    )  # fmt: skip

    def __init__(self, prompt: Tokens[int], target: int, seed: int, *, stops: bool = False) -> None:
        self.prompt = prompt
        self.target = target
        """How many tokens the answer has; at least 1."""
        self.seed = seed
        self.stops = stops
        """Whether the answer ends by itself at its target ("stop") or is cut there ("length")."""
        self.produced = 0
        self.cached = 0
        """Prompt tokens whose KV was found in the prefix cache at the first admission."""
        self.external = 0
        """Prompt tokens whose KV came from another worker; the last token is always computed."""
        self.computed = 0
        self.scheduled = 0
        self.blocks: list[int] = []
        self.hashes: list[bytes] = []
        self.preemptions = 0
        self.arrived_at = 0.0
        self.admitted_at: float | None = None
        self.first_token_at = 0.0
        self.finished_at = 0.0
        self.finish_reason: str | None = None

    @property
    def decoding(self) -> bool:
        """Whether the step under way computes just the last token of the answer."""
        return self.produced > 0 and self.scheduled == 1 and self.length - self.computed == 1

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the answer so far."""
        return len(self.prompt) + self.produced


class Engine:
    """The engine of one worker."""

    def __init__(self, config: SimConfig, kv_log: KvLog | None = None) -> None:
        """`kv_log` hears of the blocks that come and go."""
        self.pool = BlockPool(config.num_blocks, kv_log)
        self.block_size = config.block_size
        self.stats = EngineStats(config.max_model_len)
        self.waiting: deque[Sequence] = deque()
        # Mutable: in order of admission, so the last one is the one to preempt.
        self.running: list[Sequence] = []
        self.next_time: float | None = None
        """When the step under way ends; None while the engine is idle."""
        self._slots = config.max_num_seqs
        self._budget = config.max_num_batched_tokens
        self._prefill_seconds = config.time_scale / config.prefill_tokens_per_second
        self._decode_seconds = config.time_scale * config.decode_ms / 1000
        self._growth = config.decode_growth
        self._step_start = 0.0

    @property
    def kv_usage(self) -> float:
        """Part of the blocks that sequences hold, 0 to 1."""
        return self.pool.referenced / self.pool.size

    def submit(self, sequence: Sequence, now: float) -> None:
        """Queue a sequence. Its progress is told by the next `advance`."""
        sequence.arrived_at = now
        sequence.hashes = block_hashes(sequence.prompt, self.block_size, len(sequence.prompt) // self.block_size)
        self.waiting.append(sequence)

    def abort(self, sequence: Sequence) -> None:
        """End a sequence at once: its slot and its blocks are free when this returns."""
        if sequence.finish_reason is not None:
            return
        sequence.finish_reason = "abort"
        self.stats.aborts += 1
        if sequence.admitted_at is not None and sequence in self.running:
            self.running.remove(sequence)
            self._release(sequence)
        else:
            self.waiting.remove(sequence)
        if not self.running:
            self.next_time = None

    def advance(self, now: float) -> list[Sequence]:
        """Do everything that is over by `now`; return the sequences that got tokens, in order, once each."""
        touched: dict[Sequence, None] = {}
        start = now
        while True:
            if self.next_time is None and (self.running or self.waiting):
                self._begin(start)
            if self.next_time is None or self.next_time > now:
                return list(touched)
            duration = self.next_time - self._step_start
            repeats = self._repeats(duration, now)
            start = self._step_start + duration * repeats
            self._end(start, duration, repeats, touched)
            self.next_time = None

    def _begin(self, start: float) -> None:
        """Schedule one step, if there is anything to do."""
        self._step_start = start
        preempted = self.stats.preemptions
        budget = self._budget
        position = 0
        while position < len(self.running):
            sequence = self.running[position]
            sequence.scheduled = min(sequence.length - sequence.computed, budget)
            while not self._grow(sequence, sequence.computed + sequence.scheduled):
                victim = self.running[-1]
                self._preempt(victim)
                if victim is sequence:
                    break
            else:
                budget -= sequence.scheduled
                position += 1
        # Blocks that preemption just freed are for the sequences that stayed.
        while self.waiting and budget and len(self.running) < self._slots and preempted == self.stats.preemptions:
            taken = self._admit(self.waiting[0], budget, start)
            if not taken:
                break
            budget -= taken
        if not self.running:
            return
        prefill = decoding = 0
        for sequence in self.running:
            if sequence.decoding:
                decoding += 1
            else:
                prefill += sequence.scheduled
        duration = prefill * self._prefill_seconds
        if decoding:
            duration += self._decode_seconds * (1 + self._growth * (decoding - 1))
        self.next_time = start + duration

    def _admit(self, sequence: Sequence, budget: int, now: float) -> int:
        """Move the head of the queue into the batch; return its scheduled tokens, 0 if it does not fit."""
        # The last token is always computed: its logits are the answer's first token.
        hits = self.pool.find(sequence.hashes[: (sequence.length - 1) // self.block_size])
        cached = len(hits) * self.block_size
        # What another worker sent is lost when the sequence is preempted.
        is_new = sequence.admitted_at is None
        loaded = max(cached, min(sequence.external, sequence.length - 1) if is_new else 0)
        tokens = min(sequence.length - loaded, budget)
        blocks = self.pool.take(hits, -(-(loaded + tokens) // self.block_size) - len(hits))
        if blocks is None:
            return 0
        self.waiting.popleft()
        self.running.append(sequence)
        sequence.blocks = blocks
        sequence.computed = loaded
        sequence.scheduled = tokens
        if is_new:
            sequence.admitted_at = now
            sequence.cached = loaded
            sequence.external = loaded - cached
            self.stats.external_queries += len(sequence.prompt) - cached if sequence.external else 0
            self.stats.external_hits += sequence.external
            self.stats.prefix_cache_queries += len(sequence.prompt)
            self.stats.prefix_cache_hits += cached
        self.pool.remember(blocks, sequence.hashes[: (loaded + tokens) // self.block_size], sequence.prompt)
        return tokens

    def _grow(self, sequence: Sequence, tokens: int) -> bool:
        """Hold blocks for that many tokens; False, with nothing changed, when there are too few."""
        missing = -(-tokens // self.block_size) - len(sequence.blocks)
        if missing > 0:
            fresh = self.pool.take((), missing)
            if fresh is None:
                return False
            sequence.blocks += fresh
        if not sequence.produced:
            self.pool.remember(sequence.blocks, sequence.hashes[: tokens // self.block_size], sequence.prompt)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._release(sequence)
        sequence.computed = sequence.scheduled = 0
        sequence.preemptions += 1
        self.stats.preemptions += 1
        self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks = []

    def _repeats(self, duration: float, now: float) -> int:
        """Return how many equal steps end by `now`: a pure decode batch repeats until a sequence ends."""
        most = _FOREVER
        for sequence in self.running:
            if not sequence.decoding:
                return 1
            most = min(most, sequence.target - sequence.produced)
        if duration:
            most = min(most, int((now - self._step_start) / duration))
        if most <= 1:
            return 1
        size = self.block_size
        needed = sum(-(-(s.computed + most) // size) - len(s.blocks) for s in self.running)
        if needed > self.pool.free:
            return 1
        for sequence in self.running:
            self._grow(sequence, sequence.computed + most)
        return most

    def _end(self, end: float, duration: float, repeats: int, touched: dict[Sequence, None]) -> None:
        """Give out the tokens of one step, or of several equal ones."""
        stats = self.stats
        scheduled = decodes = 0
        finished = False
        for sequence in self.running:
            scheduled += sequence.scheduled
            sequence.computed += sequence.scheduled * repeats
            length = len(sequence.prompt) + sequence.produced
            if sequence.computed < length + repeats - 1:
                continue  # a chunk of a longer prefill: no token yet
            if sequence.produced:
                decodes += 1
            else:
                sequence.first_token_at = end
                stats.prompt_tokens += len(sequence.prompt)
                stats.prompt_tokens_cached += sequence.cached
                stats.time_to_first_token.observe(end - sequence.arrived_at)
            sequence.produced += repeats
            stats.generation_tokens += repeats
            touched[sequence] = None
            if sequence.produced >= sequence.target:
                self._finish(sequence, end)
                finished = True
        stats.stepped(scheduled, repeats, decodes, duration)
        if finished:
            self.running = [s for s in self.running if s.finish_reason is None]

    def _finish(self, sequence: Sequence, now: float) -> None:
        sequence.finish_reason = "stop" if sequence.stops else "length"
        sequence.finished_at = now
        full = sequence.computed // self.block_size
        if full > len(sequence.hashes):  # the answer's blocks serve the next turn of a conversation
            tokens = [*sequence.prompt, *text.ids(sequence.seed, 0, sequence.produced)]
            self.pool.remember(sequence.blocks, block_hashes(tokens, self.block_size, full), tokens)
        self._release(sequence)
        admitted = sequence.arrived_at if sequence.admitted_at is None else sequence.admitted_at
        sample = Sample(
            prompt=len(sequence.prompt),
            cached=sequence.cached,
            produced=sequence.produced,
            target=sequence.target,
            preemptions=sequence.preemptions,
            queue=admitted - sequence.arrived_at,
            prefill=sequence.first_token_at - admitted,
            decode=now - sequence.first_token_at,
            end_to_end=now - sequence.arrived_at,
        )
        self.stats.ended(sample, sequence.finish_reason)
