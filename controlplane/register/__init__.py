"""`routerctl register`: stands beside an engine and announces it to routers (`shared.registration`)."""
