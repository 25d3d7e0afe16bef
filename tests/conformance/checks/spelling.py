"""The bytes of a chat completion are kept where a parser would change them."""

from __future__ import annotations

from tests.conformance.answers import COMPLETION, reply
from tests.conformance.checks.fields import CHAT
from tests.conformance.harness import Lab, identical
from tests.conformance.table import check


def spelling(
    number: int, rule: str, source: str, *, asked: bytes = b"", answered: bytes = COMPLETION
) -> None:
    """Enter a check that the bytes of a request (`asked` is added to it) and of an answer are kept."""

    @check(number, rule, source=source)
    def body(lab: Lab) -> None:
        sent = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]%b}' % asked
        lab.teacher.play([reply(200, answered)])
        got = lab.ask("POST", CHAT, sent)
        identical(lab.teacher.last.body, sent)
        identical(got.body, answered)


JSON = "RFC 8259"


EXTRA = "openai-python _models.py: extra fields stay readable"


spelling(
    501,
    "unknown fields of a request are kept",
    "openai-python: extra_body",
    asked=b',"x_new":{"a":[1,null,{}]}',
)


spelling(
    502,
    "unknown fields of an answer are kept",
    EXTRA,
    answered=b'{"x_new":{"a":[1,null]},"choices":[],"z":{}}',
)


spelling(
    503,
    "the order of fields is kept",
    f"{JSON}, 4",
    asked=b',"z":1,"a":2,"m":3',
    answered=b'{"z":1,"choices":[],"a":2,"m":3}',
)


spelling(
    504,
    "floats keep their spelling",
    f"{JSON}, 6",
    asked=b',"temperature":1.0,"x":1e5,"y":-0.0',
    answered=b'{"a":1.0,"b":1E5,"c":0.10,"choices":[]}',
)


spelling(
    505,
    "whole numbers beyond 64 bits are kept",
    f"{JSON}, 6",
    asked=b',"seed":123456789012345678901234567890',
    answered=b'{"n":123456789012345678901234567890,"choices":[]}',
)


spelling(
    506,
    "escapes are kept",
    f"{JSON}, 7",
    asked=b',"user":"caf\\u00e9 \\/ \\ud83d\\ude00"',
    answered=b'{"a":"caf\\u00e9 \\/","choices":[]}',
)


spelling(507, "half of a surrogate pair is kept", f"{JSON}, 8.2", answered=b'{"a":"\\ud83d","choices":[]}')


spelling(
    508,
    "nulls are kept",
    "API: Chat: nullable fields",
    asked=b',"stop":null,"user":null,"logit_bias":null',
    answered=b'{"choices":[],"usage":null,"service_tier":null}',
)


spelling(
    509,
    "white space is kept",
    f"{JSON}, 2",
    asked=b' ,\r\n\t"user" : "x" ',
    answered=b'\n{ "choices" : [ ] }\n',
)


spelling(510, "a name twice in an answer is kept", f"{JSON}, 4", answered=b'{"a":1,"a":2,"choices":[]}')


spelling(511, "a name twice inside metadata is kept", f"{JSON}, 4", asked=b',"metadata":{"a":"1","a":"2"}')


spelling(
    512,
    "text beyond ASCII is kept",
    f"{JSON}, 8.1",
    asked=',"user":"caf\u00e9 \u20ac \U0001f600"'.encode(),
    answered='{"a":"\U0001f600","choices":[]}'.encode(),
)


spelling(
    513,
    "empty objects, lists and texts are kept",
    f"{JSON}, 4",
    asked=b',"metadata":{},"stop":[],"user":""',
    answered=b'{"choices":[],"a":{},"b":""}',
)


spelling(514, "an answer which is a list is kept", EXTRA, answered=b'[{"choices":[]}]')


spelling(
    515,
    "control characters in escapes are kept",
    f"{JSON}, 7",
    asked=b',"user":"a\\u0000b\\u001f"',
    answered=b'{"a":"\\u0000\\u2028","choices":[]}',
)
