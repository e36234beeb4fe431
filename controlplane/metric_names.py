"""What the names of the router's own metrics begin with."""

PREFIX = "routerctl_"
