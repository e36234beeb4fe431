"""What a request leaves behind when it has ended: its account, its receipt, its line in the log."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from dataplane.access_lines import MOST_PROMPT, Ended, level_of
from dataplane.accounting import AbortedBy
from dataplane.admission.estimate import spent
from dataplane.admission.key_limits import Use
from dataplane.admission.ticket import Ticket
from dataplane.exchange import Exchange
from dataplane.receipts import NOTHING, Extra, Try, Waited
from dataplane.response_homes import FAMILY as RESPONSES
from dataplane.usage import Usage, usage_of
from shared import catalog
from shared.errors import RouterError

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request


# Looking a member of an enumeration up costs as much as a call.
_OK = HTTPStatus.OK.value


def leave_behind(
    forwarder: Forwarder,
    request: Request,
    ended: AbortedBy | RouterError | None,
    exchange: Exchange | None,
    phase: str,
    tries: Sequence[Try],
    *,
    is_unreadable: bool,
) -> None:
    """Account for a request once, remember it, and have its line logged if it is to have one.

    `ended` is None when its client got a worker's whole answer; `exchange` is the last attempt's; `phase` is where it
    was aborted. `is_unreadable`: its body was no valid HTTP.
    """
    client, arrived, accounting = request.client, request.arrived, forwarder.accounting
    usage: Usage | None = None
    now = forwarder.loop.time()
    first_byte = exchange.first_byte_at if exchange is not None else 0.0
    route, method, model = client.route.path, client.method, accounting.model_label(request.model)
    if ended is None and exchange is not None:
        status = exchange.status
        accounting.finish(route, method, status, now - arrived, first_byte - arrived, model)
        usage = _account_for_answer(forwarder, request, exchange, model) if status == _OK else None
        outcome = "answered"
        if client.route.family == RESPONSES and tries:
            forwarder.fleet.homes.learn(request.wanted, exchange, tries[-1].worker)
    elif isinstance(ended, RouterError):
        accounting.reject(route, method, ended, model)
        outcome, status = f"rejected {ended.code}", ended.status
    else:
        by = ended or "client"
        status = exchange.status if exchange is not None else 0
        accounting.abort(by, phase, route, method, status if client.started else 0, model)
        outcome = f"aborted by {by}"
        if is_unreadable:
            outcome, status = "unreadable body", HTTPStatus.BAD_REQUEST.value
    if request.ticket is not None and request.ticket.use is not None:
        _settle(request.ticket.use, ended, exchange, usage, tries)
    if tries:
        accounting.worker_seconds[model] += now - tries[0].began
    named, taken = request.model, request.arm
    if taken is not None:
        arm, told = taken.arm, outcome == "answered"
        named = arm.name
        got = status if told or isinstance(ended, RouterError) or client.started else 0
        accounting.arm(named, arm.label, got, now - arrived if told else None)
    if client.key is not None:
        accounting.used_by_key(client.key.name, status, usage)
    times = (arrived, first_byte, now)
    view, keep, trace = forwarder.fleet.view, forwarder.receipts.keep, request.trace
    is_plain = trace is None and taken is None and client.key is None and request.ticket is None
    extra = NOTHING if is_plain else _extra_of(request, now)
    row = keep(request.id, method, client.path, named, times, outcome, status, view, tries, extra)
    access = forwarder.access
    level = access.success if ended is None and status < 400 else level_of(outcome, status, access.success)
    if level >= access.least:
        cause = _cause_of(ended, tries, is_unreadable=is_unreadable)
        body = bytes(request.body[:MOST_PROMPT]) if access.shows_prompts else b""
        # A plain tuple, as rows are.
        access.note((level, row, cause, client.told_address, usage, body))
    if trace is not None:
        cause = _cause_of(ended, tries, is_unreadable=is_unreadable)
        has_room = forwarder.tracing.note(Ended(level, row, cause, client.told_address, usage), trace)
        if has_room and ended is None and exchange is not None:
            exemplars = forwarder.tracing.exemplars
            exemplars.note(catalog.LATENCY, (route, model), now - arrived, trace.name)
            if exchange.is_stream and status == _OK:
                exemplars.note(catalog.FIRST_TOKEN, (model,), first_byte - arrived, trace.name)


def _settle(
    use: Use,
    ended: AbortedBy | RouterError | None,
    exchange: Exchange | None,
    usage: Usage | None,
    tries: Sequence[Try],
) -> None:
    """Note what a request took of its key's own limits."""
    use.is_sent = bool(tries)
    use.spent = 0 if isinstance(ended, RouterError) else spent(use.asked, exchange, usage, is_whole=ended is None)


def _extra_of(request: Request, now: float) -> Extra:
    return Extra(
        request.trace.name if request.trace is not None else "",
        request.arm,
        request.client.key.name if request.client.key is not None else None,
        _waited(request.ticket, now) if request.ticket is not None else None,
        _refused_for(request.ticket) if request.ticket is not None else "",
    )


def _waited(ticket: Ticket, now: float) -> Waited | None:
    if ticket.position is None:
        return None
    return Waited(ticket.position, ticket.expected, (ticket.went or now) - ticket.since, ticket.limit)


def _refused_for(ticket: Ticket) -> str:
    # Who is refused has not waited in the line, whose place he was told.
    return ticket.limit if ticket.position is None else ""


def _account_for_answer(forwarder: Forwarder, request: Request, exchange: Exchange, model: str) -> Usage | None:
    """Count what a worker's whole answer took, tokens and of a stream the times between them; return the first."""
    accounting = forwarder.accounting
    usage = usage_of(*exchange.tail) if request.takes_tokens else None
    if usage is not None:
        accounting.used(model, usage)
    if exchange.is_stream:
        # An event has one token, as a rule; where the number of tokens is known, that is what counts.
        gaps = usage.output - 1 if usage is not None and usage.output else exchange.gaps
        gap = exchange.seconds_streamed / gaps if gaps > 0 else 0.0
        accounting.streamed(model, exchange.first_byte_at - request.arrived, exchange.longest_pause, gap, gaps)
    return usage


def _cause_of(ended: AbortedBy | RouterError | None, tries: Sequence[Try], *, is_unreadable: bool) -> str:
    """Return in words why a request failed; nothing of what its client sent."""
    if is_unreadable:
        return "the body is not valid HTTP; it was answered 400"
    if isinstance(ended, RouterError):
        return ended.message
    return tries[-1].failed if tries else ""
