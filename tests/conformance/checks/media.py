"""Files, images and sound pass both ways, byte for byte."""

from __future__ import annotations

from tests.conformance.checks.surfaces import passes

BINARY = bytes(range(256)) * 64


FORM = "multipart/form-data; boundary=----edge"


def form(name: str, content: bytes = BINARY, **fields: str) -> bytes:
    """Return a multipart body with fields and one file."""
    texts = [
        f'------edge\r\ncontent-disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    opening = (
        f'------edge\r\ncontent-disposition: form-data; name="{name}"; filename="caf\u00e9.bin"\r\n'
        "content-type: application/octet-stream\r\n\r\n"
    )
    return b"".join((*(text.encode() for text in texts), opening.encode(), content, b"\r\n------edge--\r\n"))


passes(
    611,
    "an image",
    "Images, create",
    "POST /images/generations",
    {"model": "gpt-image-1", "prompt": "x", "size": "1024x1024"},
    answer={"created": 1, "data": [{"b64_json": "AAAA"}]},
)


passes(612, "an image to edit", "Images, edit", "POST /images/edits", form("image[]", prompt="x"), kind=FORM)


passes(
    613,
    "a variation of an image",
    "Images, variation",
    "POST /images/variations",
    form("image", n="2"),
    kind=FORM,
)


passes(
    614,
    "speech",
    "Audio, create speech",
    "POST /audio/speech",
    {"model": "tts-1", "input": "x", "voice": "alloy"},
    answer=BINARY,
    answer_kind="audio/mpeg",
)


passes(
    615,
    "a transcription",
    "Audio, create transcription",
    "POST /audio/transcriptions",
    form("file", model="whisper-1", language="de"),
    kind=FORM,
    answer={"text": "x"},
)


passes(
    616,
    "a transcription as plain text",
    "Audio, create transcription, response_format",
    "POST /audio/transcriptions",
    form("file", model="whisper-1", response_format="text"),
    kind=FORM,
    answer=b"hello\n",
    answer_kind="text/plain; charset=utf-8",
)


passes(
    617,
    "a translation",
    "Audio, create translation",
    "POST /audio/translations",
    form("file", model="whisper-1"),
    kind=FORM,
)


passes(618, "a file", "Files, upload", "POST /files", form("file", purpose="batch"), kind=FORM)


passes(
    619,
    "the list of files with its query",
    "Files, list",
    "GET /files?purpose=batch&limit=2&order=desc&after=file-1",
)


passes(
    620,
    "the content of a file",
    "Files, retrieve content",
    "GET /files/file-1/content",
    answer=BINARY,
    answer_kind="application/octet-stream",
)


passes(621, "the deletion of a file", "Files, delete", "DELETE /files/file-1")


passes(
    622,
    "an upload",
    "Uploads, create",
    "POST /uploads",
    {"purpose": "fine-tune", "filename": "a.jsonl", "bytes": 2_147_483_648, "mime_type": "text/jsonl"},
)


passes(
    623, "a part of an upload", "Uploads, add part", "POST /uploads/upload_1/parts", form("data"), kind=FORM
)


passes(
    624,
    "the completion of an upload",
    "Uploads, complete",
    "POST /uploads/upload_1/complete",
    {"part_ids": ["part_1"], "md5": "x"},
)
