from __future__ import annotations

import pytest

from shared.as_written import as_written


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (1, "1"), (2.5, "2.5"), ("True", "'True'"), ([1], "[1]")]
)
def test_a_value_is_quoted_as_its_author_wrote_it(value: object, text: str) -> None:
    assert as_written(value) == text
