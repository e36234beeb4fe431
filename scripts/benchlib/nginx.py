"""nginx as the limit: about the least that a proxy of HTTP/1.1 can cost."""

from collections.abc import Sequence
from pathlib import Path

_CONFIG = """\
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    tcp_nodelay on;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    upstream workers {{
{servers}
        keepalive 2048;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://workers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


def write_config(directory: Path, port: int, workers: Sequence[str]) -> Path:
    """Write a configuration for `workers` (address:port each) and return its path."""
    servers = "\n".join(f"        server {worker};" for worker in workers)
    path = directory / "nginx.conf"
    path.write_text(_CONFIG.format(directory=directory, port=port, servers=servers))
    return path
