"""The bytes of a chat completion are kept where a parser would change them."""

from __future__ import annotations

from tests.conformance.answers import COMPLETION, reply
from tests.conformance.checks.fields import CHAT
from tests.conformance.harness import Harness, assert_identical
from tests.conformance.table import check


def spelling(number: int, rule: str, source: str, *, added: bytes = b"", answer: bytes = COMPLETION) -> None:
    """Enter a check that the bytes of a request (plus `added`) and of an answer are kept."""

    @check(number, rule, source=source)
    def body(harness: Harness) -> None:
        sent = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]%b}' % added
        harness.teacher.play([reply(200, answer)])
        got = harness.ask("POST", CHAT, sent)
        assert_identical(harness.teacher.last.body, sent)
        assert_identical(got.body, answer)


JSON = "RFC 8259"


EXTRA = "openai-python _models.py: extra fields stay readable"


spelling(
    501,
    "unknown fields of a request are kept",
    "openai-python: extra_body",
    added=b',"x_new":{"a":[1,null,{}]}',
)


spelling(
    502,
    "unknown fields of an answer are kept",
    EXTRA,
    answer=b'{"x_new":{"a":[1,null]},"choices":[],"z":{}}',
)


spelling(
    503,
    "the order of fields is kept",
    f"{JSON}, 4",
    added=b',"z":1,"a":2,"m":3',
    answer=b'{"z":1,"choices":[],"a":2,"m":3}',
)


spelling(
    504,
    "floats keep their spelling",
    f"{JSON}, 6",
    added=b',"temperature":1.0,"x":1e5,"y":-0.0',
    answer=b'{"a":1.0,"b":1E5,"c":0.10,"choices":[]}',
)


spelling(
    505,
    "whole numbers beyond 64 bits are kept",
    f"{JSON}, 6",
    added=b',"seed":123456789012345678901234567890',
    answer=b'{"n":123456789012345678901234567890,"choices":[]}',
)


spelling(
    506,
    "escapes are kept",
    f"{JSON}, 7",
    added=b',"user":"caf\\u00e9 \\/ \\ud83d\\ude00"',
    answer=b'{"a":"caf\\u00e9 \\/","choices":[]}',
)


spelling(507, "half of a surrogate pair is kept", f"{JSON}, 8.2", answer=b'{"a":"\\ud83d","choices":[]}')


spelling(
    508,
    "nulls are kept",
    "API: Chat: nullable fields",
    added=b',"stop":null,"user":null,"logit_bias":null',
    answer=b'{"choices":[],"usage":null,"service_tier":null}',
)


spelling(
    509,
    "white space is kept",
    f"{JSON}, 2",
    added=b' ,\r\n\t"user" : "x" ',
    answer=b'\n{ "choices" : [ ] }\n',
)


spelling(510, "a name twice in an answer is kept", f"{JSON}, 4", answer=b'{"a":1,"a":2,"choices":[]}')


spelling(511, "a name twice inside metadata is kept", f"{JSON}, 4", added=b',"metadata":{"a":"1","a":"2"}')


spelling(
    512,
    "text beyond ASCII is kept",
    f"{JSON}, 8.1",
    added=',"user":"caf\u00e9 \u20ac \U0001f600"'.encode(),
    answer='{"a":"\U0001f600","choices":[]}'.encode(),
)


spelling(
    513,
    "empty objects, lists and texts are kept",
    f"{JSON}, 4",
    added=b',"metadata":{},"stop":[],"user":""',
    answer=b'{"choices":[],"a":{},"b":""}',
)


spelling(514, "an answer that is a list is kept", EXTRA, answer=b'[{"choices":[]}]')


spelling(
    515,
    "control characters in escapes are kept",
    f"{JSON}, 7",
    added=b',"user":"a\\u0000b\\u001f"',
    answer=b'{"a":"\\u0000\\u2028","choices":[]}',
)
