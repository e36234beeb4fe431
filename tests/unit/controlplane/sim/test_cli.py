"""The command as a process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

COMMAND = [sys.executable, "-m", "controlplane.sim"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_at_a_signal(signum: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--count", "2", "--model", "a", "--model", "b"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        urls = []
        for index, line in enumerate(lines):
            found = re.fullmatch(rf"sim worker {index} ready at (http://127\.0\.0\.1:\d+) model=a\n", line)
            assert found, line
            urls.append(found[1])
        for url in urls:
            with urlopen(f"{url}/version") as answer:  # noqa: S310 - the address is our own
                assert answer.read() == b'{"version":"0.32.0"}'
        assert Path(f"/proc/{process.pid}/cmdline").read_text().startswith("routerctl: sim")
        process.send_signal(signum)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--count", "many"], "--count is 'many'; write a whole number"),
        (["--count", "0"], "--count 0 is outside 1..1024"),
        (["--fault", "explode"], "no fault is called 'explode'"),
        (["--host", "203.0.113.1", "--port", "0"], "cannot listen on 203.0.113.1 port 0"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid port 8000"),
    ],
)
def test_wrong_values_end_with_one_line(arguments: list[str], says: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("routerctl")
    assert says in done.stderr
