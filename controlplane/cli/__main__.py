"""`python -m controlplane.cli` is `routerctl`."""

from controlplane.cli import main

main()
