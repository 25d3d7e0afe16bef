"""Usage: what an answer took, in every unit that a teacher bills."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """What one answer took. `is_estimated` if no teacher reported it, or not all of it.

    A part is contained in its whole, as OpenAI counts: cached, written, audio and image tokens of the
    prompt are among `prompt_tokens`, those of the answer and its reasoning among `completion_tokens`.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Read from the teacher's prompt cache."""
    is_estimated: bool = False
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cached_audio_tokens: int = 0
    """Among both the cached and the audio tokens of the prompt."""
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    cached_image_tokens: int = 0
    audio_seconds: float = 0.0
    """Of a recording that is billed by its length."""
    characters: int = 0
    """Of a text to be spoken that is billed by its length."""
    web_searches: int = 0
    file_searches: int = 0
    containers: int = 0
    """Code interpreter sessions."""

    @property
    def is_text(self) -> bool:
        """Whether nothing but text tokens is in it: the usual case, which can be priced faster."""
        return not (
            self.audio_input_tokens
            or self.audio_output_tokens
            or self.image_input_tokens
            or self.image_output_tokens
            or self.audio_seconds
            or self.characters
            or self.web_searches
            or self.file_searches
            or self.containers
        )
