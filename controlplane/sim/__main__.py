"""`python -m controlplane.sim` is `routerctl sim`."""

import sys

from controlplane.cli import run

sys.exit(run(["sim", *sys.argv[1:]]))
