"""Prefill/decode disaggregation: the prompt is computed by one worker, the answer by another that gets its KV cache."""
