"""How many tokens a sound is, where the teacher does not say."""

from __future__ import annotations

import msgspec

TOKENS_PER_S = 20
"""Of what the model speaks: one token per 50 ms of sound.

Source: https://developers.openai.com/api/docs/guides/realtime-costs, "Per-Response costs".
"""

# 16 bits at 24,000 Hz, the one rate of PCM; G.711 has 8 bits at 8,000 Hz. Both the newer and the older names
# (API reference, realtime sessions, `audio.output.format` and `output_audio_format`).
_PCM_BYTES_PER_S = 48_000
_BYTES_PER_S = dict.fromkeys(("audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw"), 8_000)


class _SoundFormat(msgspec.Struct):
    type: str = ""


class _Output(msgspec.Struct):
    format: _SoundFormat | None = None


class _Audio(msgspec.Struct):
    output: _Output | None = None


class _Speaker(msgspec.Struct):
    """A session or a response."""

    audio: _Audio | None = None
    output_audio_format: str | None = None


_speakers = msgspec.json.Decoder(_Speaker)


def read_sound_format(speaker: bytes | msgspec.Raw) -> str:
    """Return the format in which a session or a response speaks; empty if it does not say. Never raises."""
    try:
        found = _speakers.decode(speaker)
    except (ValueError, RecursionError):
        return ""
    if found.audio and found.audio.output and found.audio.output.format:
        return found.audio.output.format.type
    return found.output_audio_format or ""


def count_encoded_bytes(text: bytes) -> int:
    """Return how many bytes a JSON string holds in base64."""
    return len(text.strip(b'"').rstrip(b"=")) * 3 // 4


def estimate_sound_tokens(size_bytes: int, sound_format: str) -> int:
    """Return the tokens of a spoken sound of that size; a format that is not known is taken for PCM."""
    return round(size_bytes / _BYTES_PER_S.get(sound_format, _PCM_BYTES_PER_S) * TOKENS_PER_S)
