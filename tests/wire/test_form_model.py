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
    form.settle(is_over=True)

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


def test_a_form_names_objects_before_its_first_file() -> None:
    form = FormModel(KIND)

    form.feed(
        part("model", b"sora-2")
        + part("prompt", b"a file_id")
        + part("input_reference[file_id]", b"f-1")
        + part("file_ids[]", b"f-2")
        + part("video", b'{"id":"v-1"}')
        + part("image", b"\x89PNG", "a.png")
        + part("prompt", b"more words")
    )

    assert (form.model, form.object_ids) == ("sora-2", ("f-1", "f-2", "v-1"))
    with pytest.raises(RequestError, match="file_id"):
        form.feed(part("file_id", b"f-3"))


def test_a_model_behind_what_was_read_is_refused() -> None:
    form = FormModel(KIND)
    form.feed(part("prompt", b"long"))
    form.settle(is_over=False)

    with pytest.raises(RequestError, match="once, before its first file"):
        form.feed(part("model", b"giant"))


@pytest.mark.parametrize(
    "head",
    [
        "form-data; name*=utf-8''model",
        'form-data; name="prompt"; name="model"',
        "form-data; name=\"prompt\"; name*=utf-8''model",
        'form-data; name*0="mo"; name*1="del"',
        'form-data; name="prompt"\r\nContent-Disposition: form-data; name="model"',
        'form-data; name="mo\\del"',
        'form-data; name="model"\r\nContent-Transfer-Encoding: base64',
        'form-data; name="model"\r\nContent-Type: text/plain; charset=utf-16',
    ],
)
def test_a_part_that_parsers_read_differently_is_refused(head: str) -> None:
    with pytest.raises(RequestError, match="all readers agree on"):
        FormModel(KIND).feed(f"--X\r\nContent-Disposition: {head}\r\n\r\nx\r\n--X--\r\n".encode())


def test_a_file_may_be_called_anything() -> None:
    form = FormModel(KIND)

    form.feed(part("model", b"m") + part("file", b"x", 'a; name=b \\" c.jsonl') + END)

    assert form.model == "m"


@pytest.mark.parametrize("more", [b"; boundary=Y", b"; charset=utf-7"])
def test_a_content_type_that_parsers_read_differently_is_refused(more: bytes) -> None:
    with pytest.raises(RequestError, match="one boundary"):
        FormModel(KIND + more)


@pytest.mark.parametrize("body", [b'{"file_ids":["f-1"]}', part("file_id", b"f-1")])
def test_a_form_without_an_end_is_refused(body: bytes) -> None:
    form = FormModel(KIND)

    form.feed(body)

    with pytest.raises(RequestError, match="could not read the form"):
        form.settle(is_over=True)


@pytest.mark.parametrize(("kind", "body"), [(b"multipart/form-data", b"x"), (KIND, b"--X\r\nwords\r\n\r\n")])
def test_what_is_no_form_is_refused(kind: bytes, body: bytes) -> None:
    with pytest.raises(RequestError, match="could not read the form"):
        FormModel(kind).feed(body)
