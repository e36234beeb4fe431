"""`routerctl start --console`: logs above, and a line below them that says how the router does."""
