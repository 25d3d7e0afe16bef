"""The endpoint of a request: what is known of one path of OpenAI's API before its body is read."""

from __future__ import annotations

from typing import Literal

import msgspec

ModelPlace = Literal["body", "form", "query", "message", "object", "file", "none"]
"""Where a request names its model: a field of its JSON body or form, its query, a later message of its
websocket, an object or a file that the teacher holds. none: it uses no model."""

Access = Literal["open", "list", "closed"]
"""open: any caller's. list: shows the objects of all callers of the account. closed: concerns the account
itself, or hands out a credential that goes around the gateway."""

UsagePlace = Literal["answer", "later", "message", "none"]
"""Where the teacher reports what a request cost: in its answer, in the answer to a later GET, in messages of
its websocket, nowhere."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table of endpoints."""

    path: str
    """The canonical path; a name in braces stands for one segment, `{name*}` for all that follow."""
    methods: tuple[str, ...]
    model: ModelPlace = "none"
    default_model: str = ""
    """The model that the teacher takes if the request names none."""
    usage: UsagePlace = "none"
    makes: str = ""
    """The kind of the object that it makes; the answer's `id` is the object's."""
    access: Access = "open"

    @property
    def names_model_in_time(self) -> bool:
        """Whether the gateway can read the model before anything reaches the teacher."""
        return self.model in ("body", "form", "query", "none")


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """The resource that a request names, in the one spelling that all rules look at."""

    method: str
    path: str
    """The canonical path: decoded, without empty, `.` or `..` segments."""
    endpoint: Endpoint | None = None
    """None for a path or method that is not in the table."""
    ids: tuple[tuple[str, str], ...] = ()
    """Name and value of each placeholder of the endpoint's path."""
