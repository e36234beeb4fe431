from shared.request_lines import RequestLine, RequestLines, merged


def line(name: str, arrived: float, ended: float | None = None) -> RequestLine:
    phase, outcome = ("waiting", "") if ended is None else ("", "answered")
    return RequestLine(
        request=name, plane="0", method="GET", path="/", arrived=arrived, ended=ended, phase=phase, outcome=outcome
    )


def test_open_ones_stand_by_age_and_ended_ones_by_their_end() -> None:
    one = RequestLines(active=9, open=(line("b", 2.0), line("d", 4.0)), ended=(line("late", 1.0, 9.0),))
    other = RequestLines(active=1, open=(line("a", 1.0),), ended=(line("later", 8.0, 3.0), line("early", 2.0, 1.0)))
    both = merged((one, other), 2)
    assert both.active == 10
    assert [found.request for found in both.open] == ["a", "b"]
    assert [found.request for found in both.ended] == ["later", "late"]


def test_of_no_planes_there_are_none() -> None:
    assert merged((), 5) == RequestLines()
