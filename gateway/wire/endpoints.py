"""The table of endpoints: one line for each path of OpenAI's API, read by all who decide or count.

Taken from the calls of the official Python SDK 3.54 and the API reference (November 2026);
tests/wire/test_endpoints.py compares the table with the SDK that is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from gateway.core import Access, Endpoint, ModelPlace, Resource, UsagePlace

_Line = tuple[str, str, ModelPlace, UsagePlace, str, Access]

# path, methods, model, usage, makes, access
_LINES: tuple[_Line, ...] = (
    ("/v1/chat/completions", "POST", "body", "answer", "completion", "open"),
    ("/v1/chat/completions", "GET", "none", "none", "", "list"),
    ("/v1/chat/completions/{completion_id}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/chat/completions/{completion_id}/messages", "GET", "none", "none", "", "open"),
    ("/v1/responses", "POST", "body", "answer", "response", "open"),
    ("/v1/responses", "GET", "message", "message", "", "open"),
    ("/v1/responses/compact", "POST", "body", "answer", "response", "open"),
    ("/v1/responses/input_tokens", "POST", "body", "none", "", "open"),
    ("/v1/responses/{response_id}", "GET", "none", "later", "", "open"),
    ("/v1/responses/{response_id}", "DELETE", "none", "none", "", "open"),
    ("/v1/responses/{response_id}/cancel", "POST", "none", "later", "", "open"),
    ("/v1/responses/{response_id}/input_items", "GET", "none", "none", "", "open"),
    ("/v1/conversations", "POST", "none", "none", "conversation", "open"),
    ("/v1/conversations/{conversation_id}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/conversations/{conversation_id}/items", "GET POST", "none", "none", "", "open"),
    ("/v1/conversations/{conversation_id}/items/{item}", "GET DELETE", "none", "none", "", "open"),
    ("/v1/completions", "POST", "body", "answer", "", "open"),
    ("/v1/embeddings", "POST", "body", "answer", "", "open"),
    ("/v1/moderations", "POST", "body", "none", "", "open"),
    ("/v1/decisions", "POST", "body", "answer", "", "open"),
    ("/v1/models", "GET", "none", "none", "", "open"),
    ("/v1/models/{model*}", "GET", "none", "none", "", "open"),
    ("/v1/models/{model*}", "DELETE", "none", "none", "", "closed"),
    ("/v1/images/generations", "POST", "body", "answer", "", "open"),
    ("/v1/images/edits", "POST", "form", "answer", "", "open"),
    ("/v1/images/variations", "POST", "form", "answer", "", "open"),
    ("/v1/audio/speech", "POST", "body", "answer", "", "open"),
    ("/v1/audio/transcriptions", "POST", "form", "answer", "", "open"),
    ("/v1/audio/translations", "POST", "form", "answer", "", "open"),
    ("/v1/audio/voices", "GET POST", "none", "none", "", "closed"),
    ("/v1/audio/voices/{voice}", "DELETE", "none", "none", "", "closed"),
    ("/v1/audio/voice_consents", "GET POST", "none", "none", "", "closed"),
    ("/v1/audio/voice_consents/{consent}", "GET POST DELETE", "none", "none", "", "closed"),
    ("/v1/videos", "POST", "form", "answer", "video", "open"),
    ("/v1/videos", "GET", "none", "none", "", "list"),
    ("/v1/videos/edits", "POST", "object", "answer", "video", "open"),
    ("/v1/videos/extensions", "POST", "object", "answer", "video", "open"),
    ("/v1/videos/characters", "POST", "none", "none", "character", "open"),
    ("/v1/videos/characters/{character_id}", "GET", "none", "none", "", "open"),
    ("/v1/videos/{video_id}", "GET DELETE", "none", "none", "", "open"),
    ("/v1/videos/{video_id}/content", "GET", "none", "none", "", "open"),
    ("/v1/videos/{video_id}/remix", "POST", "object", "answer", "video", "open"),
    ("/v1/files", "POST", "none", "none", "file", "open"),
    ("/v1/files", "GET", "none", "none", "", "list"),
    ("/v1/files/{file_id}", "GET DELETE", "none", "none", "", "open"),
    ("/v1/files/{file_id}/content", "GET", "none", "none", "", "open"),
    ("/v1/uploads", "POST", "none", "none", "upload", "open"),
    ("/v1/uploads/{upload_id}/parts", "POST", "none", "none", "", "open"),
    ("/v1/uploads/{upload_id}/complete", "POST", "none", "none", "upload", "open"),
    ("/v1/uploads/{upload_id}/cancel", "POST", "none", "none", "", "open"),
    ("/v1/batches", "POST", "file", "later", "batch", "open"),
    ("/v1/batches", "GET", "none", "none", "", "list"),
    ("/v1/batches/{batch_id}", "GET", "none", "later", "", "open"),
    ("/v1/batches/{batch_id}/cancel", "POST", "none", "none", "", "open"),
    ("/v1/vector_stores", "POST", "none", "none", "vector_store", "open"),
    ("/v1/vector_stores", "GET", "none", "none", "", "list"),
    ("/v1/vector_stores/{vector_store_id}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/vector_stores/{vector_store_id}/search", "POST", "none", "none", "", "open"),
    ("/v1/vector_stores/{vector_store_id}/files", "GET POST", "none", "none", "", "open"),
    ("/v1/vector_stores/{vector_store_id}/files/{file_id}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/vector_stores/{vector_store_id}/files/{file_id}/content", "GET", "none", "none", "", "open"),
    ("/v1/vector_stores/{vector_store_id}/file_batches", "POST", "none", "none", "", "open"),
    ("/v1/vector_stores/{vector_store_id}/file_batches/{batch}", "GET", "none", "none", "", "open"),
    (
        "/v1/vector_stores/{vector_store_id}/file_batches/{batch}/cancel",
        "POST", "none", "none", "", "open",
    ),
    ("/v1/vector_stores/{vector_store_id}/file_batches/{batch}/files", "GET", "none", "none", "", "open"),
    ("/v1/containers", "POST", "none", "none", "container", "open"),
    ("/v1/containers", "GET", "none", "none", "", "list"),
    ("/v1/containers/{container_id}", "GET DELETE", "none", "none", "", "open"),
    ("/v1/containers/{container_id}/files", "GET POST", "none", "none", "", "open"),
    ("/v1/containers/{container_id}/files/{container_file}", "GET DELETE", "none", "none", "", "open"),
    ("/v1/containers/{container_id}/files/{container_file}/content", "GET", "none", "none", "", "open"),
    ("/v1/prompts", "POST", "body", "none", "prompt", "open"),
    ("/v1/prompts", "GET", "none", "none", "", "list"),
    ("/v1/prompts/{prompt_id}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/evals", "POST", "object", "none", "eval", "open"),
    ("/v1/evals", "GET", "none", "none", "", "list"),
    ("/v1/evals/{eval_id}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/evals/{eval_id}/runs", "GET", "none", "none", "", "open"),
    ("/v1/evals/{eval_id}/runs", "POST", "object", "later", "", "open"),
    ("/v1/evals/{eval_id}/runs/{run}", "GET DELETE", "none", "none", "", "open"),
    ("/v1/evals/{eval_id}/runs/{run}", "POST", "none", "none", "", "open"),
    ("/v1/evals/{eval_id}/runs/{run}/cancel", "POST", "none", "none", "", "open"),
    ("/v1/evals/{eval_id}/runs/{run}/output_items", "GET", "none", "none", "", "open"),
    ("/v1/evals/{eval_id}/runs/{run}/output_items/{item}", "GET", "none", "none", "", "open"),
    ("/v1/fine_tuning/jobs", "POST", "body", "later", "fine_tuning_job", "open"),
    ("/v1/fine_tuning/jobs", "GET", "none", "none", "", "list"),
    ("/v1/fine_tuning/jobs/{fine_tuning_job_id}", "GET", "none", "none", "", "open"),
    ("/v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel", "POST", "none", "none", "", "open"),
    ("/v1/fine_tuning/jobs/{fine_tuning_job_id}/pause", "POST", "none", "none", "", "open"),
    ("/v1/fine_tuning/jobs/{fine_tuning_job_id}/resume", "POST", "none", "none", "", "open"),
    ("/v1/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints", "GET", "none", "none", "", "open"),
    ("/v1/fine_tuning/jobs/{fine_tuning_job_id}/events", "GET", "none", "none", "", "open"),
    ("/v1/fine_tuning/alpha/graders/run", "POST", "object", "none", "", "open"),
    ("/v1/fine_tuning/alpha/graders/validate", "POST", "none", "none", "", "open"),
    ("/v1/fine_tuning/checkpoints/{rest*}", "GET POST DELETE", "none", "none", "", "closed"),
    ("/v1/assistants", "POST", "body", "none", "assistant", "open"),
    ("/v1/assistants", "GET", "none", "none", "", "list"),
    ("/v1/assistants/{assistant_id}", "GET DELETE", "none", "none", "", "open"),
    ("/v1/assistants/{assistant_id}", "POST", "object", "none", "", "open"),
    ("/v1/threads", "POST", "none", "none", "thread", "open"),
    ("/v1/threads/runs", "POST", "object", "later", "", "open"),
    ("/v1/threads/{thread_id}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/messages", "GET POST", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/messages/{message}", "GET POST DELETE", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/runs", "GET", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/runs", "POST", "object", "later", "", "open"),
    ("/v1/threads/{thread_id}/runs/{run}", "GET", "none", "later", "", "open"),
    ("/v1/threads/{thread_id}/runs/{run}", "POST", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/runs/{run}/cancel", "POST", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/runs/{run}/steps", "GET", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/runs/{run}/steps/{step}", "GET", "none", "none", "", "open"),
    ("/v1/threads/{thread_id}/runs/{run}/submit_tool_outputs", "POST", "object", "later", "", "open"),
    ("/v1/realtime", "GET", "query", "message", "", "open"),
    ("/v1/realtime/calls", "POST", "message", "none", "", "open"),
    ("/v1/realtime/calls/{call}/accept", "POST", "body", "none", "", "closed"),
    ("/v1/realtime/calls/{call}/hangup", "POST", "none", "none", "", "closed"),
    ("/v1/realtime/calls/{call}/refer", "POST", "none", "none", "", "closed"),
    ("/v1/realtime/calls/{call}/reject", "POST", "none", "none", "", "closed"),
    ("/v1/realtime/sessions", "POST", "body", "none", "", "closed"),
    ("/v1/realtime/transcription_sessions", "POST", "message", "none", "", "closed"),
    ("/v1/realtime/client_secrets", "POST", "message", "none", "", "closed"),
    ("/v1/realtime/translations", "GET", "query", "none", "", "open"),
    ("/v1/realtime/translations/client_secrets", "POST", "message", "none", "", "closed"),
    ("/v1/live/{rest*}", "GET POST", "message", "none", "", "closed"),
    ("/v1/chatkit/{rest*}", "GET POST DELETE", "object", "none", "", "closed"),
    ("/v1/agents", "GET POST", "object", "none", "", "closed"),
    ("/v1/agents/{rest*}", "GET POST DELETE", "object", "none", "", "closed"),
    ("/v1/skills", "GET POST", "none", "none", "", "closed"),
    ("/v1/skills/{rest*}", "GET POST DELETE", "none", "none", "", "closed"),
    ("/v1/vaults", "GET POST", "none", "none", "", "closed"),
    ("/v1/vaults/{rest*}", "GET POST DELETE", "none", "none", "", "closed"),
    ("/v1/content_provenance_checks", "POST", "none", "none", "", "open"),
    ("/v1/webhook_endpoints", "GET POST", "none", "none", "", "closed"),
    ("/v1/webhook_endpoints/{rest*}", "GET POST DELETE", "none", "none", "", "closed"),
    ("/v1/webhook_event_types", "GET", "none", "none", "", "closed"),
    ("/v1/safety/{rest*}", "GET", "none", "none", "", "closed"),
    ("/v1/organization/{rest*}", "GET POST DELETE", "none", "none", "", "closed"),
    ("/v1/projects/{rest*}", "GET POST DELETE", "none", "none", "", "closed"),
)  # fmt: skip

# The API reference, "Defaults to": what a request without `model` is answered by.
_DEFAULT_MODELS = {
    "/v1/images/generations": "dall-e-2",
    "/v1/images/edits": "gpt-image-1.5",
    "/v1/images/variations": "dall-e-2",
    "/v1/moderations": "omni-moderation-latest",
    "/v1/videos": "sora-2",
}
_PLACEHOLDER = re.compile(r"\{(\w+)(\*?)\}")

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    Endpoint(
        path=path,
        methods=tuple(methods.split()),
        model=model,
        default_model=_DEFAULT_MODELS.get(path, "") if model in ("body", "form") else "",
        usage=usage,
        makes=makes,
        access=access,
    )
    for path, methods, model, usage, makes, access in _LINES
)
_EXACT = {
    (method, endpoint.path): Resource(method=method, path=endpoint.path, endpoint=endpoint)
    for endpoint in ENDPOINTS
    for method in endpoint.methods
    if "{" not in endpoint.path
}


def find_resource(method: str, path: str) -> Resource:
    """Return the resource that `method` and a canonical `path` name; HEAD is looked up as GET."""
    asked = "GET" if method == "HEAD" else method
    if (exact := _EXACT.get((asked, path))) is not None:
        return exact if asked == method else Resource(method=method, path=path, endpoint=exact.endpoint)
    for pattern, endpoint in _patterns().get(_family(path), ()):
        if asked in endpoint.methods and (found := pattern.fullmatch(path)):
            return Resource(method=method, path=path, endpoint=endpoint, ids=tuple(found.groupdict().items()))
    return Resource(method=method, path=path)


@cache
def _patterns() -> dict[str, list[tuple[re.Pattern[str], Endpoint]]]:
    """Return the paths with placeholders, by their first segment below /v1, in the order of the table."""
    families: dict[str, list[tuple[re.Pattern[str], Endpoint]]] = {}
    for endpoint in ENDPOINTS:
        if "{" in endpoint.path:
            families.setdefault(_family(endpoint.path), []).append((_compile(endpoint.path), endpoint))
    return families


def _family(path: str) -> str:
    return path.split("/", 3)[2] if path.count("/") > 1 else ""


def _compile(path: str) -> re.Pattern[str]:
    return re.compile("".join(_list_parts(path)), re.DOTALL)


def _list_parts(path: str) -> Iterator[str]:
    end = 0
    for found in _PLACEHOLDER.finditer(path):
        yield re.escape(path[end : found.start()])
        yield f"(?P<{found[1]}>.+)" if found[2] else f"(?P<{found[1]}>[^/]+)"
        end = found.end()
    yield re.escape(path[end:])
