from pathlib import Path

import pytest

from controlplane.cli import run


def test_that_nothing_has_changed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"--runtime-dir={tmp_path}"
    assert run(["events", folder, "--since=15m"]) == 0
    assert capsys.readouterr().out == "nothing has changed in the last 15m; --since 0 shows all that is kept\n"
    assert run(["events", folder, "--since=0"]) == 0
    assert capsys.readouterr().out.startswith("no events are kept")
    assert run(["events", folder, "--json"]) == 0
    assert capsys.readouterr().out == ""
