"""The model of a form is found before its first file, and cannot change behind it."""

from __future__ import annotations

import pytest

from gateway.errors import RequestError
from gateway.wire.form_model import FormModel

KIND = b"multipart/form-data; boundary=X"


def part(name: str, value: bytes, file: str = "") -> bytes:
    more = f'; filename="{file}"' if file else ""
    return f'--X\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


END = b"--X--\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_model_is_found_however_small_the_pieces(size: int) -> None:
    body = part("prompt", b"a cat") + part("model", b"gpt-image-1") + part("image", b"\x89PNG", "a.png") + END
    form = FormModel(KIND)

    for start in range(0, len(body), size):
        form.feed(body[start : start + size])

    assert (form.model, form.is_settled) == ("gpt-image-1", True)


def test_a_file_before_any_model_settles_that_there_is_none() -> None:
    form = FormModel(KIND)

    form.feed(part("image", b"\x89PNG", "a.png"))

    assert (form.model, form.is_settled) == ("", True)


@pytest.mark.parametrize(
    "body",
    [
        part("model", b"cheap") + part("file", b"x", "a.wav") + part("model", b"giant") + END,
        part("file", b"x", "a.wav") + part("model", b"giant") + END,
        part("model", b"cheap") + part("model", b"giant") + END,
    ],
)
def test_a_second_or_late_model_is_refused(body: bytes) -> None:
    form = FormModel(KIND)

    with pytest.raises(RequestError, match="once, before its first file"):
        form.feed(body)


@pytest.mark.parametrize(("kind", "body"), [(b"multipart/form-data", b"x"), (KIND, b"--X\r\nwords\r\n\r\n")])
def test_what_is_no_form_is_refused(kind: bytes, body: bytes) -> None:
    with pytest.raises(RequestError, match="could not read the form"):
        FormModel(kind).feed(body)
