"""`python -m dataplane RUNTIME_DIR [--remote] --slot N --id HEX16 [--after HEX16]`: started by a supervisor only."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dataplane.process import run
from shared.runtime_dir import RuntimeDir


def main() -> int:
    """Read the arguments and run a plane."""
    parser = argparse.ArgumentParser(prog="python -m dataplane")
    parser.add_argument("runtime_dir", type=Path)
    parser.add_argument("--remote", action="store_true")
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--after")
    arguments = parser.parse_args()
    return run(
        RuntimeDir(arguments.runtime_dir),
        slot=arguments.slot,
        plane_id=arguments.id,
        predecessor=arguments.after,
        is_remote=arguments.remote,
    )


if __name__ == "__main__":
    sys.exit(main())
