from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controlplane.console.line import text_of
from controlplane.console.region import drawn, entered, left
from tests.unit.controlplane.top.snapshots import fleet, snapshot, worker


def test_the_line_says_the_most_important_first() -> None:
    assert text_of(fleet().summary) == (
        " 4/6 workers ready  1 breaker not closed  2/2 planes  57 open  123 req/s  0.2 failed/s  "
        "tok/s 48.2k in 5.6k out  ttft 81ms/210ms  e2e 1.3s/4.2s"
    )
    assert text_of(snapshot(worker(1), traffic=False).summary) == " 1/1 workers ready  2/2 planes  57 open"
    assert "2 breakers not closed" in text_of(replace(fleet().summary, broken=2))
    traffic = fleet().summary.traffic
    assert traffic is not None
    failing = replace(traffic, causes={"over_capacity": 0.2})
    assert "0.2 failed/s (over_capacity)  tok/s" in text_of(replace(fleet().summary, traffic=failing))
    assert "no control plane answers" in text_of(None)


class Screen:
    """As much of a terminal as the orders use: a region that scrolls, a cursor, and one that is saved."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.size = columns, lines
        self.lines = [""] * lines
        self.row, self.saved, self.bottom = lines - 1, 0, lines - 1
        self.moved = False

    def write(self, data: bytes) -> None:
        text = data.decode()
        while text:
            if text[0] == "\n":
                self.feed()
            elif text[0] == "\x1b":
                text = self.order(text)
                continue
            elif text[0] != "\r":
                self.lines[self.row] += text[0]
                assert len(self.lines[self.row]) <= self.columns
            text = text[1:]

    def feed(self) -> None:
        if self.row == self.bottom:
            self.lines[: self.bottom + 1] = [*self.lines[1 : self.bottom + 1], ""]
        else:
            self.row = min(self.size - 1, self.row + 1)

    def order(self, text: str) -> str:
        if text[1] in "78":
            self.saved, self.row = (self.row, self.row) if text[1] == "7" else (self.saved, self.saved)
            return text[2:]
        end = next(place for place in range(2, len(text)) if text[place].isalpha())
        numbers = [int(number) for number in text[2:end].split(";") if number]
        match text[end]:
            case "r":
                self.bottom = (numbers[1] if numbers else self.size) - 1
                self.row = 0
            case "A":
                self.row = max(0, self.row - 1)
            case "H":
                self.row = numbers[0] - 1
            case "K":
                self.lines[self.row] = ""
            case _:
                assert text[end] == "m"
        return text[end + 1 :]


@given(
    lines=st.integers(3, 30),
    columns=st.integers(1, 60),
    logs=st.lists(st.sampled_from(["log", "line", "again"]), max_size=40),
)
def test_logs_scroll_above_a_line_that_stays(lines: int, columns: int, logs: list[str]) -> None:
    screen = Screen(columns=max(columns, 6), lines=lines)
    screen.write(entered(lines))
    for number, text in enumerate(logs):
        screen.write(drawn(f" status {number} \x1b[2J", screen.columns, lines))
        screen.write(f"{text}\n".encode())
    screen.write(drawn(" end", screen.columns, lines))
    assert screen.lines[-1].rstrip() == " end"
    told = [line for line in screen.lines[:-1] if line]
    assert told == logs[len(logs) - len(told) :]
    # The cursor is on a line of its own below them.
    assert len(told) == min(len(logs), lines - 2)
    screen.write(left(lines))
    assert (screen.lines[-1], screen.bottom) == ("", lines - 1)
    screen.write(b"$ ")
    assert "$ " in screen.lines[:-1]
