"""Every spelling of a path has one canonical form, and rules look at that alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.canonical_path import read_path

FILE = "/v1/files/file-1"


@pytest.mark.parametrize(
    "raw",
    [
        b"/v1/files/file-1/",
        b"/v1//files/file-1",
        b"//v1/files/file-1",
        b"/v1/./files/file-1",
        b"/v1/x/../files/file-1",
        b"/v1/x/%2e%2e/files/file-1",
        b"/v1/x/%252e%252e/files/file-1",
        b"/v1/x/..;a=b/files/file-1",
        b"/v1/files;v=1/file-1",
        b"/v1/files/file-1;jsessionid=1",
        b"/v1/f%69les/file-1",
        b"/v1/files/file%2d1",
        b"/V1/files/file-1",
        b"/v1%2ffiles/file-1",
        b"/v1\\files\\file-1",
        b"/v1/files%5cfile-1",
    ],
)
def test_another_spelling_is_recognized_and_is_not_exact(raw: bytes) -> None:
    found = read_path(raw)

    assert (found.path, found.is_exact) == (FILE, False)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v1/files/file-1", FILE),
        (b"/v1/models/ft%3Agpt-4o%3Aorg", "/v1/models/ft:gpt-4o:org"),
        (b"/v1/models/ft%3agpt-4o%3aorg", "/v1/models/ft:gpt-4o:org"),
        (b"/v1/models/openai%2Fgpt-4o", "/v1/models/openai/gpt-4o"),
        (b"/v1/models/openai/gpt-4o", "/v1/models/openai/gpt-4o"),
        (b"/v1/files/a%20b", "/v1/files/a b"),
        (b"/v1/files/%C3%A9", "/v1/files/\u00e9"),
        (b"/healthz", "/healthz"),
    ],
)
def test_what_clients_must_encode_stays_exact(raw: bytes, path: str) -> None:
    found = read_path(raw)

    assert (found.path, found.is_exact) == (path, True)


@pytest.mark.parametrize("hidden", [b"%2F", b"%5C", b"%3B", b"%25", b"%00", b"%0d%0a", b"%3F", b"%23"])
def test_a_segment_that_a_server_may_split_or_cut_is_not_exact(hidden: bytes) -> None:
    assert not read_path(b"/v1/files/a" + hidden + b"b").is_exact


def test_a_model_with_a_step_up_is_not_exact() -> None:
    assert not read_path(b"/v1/models/a%2F..%2Fb").is_exact
    assert not read_path(b"/v1/models/..%2F..%2Fadmin").is_exact


@given(st.binary(min_size=1, max_size=60))
def test_the_canonical_form_of_a_canonical_form_is_itself(tail: bytes) -> None:
    """Whatever is sent: no dot segment, no empty one, and nothing left to undo but a very deep encoding."""
    path = read_path(b"/" + tail).path

    assert path.startswith("/")
    assert not {"", ".", ".."} & set(path[1:].split("/")) or path == "/" or "%" in path
