"""The forwarding client: HTTP/1.1 towards workers, one connection per request at a time, pooled per worker.

Our own, because it was measured: aiohttp and pyreqwest cost a plane twice as much per request, httpx
twenty times (see ARCHITECTURE.md). `connection.py` speaks the protocol, `framing.py` says which answers it
takes, `pool.py` keeps connections, `head.py` writes request heads.
"""
