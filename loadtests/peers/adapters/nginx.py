"""nginx `proxy_pass`, from PATH or a Debian package unpacked into the folder: the cost of a bare proxy."""

from __future__ import annotations

import shutil
import subprocess

from loadtests.peers.base import AbsentError, Place, Plan

CONFIG = """
worker_processes 1;
daemon off;
user {user};
pid {scratch}/nginx.pid;
error_log {scratch}/error.log;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_max_body_size 32m;
  client_body_buffer_size 256k;
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  keepalive_requests 100000000;
  upstream teacher {{
    server 127.0.0.1:{teacher_port};
    keepalive 4096;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /ready {{ return 200; }}
    location / {{
      proxy_pass http://teacher;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def prepare(place: Place) -> Plan:
    """See loadtests.peers.base.Adapter."""
    unpacked = place.peers / "nginx/usr/sbin/nginx" if place.peers else None
    found = shutil.which("nginx") or (str(unpacked) if unpacked and unpacked.exists() else None)
    if not found:
        raise AbsentError(f"no nginx on PATH{f' and no {unpacked}' if unpacked else ''}")
    config = place.scratch / "nginx.conf"
    owner = place.scratch.owner()
    config.write_text(
        CONFIG.format(user=owner, scratch=place.scratch, teacher_port=place.teacher_port, port=place.port)
    )
    version = subprocess.run([found, "-v"], capture_output=True, text=True, check=True).stderr
    return Plan(
        version=version.strip().rpartition("/")[2],
        command=(found, "-p", str(place.scratch), "-e", str(place.scratch / "error.log"), "-c", str(config)),
        ready_path="/ready",
        worker="nginx: worker process",
    )
