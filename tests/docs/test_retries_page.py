"""docs/retries.md shows what `next_step` does: its table is made here, from the function itself."""

from __future__ import annotations

from pathlib import Path

from dataplane.retry import RETRYABLE_STATUSES, Attempt, Outcome, Step, next_step

PAGE = Path(__file__).parents[2] / "docs" / "retries.md"
BEGIN, END = "<!-- table: made by tests/docs/test_retries_page.py -->\n", "<!-- end of table -->\n"

_WORDS = {
    Step.SAME_WORKER: "the same worker, on a fresh connection",
    Step.ANOTHER_WORKER: "another worker, at once",
    Step.ANY_WORKER_LATER: "any worker, after a pause",
    Step.GIVE_UP: "no retry",
}
_OUTCOMES = [
    ("the connection could not be made", Outcome.CONNECT_FAILED, 0, False),
    ("closed without a byte, connection used before", Outcome.NOTHING_RECEIVED, 0, True),
    ("closed without a byte, fresh connection", Outcome.NOTHING_RECEIVED, 0, False),
    ("the same, more than a second after the request was sent", Outcome.HELD, 0, False),
    *((f"status {status}", Outcome.STATUS, status, False) for status in sorted(RETRYABLE_STATUSES)),
    ("any other status", Outcome.STATUS, 501, False),
    ("broken off, nothing sent to the client yet", Outcome.BROKEN, 0, False),
    ("broken off in the middle", Outcome.TRUNCATED, 0, False),
]


def table() -> str:
    lines = [
        "| what happened | GET, HEAD, OPTIONS | POST and others | when every worker was tried |",
        "|---|---|---|---|",
    ]
    for text, outcome, status, reused in _OUTCOMES:
        cells = []
        for method, others_left in (("GET", True), ("POST", True), ("POST", False)):
            attempt = Attempt(outcome, method, 1, status=status, reused=reused, others_left=others_left, wait=0.05)
            cells.append(_WORDS[next_step(attempt, max_attempts=5)])
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_page_has_the_table_of_the_function() -> None:
    found = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert found == table(), f"put this between the two marks of {PAGE.name}:\n{table()}"
