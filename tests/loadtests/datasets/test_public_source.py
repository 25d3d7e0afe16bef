from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtests.datasets import public_source, read_data
from loadtests.datasets.__main__ import main
from loadtests.datasets.public_source import Source, cache_folder, fetch_files, read_sources
from loadtests.datasets.readers import READERS

FILES = {"train.csv": b"text,category\nwhere is it,arrival\n", "test.csv": b"text,category\nlost,lost_card\n"}
SOURCE = Source(
    repository="owner/banking",
    commit="abc",
    folder="data",
    license="CC-BY-4.0",
    files={path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()},
)


class FileHost(ThreadingHTTPServer):
    """Serves `files` by their path on 127.0.0.1 and remembers the `requested` paths."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _FileHandler)
        self.files = {f"/owner/banking/abc/data/{path}": content for path, content in FILES.items()}
        self.requested: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _FileHandler(BaseHTTPRequestHandler):
    server: FileHost

    def do_GET(self) -> None:
        self.server.requested.append(self.path.rpartition("/")[2])
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("content-length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[FileHost]:
    with FileHost() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no proxy between the tests and their server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "stepdown" / "datasets"


def test_a_fetched_data_set_is_found_by_its_name(
    host: FileHost, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_source, "read_sources", lambda: {"banking77": SOURCE})

    folder = fetch_files("banking77", SOURCE, host.url)

    assert folder == cache / "banking77"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    data = read_data(Path("banking77"), 0)
    assert {pair.text: pair.answer for pair in data.pairs} == {"where is it": "arrival", "lost": "lost_card"}


def test_what_the_cache_has_is_not_downloaded_again(host: FileHost) -> None:
    folder = fetch_files("banking77", SOURCE, host.url)
    (folder / "test.csv").write_bytes(b"damaged")

    fetch_files("banking77", SOURCE, host.url)

    assert host.requested == ["train.csv", "test.csv", "test.csv"]
    assert (folder / "test.csv").read_bytes() == FILES["test.csv"]


def test_content_other_than_the_pinned_is_refused_and_not_kept(host: FileHost) -> None:
    host.files["/owner/banking/abc/data/test.csv"] = b"text,category\nlost,changed\n"

    with pytest.raises(SystemExit, match=r"data/test\.csv: sha256 .* instead of .* not kept"):
        fetch_files("banking77", SOURCE, host.url)

    assert [path.name for path in cache_folder("banking77").iterdir()] == ["train.csv"]


def test_a_file_that_is_gone_from_its_source_is_named(host: FileHost) -> None:
    host.files.clear()

    with pytest.raises(SystemExit, match=r"owner/banking/abc/data/train\.csv: HTTP Error 404"):
        fetch_files("banking77", SOURCE, host.url)


def test_a_data_set_that_was_not_fetched_names_the_command() -> None:
    with pytest.raises(SystemExit, match=r"python -m loadtests\.datasets fetch banking77"):
        read_data(Path("banking77"), 0)


def test_a_half_fetched_data_set_is_not_read(host: FileHost, cache: Path) -> None:
    """SNIPS is read by a pattern: with a file missing it would be another data set without a word."""
    (cache / "snips_slots" / "GetWeather").mkdir(parents=True)
    (cache / "snips_slots" / "GetWeather" / "validate_GetWeather.json").write_text("{}")

    with pytest.raises(SystemExit, match=r"fetch snips_slots"):
        read_data(Path("snips_slots"), 0)


def test_the_command_prints_license_and_source(host: FileHost, capsys: pytest.CaptureFixture[str]) -> None:
    """And asks for the pinned commit; this server does not have it."""
    with pytest.raises(SystemExit, match=r"57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data/train\.csv"):
        main(["fetch", "banking77", "--host", host.url])

    assert "PolyAI-LDN/task-specific-datasets" in (said := capsys.readouterr().out)
    assert "license: CC-BY-4.0" in said


def test_every_data_set_that_can_be_read_can_be_fetched() -> None:
    sources = read_sources()

    assert set(sources) == {name.partition(":")[0] for name in READERS}
    for source in sources.values():
        assert len(source.commit) == 40
        assert source.license
        assert all(len(sha256) == 64 for sha256 in source.files.values())
