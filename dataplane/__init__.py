"""Forwards: the processes that carry requests between clients and workers."""
