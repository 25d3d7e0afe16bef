"""An error always has all four fields of OpenAI's error object."""

from __future__ import annotations

import json

from gateway.wire.errors import error_body


def test_all_four_fields_are_there() -> None:
    assert json.loads(error_body('no "x"', "invalid_request_error", "model", "bad")) == {
        "error": {"message": 'no "x"', "type": "invalid_request_error", "param": "model", "code": "bad"}
    }


def test_an_absent_field_is_null() -> None:
    error = json.loads(error_body("no", "server_error"))["error"]

    assert (error["param"], error["code"]) == (None, None)
