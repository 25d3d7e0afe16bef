"""An error's body without the credential that it may repeat: some teachers say which key they refuse."""

from __future__ import annotations

from typing import Self

from gateway.core import Body


class MaskedBody:
    """`body` with `secret` overwritten wherever it stands, in as many letters: lengths stay true."""

    def __init__(self, body: Body, secret: bytes) -> None:
        self._body = body
        self._secret = secret
        self._held = b""
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._is_over:
            try:
                piece = await anext(self._body)
            except StopAsyncIteration:
                self._is_over = True
                piece = b""
            text = (self._held + piece).replace(self._secret, b"*" * len(self._secret))
            # What may be the beginning of the secret waits for the next piece.
            kept = 0 if self._is_over else _length_of_beginning(text, self._secret)
            self._held = text[len(text) - kept :]
            if ready := text[: len(text) - kept]:
                return ready
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the body."""
        await self._body.aclose()


def _length_of_beginning(text: bytes, secret: bytes) -> int:
    """Return how many of the last bytes of `text` the secret begins with."""
    longest = min(len(text), len(secret) - 1)
    return next((size for size in range(longest, 0, -1) if secret.startswith(text[-size:])), 0)
