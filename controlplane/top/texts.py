"""Numbers and texts as a narrow column shows them."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from controlplane.cli.texts import NAME_MOST, shortened


def amount(value: float | None, unit: str = "") -> str:
    """Return a number in five characters at most, such as `3.1`, `123`, `1.2k` or `45M`; `-` for None."""
    if value is None:
        return "-"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.99995:
            scaled = value / size
            return f"{scaled:.1f}{letter}{unit}" if scaled < 99.95 else f"{scaled:.0f}{letter}{unit}"
    return f"{value:.1f}{unit}" if 0 < value < 99.95 else f"{value:.0f}{unit}"


def whole(value: float | None) -> str:
    """Return a number of things; `-` for None."""
    return "-" if value is None else f"{value:.0f}" if value < 10_000 else amount(value)


def short_time(seconds: float | None) -> str:
    """Return a time in six characters at most, such as `81ms`, `1.3s` or `12m`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 99.95:
        return f"{seconds:.1f}s"
    return f"{seconds:.0f}s" if seconds < 600 else f"{seconds / 60:.0f}m"


def bar(part: float | None, width: int, *, is_ascii: bool) -> str:
    """Return a bar that is full at 1; empty text where the part is not known."""
    if part is None:
        return " " * width
    full = min(width, max(0, round(part * width)))
    # What is there at all is seen.
    full = max(full, 1) if part > 0 else full
    on, off = ("#", ".") if is_ascii else ("█", "░")
    return on * full + off * (width - full)


def clean(text: str) -> str:
    """Return a text of others without what a terminal would take for orders."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def with_short_names(text: str, width: int) -> str:
    """Return a line for so many columns: of a longer one URLs lose their middle, not what is said of them."""
    if cell_len(text) <= width:
        return text
    most = min(NAME_MOST, width * 3 // 10)
    words = (shortened(word.removeprefix("http://"), most) if "://" in word else word for word in text.split(" "))
    return " ".join(words)


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Return a text in exactly so many columns of the terminal; one that is cut shows it."""
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "~" if width > 0 else ""
    return " " * (width - size) + text if right else text + " " * (width - size)
