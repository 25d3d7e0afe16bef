"""One HTTP exchange with a client: its request, whether the client is still there, and the response to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from gateway.api.errors import ClientGoneError, ErrorResponse
from gateway.api.http.asgi import Receive, Scope, Send
from gateway.api.http.body import BodyLimit, BodyReader, TakeArrived, announced_bytes
from gateway.api.http.memory import BodyMemory, MemoryBudget
from gateway.api.http.response_headers import (
    REQUEST_ID,
    is_open_stream,
    json_headers,
    new_request_id,
    refusal_labels,
    with_standard_headers,
)
from gateway.api.under_way import UnderWay
from gateway.core import Body, Header, Refusal
from gateway.errors import RequestError
from gateway.upstream.headers import HOP_BY_HOP, HeaderFilter, end_to_end
from gateway.wire.canonical_path import read_path
from gateway.wire.endpoints import find_resource
from gateway.wire.responses.reading import ends_complete as responses_ends_complete
from gateway.wire.responses.reading import error_event as responses_error_event
from gateway.wire.sse import ends_complete, error_event

# A client that goes on sending a refused body is read, so that it sees the refusal: until it is silent for
# so long, and never longer than that (nginx: lingering_timeout, lingering_time).
LINGER_S = 1.0
LONGEST_LINGER_S = 30.0
# Most local answers are there sooner; until then no task watches whether the client has left.
WATCH_AFTER_S = 0.05

# A teacher may be another stepdown: its request id would stand beside ours.
_DROPPED = HeaderFilter(HOP_BY_HOP | {REQUEST_ID})
# A length without a body makes the server believe that the answer was cut.
_DROPPED_WITHOUT_BODY = HeaderFilter(HOP_BY_HOP | {REQUEST_ID, b"content-length"})


class Exchange:
    """A request that has begun to arrive, and its response: one of the `send_` methods sends it."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        show_labels: bool = False,
        count_refusal: Callable[[int, str, str, str], None] = lambda *_: None,
        record_refusal: Callable[[Refusal], None] = lambda _: None,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.id = new_request_id()
        self.method: str = scope["method"]
        self.headers: tuple[Header, ...] = tuple(scope["headers"])
        raw_path, query = scope["raw_path"], scope["query_string"]
        self.target: bytes = b"%b?%b" % (raw_path, query) if query else raw_path
        # Not scope["path"]: each server decodes it in its own way.
        self.path = read_path(raw_path)
        self.resource = find_resource(self.method, self.path.path)
        self.model = ""
        """What is asked for, once that is read: a refusal then says so to operators."""
        self.has_begun = False
        self.is_finished = False
        self.receive = receive
        self.under_way: UnderWay | None = None
        """The caller's place in its limits, once it is admitted."""
        self._memory = BodyMemory(memory) if memory else None
        self._show_labels = show_labels
        self._count_refusal = count_refusal
        self._record_refusal = record_refusal
        self._head: tuple[int, list[Header]] = 0, []
        self._last_piece = b""
        self._send = send
        self._body_reader: BodyReader | None = None
        # Only our own server says what has arrived already; behind any other the body is waited for.
        # Taken out of the scope: the server's cycle, which it belongs to, holds the scope, and both would
        # stay in memory until the garbage collector finds them.
        self._take_arrived: TakeArrived | None = scope.pop("stepdown.take_arrived", None)

    def open_body(self, limit: BodyLimit) -> BodyReader:
        """Return the reader of the request's body; to be called at most once."""
        self._body_reader = BodyReader(self.receive, self.headers, limit, self._memory, self._take_arrived)
        return self._body_reader

    def close(self) -> None:
        """Give back what the request has taken: its memory, its caller's place."""
        if self._memory:
            self._memory.release()
        if self.under_way:
            self.under_way.close()

    async def send_response(self, status: int, headers: tuple[Header, ...], body: Body) -> None:
        """Send a whole response and close `body`, whatever happens.

        The hop-by-hop headers of its source are left out, and our request id is added.
        """
        try:
            dropped = _DROPPED_WITHOUT_BODY if status in (204, 304) else _DROPPED
            await self._start(status, end_to_end(headers, dropped))
            async for piece in body:
                self._last_piece = piece
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._finish()
        finally:
            await body.aclose()

    async def send_json(self, status: int, body: bytes, headers: tuple[Header, ...] = ()) -> None:
        """Send a JSON response of our own."""
        await self._start(status, [*json_headers(body, self.id), *headers])
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        await self._finish()

    async def send_error(self, error: ErrorResponse, linger_s: float = LINGER_S) -> None:
        """Send `error`, and read on while the client is still sending, until it is silent for `linger_s`.

        Closing at once would reset the connection and destroy the response on its way.
        """
        error = self._label_error(error)
        if announced_bytes(self.headers) == 0 or (self._body_reader and self._body_reader.is_over):
            return await self.send_json(error.status, error.body, error.headers)
        own = json_headers(error.body, self.id)
        await self._start(error.status, [*own, (b"connection", b"close"), *error.headers])
        await self._send({"type": "http.response.body", "body": error.body, "more_body": True})
        await self._drain(linger_s)
        return await self._finish()

    async def break_off(self, error: RequestError) -> None:
        """End a response that has begun: with an error event where one can follow, else by cutting it."""
        if not is_open_stream(*self._head):
            return
        is_responses = self.path.path == "/v1/responses"
        is_whole = responses_ends_complete if is_responses else ends_complete
        if not is_whole(self._last_piece):
            write = responses_error_event if is_responses else error_event
            event = write(self._last_piece, str(error), error.kind, error.code)
            if self._last_piece and not self._last_piece.endswith((b"\n\n", b"\r\n\r\n")):
                event = b"\n\n" + event
            await self._send({"type": "http.response.body", "body": event, "more_body": True})
        await self._finish()

    def _label_error(self, error: ErrorResponse) -> ErrorResponse:
        """Count a refusal, and return it with the labels that every answer has."""
        name = self.under_way.caller.id if self.under_way else error.key
        self._count_refusal(error.status, error.reason, name, error.policy)
        if not error.is_of_teacher:
            refusal = Refusal(
                request_id=self.id,
                status=error.status,
                reason=error.reason,
                key=name,
                policy=error.policy,
                method=self.method,
                path=self.path.path,
                model=self.model,
                because=error.because,
            )
            self._record_refusal(refusal)
        if not self._show_labels:
            return error
        return msgspec.structs.replace(error, headers=(*error.headers, *refusal_labels(error.reason)))

    async def _drain(self, linger_s: float) -> None:
        clock = asyncio.get_running_loop().time
        ends_at = clock() + LONGEST_LINGER_S
        try:
            while clock() < ends_at:
                async with asyncio.timeout(linger_s):
                    if not (await self.receive()).get("more_body"):
                        return
        except TimeoutError:
            return

    async def _start(self, status: int, headers: list[Header]) -> None:
        self.has_begun = True
        if self.under_way and (limits := self.under_way.headers):
            own = {name for name, _ in limits}
            headers = [*(header for header in headers if header[0] not in own), *limits]
        self._head = status, headers
        sent = with_standard_headers(headers, self.id)
        await self._send({"type": "http.response.start", "status": status, "headers": sent})

    async def _finish(self) -> None:
        self.is_finished = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class cancel_on_disconnect:
    """Cancels the work inside its block soon after the client leaves, and raises ClientGoneError.

    Enter it once the request's body has been read, because only one task may read on; or with
    an `upload`: it reads the body itself, and its RequestError then ends the work too.
    """

    def __init__(self, exchange: Exchange, upload: Upload | None = None) -> None:
        self._exchange = exchange
        self._upload = upload
        self._cause: Exception | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._work = task
        if self._upload:
            self._start_watcher()
        else:
            self._timer = loop.call_later(WATCH_AFTER_S, self._start_watcher)

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        # Not kept: its CancelledError holds its frames, and these hold this object.
        watcher, self._watcher = self._watcher, None
        if watcher:
            watcher.cancel()
        else:
            self._timer.cancel()
        if self._cause is None:
            return
        # Only our own cancellation is taken back: that of a server that shuts down must get through.
        if self._work.uncancel() == 0:
            raise self._cause from exc

    def _start_watcher(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        try:
            if self._upload:
                await self._upload.fill_queue()
            while (await self._exchange.receive())["type"] != "http.disconnect":
                pass
            if self._exchange.is_finished:
                # Servers say "disconnect" at the end of every response, too.
                return
            self._cause = ClientGoneError()
        except Exception as exc:
            self._cause = exc
        self._work.cancel()


class Upload:
    """A request body on its way through: at most a few pieces are held at any time.

    `begun` are the pieces that were read before; `follow` gets each later one before it passes, and ends
    the work by raising RequestError.
    """

    def __init__(
        self,
        body_reader: BodyReader,
        begun: Sequence[bytes] = (),
        follow: Callable[[bytes], None] | None = None,
    ) -> None:
        self._body_reader = body_reader
        self._begun = begun
        self._follow = follow
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)

    async def fill_queue(self) -> None:
        """Read the body to its end, at the pace of its consumer. Raises like BodyReader."""
        for piece in self._begun:
            await self._put(piece)
        while not self._body_reader.is_over:
            piece = await self._body_reader.read_piece()
            if self._follow:
                self._follow(piece)
            await self._put(piece)
        await self._pieces.put(None)

    async def _put(self, piece: bytes) -> None:
        if piece:
            await self._pieces.put(piece)

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._pieces.get()
        if piece is None:
            # A consumer that asks again after the end must not wait for ever.
            self._pieces.put_nowait(None)
            raise StopAsyncIteration
        return piece
