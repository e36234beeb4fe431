"""Recorded bytes of real vLLM servers, and what must agree with them."""
