"""No spelling of a path reaches an endpoint by another rule than the one that was looked up for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.canonical_path import read_path
from gateway.wire.endpoints import ENDPOINTS, find_resource

WORDS = sorted({word for endpoint in ENDPOINTS for word in endpoint.path.split("/") if "{" not in word})
ODD = [
    ".",
    "..",
    "",
    ";",
    ";a=b",
    "%2e",
    "%2E%2e",
    "%252e",
    "%2f",
    "%5c",
    "\\",
    "%",
    "%00",
    "%25",
    "%ff",
    "\xff",
]
SEGMENTS = st.sampled_from([*WORDS, *ODD, "file-1", "V1", "%76%31"]) | st.text("a.%2fF5cE;\\/", max_size=8)
PATHS = st.lists(SEGMENTS, max_size=7).map(lambda parts: "/" + "/".join(parts)) | st.builds(
    lambda segments, joints: (
        "/v1" + "".join(joint + one for one, joint in zip(segments, joints, strict=False))
    ),
    st.lists(SEGMENTS, max_size=5),
    st.lists(st.sampled_from(["/", "//", "%2f", "%252F", "\\", "/./", "/x/../", ";/"]), min_size=5),
)

SERVERS: dict[str, Callable[[str], str]] = {
    "decodes once": unquote,
    "decodes twice": lambda path: unquote(unquote(path)),
    "merges slashes": lambda path: re.sub("/+", "/", unquote(path)),
    "resolves dots": lambda path: _resolve(unquote(path)),
    "resolves dots before it decodes": lambda path: unquote(_resolve(path)),
    "cuts parameters off": lambda path: "/".join(part.partition(";")[0] for part in unquote(path).split("/")),
    "takes backslashes for slashes": lambda path: _resolve(unquote(path).replace("\\", "/")),
    "cuts a slash at the end off": lambda path: unquote(path).rstrip("/"),
    "cuts at a zero byte": lambda path: unquote(path).partition("\0")[0],
}
"""How a server behind us may read the path that it gets from us."""


def _resolve(path: str) -> str:
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)


@given(PATHS | st.binary(max_size=40).map(lambda tail: "/" + tail.decode("latin-1")))
def test_the_canonical_form_of_a_canonical_form_is_itself(raw: str) -> None:
    found = read_path(raw.encode("latin-1"))

    if found.is_exact and found.path.isascii() and found.path.isprintable():
        assert read_path(found.path.encode()).path == found.path


@pytest.mark.parametrize("server", SERVERS)
@given(raw=PATHS)
def test_a_server_finds_no_other_endpoint_behind_an_exact_path(server: str, raw: str) -> None:
    """A path that is not exact is refused where the gateway's own key would open it."""
    found = read_path(raw.encode("latin-1"))

    if found.is_exact:
        theirs = SERVERS[server](raw)
        for method in ("GET", "POST", "DELETE"):
            assert find_resource(method, theirs).endpoint == find_resource(method, found.path).endpoint
