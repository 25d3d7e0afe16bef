"""Two tenants behind one account: neither reads, uses, changes or lists what the other has made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api.auth import Authenticator
from gateway.policy.schema import Policy
from gateway.store.database import Database
from gateway.store.keys import KeyFacts
from gateway.store.objects import ObjectStore
from gateway.upstream.base import Call, Reply
from gateway.wire.endpoints import ENDPOINTS
from tests.api.site_server import HttpAnswer, SiteServer, serve_site

OPENED = ("/v1/batches*", "/v1/evals*", "/v1/threads*", "/v1/videos*", "/v1/assistants*", "/v1/responses*")
POLICIES = [
    Policy(name="auditor", callers=("auditor",), objects="shared"),
    Policy(name="all", paths=(*OPENED, "*")),
]
JSON = {"content-type": "application/json"}


def key_of(tenant: str) -> KeyFacts:
    """Return a gateway key of the tenant that it is named for."""
    return KeyFacts(id=tenant, name=tenant, tenant=tenant, created_at=0.0)


KEYS = {hashlib.sha256(name.encode()).hexdigest(): key_of(name) for name in ("alice", "bob", "auditor")}


class Site:
    """The site and the names of its objects; each call is made with a tenant's key."""

    def __init__(self, site: SiteServer, owners: ObjectStore) -> None:
        self.site = site
        self.owners = owners

    def ask(self, tenant: str, method: str, path: str, body: object = None, kind: str = "") -> HttpAnswer:
        headers = {"authorization": f"Bearer {tenant}", **JSON}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.site.ask(method, path, content, headers | ({"content-type": kind} if kind else {}))

    def answer_with(self, answer: object, kind: bytes = b"application/json") -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

        async def reply(call: Call) -> Reply:
            await self.site.teacher.read_body(call)
            pieces = [content[start : start + 7] for start in range(0, len(content), 7)]
            return self.site.teacher.with_body(*pieces, headers=((b"content-type", kind),))

        self.site.teacher.reply = reply


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    database = Database(tmp_path / "state.db")
    owners = ObjectStore(database)
    authenticator = Authenticator("keys", KEYS.get)
    with serve_site(authenticator, policies=POLICIES, has_own_key=True, owners=owners) as running:
        yield Site(running, owners)
    database.close()


def places() -> Iterator[tuple[str, str]]:
    """Yield each method and path of the table that names an object."""
    for endpoint in ENDPOINTS:
        names = [part for part in endpoint.path.split("/") if part.endswith("_id}")]
        for method in endpoint.methods if names else ():
            yield method, endpoint.path


def filled(path: str, object_id: str) -> str:
    parts = (object_id if part.endswith("_id}") else part.strip("{}*") for part in path.split("/"))
    return "/".join(parts)


def test_no_path_leads_to_anothers_object(site: Site) -> None:
    """Every method of every path with an id: its owner passes, the other tenant gets 404."""
    seen = 0
    site.owners.add([("obj-a", "any")], "alice")
    for method, path in places():
        body = {"model": "gpt-4o"} if method == "POST" else None
        target = filled(path, "obj-a")

        assert site.ask("bob", method, target, body).status == 404, (method, target)
        assert site.site.teacher.calls == [], (method, target)
        assert site.ask("alice", method, target, body).status == 200, (method, target)
        site.site.reset()
        seen += 1
    assert seen > 60


# Answered by the flow: tests/policy/test_ownership.py. A video's form carries its model.
SERVED = ("/v1/chat/completions", "/v1/responses", "/v1/videos")
MAKERS = sorted({(one.makes, one.path) for one in ENDPOINTS if one.makes and one.path not in SERVED})


