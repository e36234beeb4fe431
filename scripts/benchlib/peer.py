"""The peer router, installed beside the project and never into its environment."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from benchlib.processes import BenchError

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.1.17"
_ENVIRONMENT = ROOT / ".bench" / "vllm-router"


@cache
def command() -> Path:
    """Return the peer's console script; install it first if it is not there in this version."""
    python = _ENVIRONMENT / "bin" / "python"
    if _installed(python) != VERSION:
        print(f"installing vllm-router {VERSION} into {_ENVIRONMENT.relative_to(ROOT)} ...", file=sys.stderr)
        _run([sys.executable, "-m", "venv", str(_ENVIRONMENT)])
        _run([str(python), "-m", "pip", "install", "--quiet", f"vllm-router=={VERSION}"])
    return _ENVIRONMENT / "bin" / "vllm-router"


def _installed(python: Path) -> str | None:
    if not python.exists():
        return None
    ask = "from importlib.metadata import version; print(version('vllm-router'))"
    done = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"cannot install the peer: {' '.join(argv)}\n{done.stderr.strip()}")
