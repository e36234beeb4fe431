"""Policies over simulated engines in virtual time: hours of a fleet in seconds, the same on every run."""