@pytest.mark.parametrize(("kind", "path"), MAKERS)
def test_what_a_tenant_makes_is_its_own_before_it_has_heard_of_it(site: Site, kind: str, path: str) -> None:
    if "{" in path:
        site.owners.add([("up-1", "upload")], "alice")
    site.answer_with({"id": "new-1", "object": kind, "metadata": {"thread_id": "stolen"}})

    body = {"model": "gpt-4o"} if path != "/v1/files" else {}
    assert (
        site.ask(
            "alice", "POST", path.replace("{upload_id}", "up-1").replace("{video_id}", "up-1"), body
        ).status
        == 200
    )

    assert [one.tenant for one in site.owners.list_objects() if one.id == "new-1"] == ["alice"]
    assert not any(one.id == "stolen" for one in site.owners.list_objects())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/vector_stores", {"file_ids": ["f-b", "f-a"]}),
        ("/v1/vector_stores", {"name": "x", "expires_after": None, "file_ids": ["f-a"]}),
        ("/v1/batches", {"input_file_id": "f-a", "endpoint": "/v1/chat/completions"}),
        ("/v1/fine_tuning/jobs", {"model": "gpt-4o-mini", "training_file": "f-a"}),
        ("/v1/threads", {"messages": [{"role": "user", "content": [{"image_file": {"file_id": "f-a"}}]}]}),
        ("/v1/threads/runs", {"assistant_id": "f-a"}),
        ("/v1/containers", {"name": "c", "file_ids": ["f-a"]}),
        ("/v1/responses/compact", {"model": "gpt-4o", "previous_response_id": "f-a"}),
        ("/v1/responses/compact", {"model": "gpt-4o", "conversation": "f-a"}),
        ("/v1/responses/compact", {"model": "gpt-4o", "conversation": {"id": "f-a"}}),
        ("/v1/responses/compact", {"model": "gpt-4o", "prompt": {"id": "f-a"}}),
        ("/v1/responses/compact", {"model": "gpt-4o", "tools": [{"container": "f-a"}]}),
        ("/v1/responses/compact", {"model": "gpt-4o", "tools": [{"vector_store_ids": ["f-a"]}]}),
        ("/v1/vector_stores", b'{"file_ids":["f-b"],"file_ids":["f-a"]}'),
        ("/v1/vector_stores", b'{"file_ids":["f-a"],"file_ids":["f-b"]}'),
        ("/v1/vector_stores", b'{"f\\u0069le_ids":["f-a"]}'),
        ("/v1/videos/edits", {"video": {"id": "f-a"}}),
        ("/v1/responses/compact", {"model": "gpt-4o", "input": [{"type": "item_reference", "id": "f-a"}]}),
        ("/v1/responses/compact", {"model": "gpt-4o", "input": [{"id": "f-a"}]}),
        ("/v1/responses/compact", {"model": "gpt-4o", "input": [{"id": "f-a", "type": None}]}),
        ("/v1/responses/compact", {"model": "gpt-4o", "input": [{"type": "reasoning", "id": "f-a"}]}),
        (
            "/v1/responses/compact",
            {"model": "gpt-4o", "input": [{"type": "image_generation_call", "id": "f-a", "result": None}]},
        ),
        ("/v1/conversations", {"items": [{"type": "item_reference", "id": "f-a"}]}),
        ("/v1/evals/f-b/runs", {"data_source": {"source": {"type": "file_id", "id": "f-a"}}}),
        ("/v1/vector_stores", {"file_ids": "f-a"}),
        ("/v1/vector_stores", {"File_IDs": ["f-a"]}),
        ("/v1/containers", {"name": "c", "file_id": ["f-a"]}),
        ("/v1/vector_stores", b'{"file_ids":["f-a"],"x":' + b"1" * 5_000 + b"}"),
        (
            "/v1/responses/compact",
            {"model": "gpt-4o", "prompt": {"id": "f-b", "variables": {"metadata": {"file_id": "f-a"}}}},
        ),
    ],
)  # fmt: skip
def test_no_body_uses_anothers_object(site: Site, path: str, body: object) -> None:
    site.owners.add([("f-a", "file")], "alice")
    site.owners.add([("f-b", "file")], "bob")

    refused = site.ask("bob", "POST", path, body)

    assert (refused.status, refused.error["code"]) == (404, "object_not_found")
    assert site.site.teacher.calls == []
    assert site.ask("bob", "POST", path, body, kind="text/plain").status == 404


FORM = "multipart/form-data; boundary=X"


def field(name: str, value: str) -> str:
    return f'--X\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/containers/c-b/files", field("file_id", "f-a")),
        ("/v1/vector_stores", field("file_ids[]", "f-a")),
        ("/v1/videos", field("model", "sora-2") + field("input_reference[file_id]", "f-a")),
        ("/v1/videos/edits", field("video[id]", "f-a")),
        ("/v1/responses/compact", field("model", "gpt-4o") + field("previous_response_id", "f-a")),
    ],
)
def test_no_form_uses_anothers_object(site: Site, path: str, fields: str) -> None:
    site.owners.add([("f-a", "file")], "alice")
    site.owners.add([("c-b", "container"), ("f-b", "file")], "bob")

    assert site.ask("bob", "POST", path, f"{fields}--X--\r\n".encode(), kind=FORM).status == 404
    assert site.site.teacher.calls == []
    fields = fields.replace("f-a", "f-b")
    assert site.ask("bob", "POST", path, f"{fields}--X--\r\n".encode(), kind=FORM).status == 200


def test_a_body_that_is_sent_as_a_form_and_is_none_does_not_pass(site: Site) -> None:
    site.owners.add([("f-a", "file")], "alice")

    assert site.ask("bob", "POST", "/v1/vector_stores", {"file_ids": ["f-a"]}, kind=FORM).status == 400
    assert site.site.teacher.calls == []


def test_words_that_look_like_ids_are_no_ids(site: Site) -> None:
    body = {
        "model": "gpt-4o",
        "prompt": "what is a file_id?",
        "metadata": {"file_id": "my own"},
        "tools": [{"type": "function", "parameters": {"properties": {"file_id": {"type": "string"}}}}],
    }

    assert site.ask("bob", "POST", "/v1/completions", body).status == 200


def test_an_id_in_a_query_is_checked(site: Site) -> None:
    site.owners.add([("t-a", "thread")], "alice")

    for query in ("thread_id=t-a", "thread%5Fid=t-a", "call_id=rtc-a"):
        refused = site.ask("bob", "GET", f"/v1/realtime?model=gpt-realtime&{query}")
        assert (refused.status, refused.error["code"]) == (404, "object_not_found"), query
    assert site.site.teacher.calls == []


