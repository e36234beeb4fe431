from __future__ import annotations

from pathlib import Path

import pytest

from shared.admin_token import read_admin_token
from shared.config import ConfigError


@pytest.mark.parametrize("content", ["", "\n", "secret", "s" * 1025, "secret secret secret", "secrétsecrétsecrét"])
def test_a_token_that_is_none_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_admin_token("--admin-token-file", token)
    assert "16 to 1024" in str(caught.value)
    assert "secr" not in str(caught.value).replace(str(tmp_path), "")
    token.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        read_admin_token("--admin-token-file", token)
