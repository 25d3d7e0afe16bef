"""A real S3 server (SeaweedFS) for one test session, on free ports of 127.0.0.1."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import find_port
from tests.support.waiting import PATIENCE_S

KEY, SECRET = "test-key", secrets.token_hex(8)
_CONFIG = (
    '{"identities": [{"name": "test", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], '
    '"actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}'
)


def find_server() -> str | None:
    """Return the path of the server's program; None if it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextmanager
def run_object_storage(folder: Path, bucket: str) -> Iterator[dict[str, Any]]:
    """Run a server with an empty bucket, and give the fsspec options that reach it."""
    program = find_server()
    assert program is not None
    config = folder / "s3.json"
    config.write_text(_CONFIG % (KEY, SECRET))
    # It takes for gRPC the port 10,000 above each of its own.
    ports: set[int] = set()
    while len(ports) < 4:
        ports.add(find_port())
    master, volume, filer, s3 = ports
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
                "-s3", f"-s3.port={s3}", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0",
                "-master.volumeSizeLimitMB=64", "-volume.max=20",
            ],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        options = {
            "key": KEY,
            "secret": SECRET,
            "endpoint_url": f"http://127.0.0.1:{s3}",
            "client_kwargs": {"region_name": "us-east-1"},
        }
        _make_bucket(bucket, options)
        yield options
    finally:
        # The program is a launcher: its child must end, too, and holds nothing that is worth a goodbye.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _make_bucket(bucket: str, options: dict[str, Any]) -> None:
    import s3fs

    files = s3fs.S3FileSystem(**options, skip_instance_cache=True, use_listings_cache=False)
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            files.mkdir(bucket)
            files.pipe_file(f"{bucket}/ready", b"")
            files.rm_file(f"{bucket}/ready")
            return
        except Exception:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.2)
