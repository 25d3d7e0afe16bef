"""Batches, stores, fine-tuning and the other platform calls pass both ways."""

from __future__ import annotations

from tests.conformance.checks.media import BINARY, FORM, form
from tests.conformance.checks.surfaces import passes

passes(
    625,
    "a batch",
    "Batch, create",
    "POST /batches",
    {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
)


passes(626, "the cancelling of a batch", "Batch, cancel", "POST /batches/batch_1/cancel")


passes(
    627,
    "a vector store",
    "Vector stores, create",
    "POST /vector_stores",
    {"name": "x", "expires_after": {"anchor": "last_active_at", "days": 7}},
)


passes(
    628,
    "a search in a vector store",
    "Vector stores, search",
    "POST /vector_stores/vs_1/search",
    {"query": "x", "ranking_options": {"score_threshold": 0.0}},
)


passes(
    629, "the change of a vector store", "Vector stores, modify", "POST /vector_stores/vs_1", {"name": None}
)


passes(
    630,
    "a fine-tuning job",
    "Fine-tuning, create",
    "POST /fine_tuning/jobs",
    {"model": "gpt-4o-mini", "training_file": "file-1", "hyperparameters": {"n_epochs": "auto"}},
)


passes(
    631,
    "the events of a fine-tuning job",
    "Fine-tuning, list events",
    "GET /fine_tuning/jobs/ftjob-1/events?after=x&limit=10",
)


passes(
    632, "stored chat completions", "Chat, list completions", "GET /chat/completions?metadata[run]=7&limit=1"
)


passes(633, "one stored chat completion", "Chat, retrieve", "GET /chat/completions/chatcmpl-1")


passes(
    634,
    "the messages of a stored chat completion",
    "Chat, get messages",
    "GET /chat/completions/chatcmpl-1/messages",
)


passes(
    635,
    "the change of a stored chat completion",
    "Chat, update",
    "POST /chat/completions/chatcmpl-1",
    {"metadata": {"a": "b"}},
)


passes(636, "the deletion of a stored chat completion", "Chat, delete", "DELETE /chat/completions/chatcmpl-1")


passes(
    637,
    "a secret for a realtime client",
    "Realtime, client secrets",
    "POST /realtime/client_secrets",
    {"session": {"type": "realtime", "model": "gpt-realtime"}},
)


passes(
    638,
    "a realtime call",
    "Realtime, create call (SDP)",
    "POST /realtime/calls",
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n",
    kind="application/sdp",
    answer=b"v=0\r\n",
    answer_kind="application/sdp",
)


passes(
    639,
    "a conversation",
    "Conversations, create",
    "POST /conversations",
    {"items": [], "metadata": {"a": "b"}},
)


passes(640, "an evaluation", "Evals, create", "POST /evals", {"name": "x", "testing_criteria": []})


passes(
    641,
    "a container's file",
    "Containers, file content",
    "GET /containers/cntr_1/files/cfile_1/content",
    answer=BINARY,
    answer_kind="application/octet-stream",
)


passes(
    642,
    "a video",
    "Videos, create",
    "POST /videos",
    form("input_reference", prompt="x", seconds="4"),
    kind=FORM,
)


passes(643, "an assistant's thread", "Assistants, create thread", "POST /threads", {"messages": []})


passes(
    644,
    "the grading of a fine-tune",
    "Fine-tuning, graders",
    "POST /fine_tuning/alpha/graders/run",
    {"grader": {}, "model_sample": "x"},
)
