"""A model hub in a thread: enough of one for huggingface_hub, over real HTTP, with one repository."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def running_hub(repository: str, revision: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve `folder` as one revision of `repository`; give the URL and the paths of all requests."""
    paths: list[str] = []
    names = sorted(entry.name for entry in folder.iterdir())
    about = f"/api/models/{repository}"
    known: dict[str, object] = {
        f"{about}/revision/{revision}": {
            "id": repository,
            "sha": COMMIT,
            "siblings": [{"rfilename": name} for name in names],
        },
        f"{about}/tree/{COMMIT}": [
            {"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": name}
            for name in names
        ],
    }

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep quiet."""

        def _answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            paths.append(path)
            if path in known:
                return self._send(200, json.dumps(known[path]).encode(), with_body=with_body)
            prefix = f"/{repository}/resolve/{COMMIT}/"
            name = path.removeprefix(prefix)
            if path.startswith(prefix) and "/" not in name and (folder / name).is_file():
                return self._send(200, (folder / name).read_bytes(), with_body=with_body)
            return self._send(404, b"{}", with_body=with_body)

        def _send(self, status: int, body: bytes, *, with_body: bool) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if status != 200:
                self.send_header("X-Error-Code", "RevisionNotFound")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
