from controlplane.cli.limits_view import (
    MOST_LINES,
    AdmissionView,
    LimitView,
    limit_rows,
    limit_text,
    limits_left_out,
    waiting_text,
)

TOTAL = LimitView(name="total", kind="slots", amount=24.0, in_use=24.0, wanted={"alice": 20.0, "bob": 9.0})
MODEL = LimitView(name="model:m", kind="slots", amount=12.0, in_use=3.0)
RATE = LimitView(name="rate", kind="rate", amount=2.5)
FULL_KEY = LimitView(name="key:alice:open", kind="slots", amount=2.0, in_use=2.0)
WINDOW = LimitView(name="key:alice:tokens", kind="window", amount=60_000.0, in_use=15_000.0)


def test_limits_in_a_few_letters() -> None:
    assert [limit_text(limit) for limit in (TOTAL, MODEL, RATE, WINDOW)] == [
        "total 24/24",
        "model:m 3/12",
        "rate 2.5/s",
        "key:alice:tokens 15,000/60,000/min",
    ]


def test_who_waits_and_what_for() -> None:
    assert waiting_text(AdmissionView(limits=[TOTAL, MODEL])) == ""
    told = waiting_text(AdmissionView(limits=[TOTAL, MODEL], waiting=5))
    assert told == "5 requests wait; full: total 24/24 (wanted: alice 20, bob 9)"
    assert waiting_text(AdmissionView(limits=[RATE], waiting=1)) == "1 request waits"
    assert waiting_text(AdmissionView(limits=[FULL_KEY], waiting=2)) == "2 requests wait"
    assert waiting_text(AdmissionView(limits=[TOTAL] * 4, waiting=5)).endswith(", 2 more limits")
    assert waiting_text(AdmissionView(limits=[TOTAL] * 3, waiting=5)).endswith(", 1 more limit")


def test_limits_as_a_table() -> None:
    assert limit_rows(AdmissionView()) == []
    assert limit_rows(AdmissionView(limits=[TOTAL, RATE]))[1:] == [
        ("total", "24", "24", "100%", "alice 20, bob 9"),
        ("rate", "2.5/s", "-", "-", "-"),
    ]
    many = AdmissionView(limits=[MODEL] * 50, more=9)
    assert (len(limit_rows(many)) - 1, limits_left_out(many)) == (MOST_LINES, 51)


def test_a_long_name_leaves_the_other_columns_in_sight() -> None:
    limit = LimitView(name="model:/models/" + "x" * 200 + "/fp8", kind="slots", amount=2.0, in_use=1.0)
    admission = AdmissionView(limits=[limit])
    assert limit_rows(admission)[1][0] == limit.name
    assert limit_rows(admission, is_cut=True)[1][0] == "model:/models/xxxxx...xxxxxxxxxxxxxx/fp8"
