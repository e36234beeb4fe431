"""`routerctl` commands, run within the tests' own process: to start another one costs more than most of them do."""

from __future__ import annotations

import io
import os
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from controlplane.cli import run


def routerctl(*arguments: str, cwd: Path | None = None, **environment: str) -> CompletedProcess[str]:
    """Run a command to its end, without the settings of the environment but for those that are given.

    Not for commands that start processes, nor from several threads at once.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("ROUTERCTL_")}
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, {**others, **environment}, clear=True),
        chdir(cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            code = run(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