def test_citations_of_an_answer_may_be_sent_back(site: Site) -> None:
    """The files that code made in a container are cited by ids of their own, which no rule knows."""
    cited = {"type": "container_file_citation", "file_id": "cfile-1", "container_id": "c-1"}
    said = {"type": "message", "content": [{"type": "output_text", "text": "x", "annotations": [cited]}]}

    body = {"model": "gpt-4o", "input": [said]}

    assert site.ask("bob", "POST", "/v1/responses/compact", body).status == 200


LISTS = [one.path for one in ENDPOINTS if one.access == "list"]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_of_the_account_is_refused(site: Site, path: str) -> None:
    refused = site.ask("bob", "GET", path)

    assert (refused.status, refused.error["code"]) == (403, "list_not_allowed")
    assert site.site.teacher.calls == []
    assert site.ask("auditor", "GET", path).status == 200


@pytest.mark.parametrize("source", ["stored_completions", "responses"])
def test_no_eval_reads_what_the_account_has_stored(site: Site, source: str) -> None:
    site.owners.add([("e-b", "eval")], "bob")
    body = {"data_source": {"type": "responses", "source": {"type": source, "limit": 100}}}

    refused = site.ask("bob", "POST", "/v1/evals/e-b/runs", body)

    assert (refused.status, refused.error["code"]) == (403, "list_not_allowed")
    assert site.site.teacher.calls == []


def test_an_unknown_object_is_unknown_until_it_is_claimed(site: Site) -> None:
    assert site.ask("bob", "GET", "/v1/files/old").status == 404

    site.owners.claim("old", "file", "bob")

    assert site.ask("bob", "GET", "/v1/files/old").status == 200


def test_a_claim_ends_what_the_owner_before_could_do(site: Site, tmp_path: Path) -> None:
    """The command runs in another process than the worker that has just seen the object."""
    site.owners.add([("f-1", "file")], "alice")
    assert site.ask("alice", "GET", "/v1/files/f-1").status == 200
    other = Database(tmp_path / "state.db")
    ObjectStore(other).claim("f-1", "file", "bob")
    other.close()

    assert site.ask("alice", "GET", "/v1/files/f-1").status == 404
    assert site.ask("bob", "GET", "/v1/files/f-1").status == 200


def test_a_stream_tells_of_its_object_only_when_it_has_an_owner(site: Site) -> None:
    created = {"type": "response.created", "response": {"id": "resp-1", "object": "response"}}
    ran = {
        "type": "response.output_item.done",
        "item": {"type": "code_interpreter_call", "container_id": "c-1"},
    }
    events = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in (created, ran))
    site.answer_with(events, b"text/event-stream")

    answer = site.ask("alice", "POST", "/v1/responses/compact", {"model": "gpt-4o", "stream": True})

    assert answer.body == events
    noted = {(one.id, one.kind, one.tenant) for one in site.owners.list_objects()}
    assert noted == {("resp-1", "response", "alice"), ("c-1", "container", "alice")}


def test_items_that_an_answer_holds_are_its_callers(site: Site) -> None:
    """A response's items may be named in the next turn; sent back whole, they name nothing."""
    output = [{"type": "reasoning", "id": "rs-1"}, {"type": "message", "id": "msg-1", "role": "assistant"}]
    whole = {"type": "reasoning", "id": "rs-9", "encrypted_content": "x"}
    said = {"type": "message", "id": "msg-9", "role": "assistant", "content": "x"}
    site.answer_with({"id": "resp-1", "object": "response", "store": True, "output": output})
    site.ask("alice", "POST", "/v1/responses/compact", {"model": "gpt-4o"})
    body = {"model": "gpt-4o", "input": [*output, {"type": "item_reference", "id": "msg-1"}, whole, said]}

    assert site.ask("alice", "POST", "/v1/responses/compact", body).status == 200
    assert site.ask("bob", "POST", "/v1/responses/compact", body).status == 404


def test_items_that_are_listed_are_their_callers(site: Site) -> None:
    site.owners.add([("resp-1", "response")], "alice")
    site.answer_with({"object": "list", "data": [{"type": "message", "id": "msg-1"}]})

    site.ask("alice", "GET", "/v1/responses/resp-1/input_items")

    assert site.owners.find_owners(["msg-1"]) == {"msg-1": "alice"}


def test_the_files_of_a_batch_are_its_owners(site: Site) -> None:
    site.owners.add([("batch-1", "batch")], "alice")
    site.answer_with({"id": "batch-1", "object": "batch", "output_file_id": "out-1", "error_file_id": None})

    site.ask("alice", "GET", "/v1/batches/batch-1")

    assert site.owners.find_owners(["out-1"]) == {"out-1": "alice"}


def test_an_answer_cannot_take_an_object_from_its_owner(site: Site) -> None:
    site.owners.add([("f-a", "file")], "alice")
    site.answer_with({"id": "f-a", "object": "file"})

    site.ask("bob", "POST", "/v1/files", b"{}")

    assert site.owners.find_owners(["f-a"]) == {"f-a": "alice"}
