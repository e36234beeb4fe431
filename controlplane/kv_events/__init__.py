"""Which engine holds which KV cache blocks, from vLLM's own events.

sources.py -> subscription.py -> stream.py -> decode.py -> source_index.py -> feed.py -> planes
"""
