"""Seeded requests of every kind. Each tells the scripted teacher what to answer, in its `metadata`."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
SNAPSHOTS = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-5": "gpt-5-2025-08-07"}
TIERS = {
    "gpt-5": ("", "", "flex", "priority"),
    "gpt-4o": ("", "", "priority"),
    "gpt-4o-mini": ("", "priority"),
}
SYSTEM = "Answer in short sentences of four letters. " * 12


class Ask(msgspec.Struct, frozen=True):
    """One request. `leaves_after` is the number of pieces after which the client closes."""

    path: str
    body: dict[str, Any]
    play: dict[str, Any]
    leaves_after: int | None = None


def draw_requests(count: int, seed: int, keys: int) -> list[Ask]:
    """Return `count` requests, the same for the same seed."""
    dice = random.Random(seed)
    return [_draw(dice, number, keys) for number in range(count)]


def _draw(dice: random.Random, number: int, keys: int) -> Ask:
    kind = dice.choices(_KINDS, [weight for _, weight in _WEIGHTS])[0]
    family = dice.choice(("gpt-4o", "gpt-4o-mini", "gpt-5"))
    play: dict[str, Any] = {"kind": kind, "key": dice.randrange(keys), "family": family, "number": number}
    play["tier"] = dice.choice(TIERS[family]) if kind not in ("batch", "cancel", "unasked") else ""
    play["model"] = SNAPSHOTS.get(family, family) if dice.random() < 0.5 else family
    play["completion"] = dice.randrange(5, 120)
    text = "word " * dice.randrange(5, 200)
    ask = _MAKERS.get(kind, _make_chat)(dice, play, text)
    play["cached"] = play["prompt"] * 3 // 4 if kind == "cached" else 0
    return ask


def _make_chat(dice: random.Random, play: dict[str, Any], text: str) -> Ask:
    kind = play["kind"]
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    # As the estimate counts, so that only what is learnt about a template can be wrong.
    play["prompt"] = (len(SYSTEM) + len(text)) // 4 + 11
    body: dict[str, Any] = {"model": play["family"], "messages": messages}
    if kind in ("stream", "unasked", "cut", "cancel"):
        body["stream"] = True
        if kind == "stream":
            body["stream_options"] = {"include_usage": True}
    if kind == "alias":
        body["model"] = f"deployment-{play['number'] % 7}"
    if kind == "reasoning":
        play["completion"] += 400
    if kind == "large":
        play["completion"] = 3_000
    if kind == "long":
        play |= {"family": "gpt-5.4", "model": "gpt-5.4", "tier": "", "prompt": 300_000}
        body["model"] = "gpt-5.4"
    if kind == "audio":
        play |= {
            "family": "gpt-realtime",
            "model": "gpt-realtime",
            "tier": "",
            "audio": (play["prompt"] // 2, 3),
        }
        body["model"] = "gpt-realtime"
    leaves = dice.randrange(1, play["completion"]) if kind == "cancel" else None
    return Ask(CHAT, body, play, leaves)


def _make_response(dice: random.Random, play: dict[str, Any], text: str) -> Ask:
    play["prompt"] = len(text) // 4 + 7
    body: dict[str, Any] = {"model": play["family"], "input": text, "store": True}
    if play["kind"] == "tools":
        play |= {"searches": dice.randrange(1, 4), "containers": dice.randrange(2)}
    if play["kind"] == "background":
        body["background"] = True
    if play["kind"] == "events":
        body["stream"] = True
    return Ask(RESPONSES, body, play)


def _make_embedding(_: random.Random, play: dict[str, Any], text: str) -> Ask:
    model = "text-embedding-3-small"
    play |= {"family": model, "model": model, "tier": "", "prompt": len(text) // 4, "completion": 0}
    return Ask("/v1/embeddings", {"model": model, "input": text}, play)


def _make_recording(dice: random.Random, play: dict[str, Any], _: str) -> Ask:
    play |= {"family": "whisper-1", "model": "whisper-1", "tier": "", "prompt": 0, "completion": 0}
    play["seconds"] = dice.randrange(5, 300)
    return Ask("/v1/audio/transcriptions", {"model": "whisper-1"}, play)


def _make_batch(dice: random.Random, play: dict[str, Any], _: str) -> Ask:
    play |= {
        "tier": "batch",
        "prompt": dice.randrange(1_000, 90_000),
        "completion": dice.randrange(100, 9_000),
    }
    return Ask("/v1/batches", {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "24h"}, play)


def encode_body(ask: Ask) -> bytes:
    """Return the body, which tells the teacher what to play."""
    return json.dumps({**ask.body, "metadata": {"play": json.dumps(ask.play)}}).encode()


_WEIGHTS = (
    ("whole", 30), ("stream", 15), ("unasked", 10), ("cached", 8), ("alias", 5), ("reasoning", 5),
    ("gzip", 3), ("cut", 2), ("cancel", 2), ("large", 0.3), ("long", 0.3), ("audio", 3), ("tools", 4),
    ("events", 4), ("background", 2), ("embedding", 5), ("recording", 1), ("batch", 0.4),
)  # fmt: skip
_KINDS = [kind for kind, _ in _WEIGHTS]
_MAKERS = {
    "tools": _make_response,
    "events": _make_response,
    "background": _make_response,
    "embedding": _make_embedding,
    "recording": _make_recording,
    "batch": _make_batch,
}
