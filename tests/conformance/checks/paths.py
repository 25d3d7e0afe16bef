"""A path and its query reach the teacher as they were written."""

from __future__ import annotations

from tests.conformance.harness import Harness
from tests.conformance.table import check


def arrives(number: int, what: str, path: str, source: str) -> None:
    """Enter a check that a path arrives byte for byte below the teacher's own."""

    @check(number, f"{what} in a path arrives as it was written", source=source)
    def body(harness: Harness) -> None:
        assert harness.ask("GET", path).status == 200
        assert harness.teacher.last.target == f"/v1{path}"


URI = "RFC 3986"
arrives(
    701, "an encoded slash", "/files/a%2Fb", f"{URI}, 2.2: reserved characters are not equal to their codes"
)
arrives(702, "an encoded space", "/files/a%20b", f"{URI}, 2.1")
arrives(703, "a lower-case code", "/files/a%c3%a9%2f", f"{URI}, 6.2.2.1")
arrives(704, "a double slash", "/files//content", f"{URI}, 3.3: empty segments are segments")
arrives(705, "a trailing slash", "/files/", f"{URI}, 3.3")
arrives(706, "an encoded percent", "/files/100%25", f"{URI}, 2.4: never decode twice")
arrives(707, "a colon", "/models/ft:gpt-4o:org::id", "API: Fine-tuning, names of models")
arrives(708, "an encoded question mark", "/files/a%3Fb", f"{URI}, 2.2")
arrives(709, "sub-delimiters", "/files/a!$&'()*+,;=b@c", f"{URI}, 3.3")
arrives(710, "an encoded dot", "/files/%2E", f"{URI}, 6.2.2.2")
arrives(711, "the order of a query", "/files?z=1&a=2&z=0", f"{URI}, 3.4")
arrives(712, "a plus beside an encoded plus", "/files?q=a+b%2Bc", "URL standard, 5 (form encoding)")
arrives(713, "an empty value and a bare name", "/files?a=&b&c=1", f"{URI}, 3.4")
arrives(
    714, "brackets", "/responses/resp_1?include[]=a&include[]=b", "openai-python _qs.py: arrays as brackets"
)
arrives(715, "encoded brackets", "/responses/resp_1?include%5B%5D=a", "openai-node src/internal/qs")
arrives(716, "an ampersand in a value", "/files?q=a%26b%3Dc", f"{URI}, 2.2")
arrives(717, "a long query", f"/files?after={'x' * 4000}", "RFC 9112, 3: at least 8000 octets")
arrives(718, "a slash and a question mark", "/files?path=/a/b?c", f"{URI}, 3.4")
arrives(719, "a tilde and its code", "/files/~a%7Eb", f"{URI}, 2.3")


@check(720, "dots never lead out of the API", source="RFC 3986, 5.2.4; CWE-22")
def dots(harness: Harness) -> None:
    harness.ask("GET", "/files/../../admin")
    assert not [
        request
        for request in harness.teacher.seen
        if not request.target.startswith("/v1/") or ".." in request.target
    ]
