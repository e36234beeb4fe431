"""Decides: workers, health, load, the routing table, supervision and the command line."""
