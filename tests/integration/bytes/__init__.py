"""G-BYTES: what a client sends reaches the worker, and what the worker answers reaches the client, as it was."""
