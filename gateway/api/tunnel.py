"""A websocket's two connections spliced: bytes pass both ways as they came, and what they say is read.

The teacher's bytes pass in the turn of the loop in which they come. A client's message waits until it is
whole and judged: what no policy allows must not reach the teacher.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from gateway.api.client_stream import ClientStream
from gateway.api.http.memory import MemoryBudget
from gateway.api.tunnel_side import TunnelSide, detect_dead_peer
from gateway.cascade.websocket_session import Objection, WebsocketSession
from gateway.errors import RequestError
from gateway.upstream.base import Link
from gateway.wire.websocket.frames import TEXT, FrameError, FrameParser, Part, encode_close, encode_frame
from gateway.wire.websocket.messages import Message, MessageReader

logger = logging.getLogger(__name__)

# For the data that one side still owes when the other has left: the end of a long message, a close frame.
DRAIN_S = 10.0
# More of an event is not kept: its usage is found while it passes.
MOST_KEPT_BYTES = 1 << 20
QUIET_S = 1.0
"""So long neither side says anything where nothing is under way; who is speaking pauses for less."""
# RFC 6455 section 7.4.1, and IANA's list of close codes beside it.
_GOING_AWAY, _POLICY_VIOLATION, _SERVICE_RESTART = 1001, 1008, 1012


class SplicedTunnel:
    """Splices `client` to the teacher's connection; the client is to get its head from the caller.

    `report` is told of every message that was refused. Raises UpstreamError, with `client` untouched, if
    the teacher has left already.
    """

    def __init__(
        self,
        client: asyncio.Transport,
        link: Link,
        session: WebsocketSession,
        memory: MemoryBudget,
        report: Callable[[RequestError], None],
        *,
        takes_compressed: bool,
    ) -> None:
        self._session = session
        self._report = report
        self._from_client: ClientStream | None = ClientStream(memory, takes_compressed=takes_compressed)
        self._from_teacher: FrameParser | None = FrameParser(takes_compressed=takes_compressed)
        self._reader = MessageReader(MOST_KEPT_BYTES)
        self._unsaid: list[bytes] = []
        """Frames of our own, until the teacher's message that is under way has ended."""
        self._parts: deque[Part] = deque()
        """What came of the client's and waits for the check of a message before it."""
        self._check: asyncio.Task[None] | None = None
        self._is_ending = False
        self._clock = asyncio.get_running_loop().time
        self._heard_at = self._clock()
        """When one of the two last said something; pings do not count."""
        self._ended = asyncio.get_running_loop().create_future()
        client_side, teacher_side = TunnelSide(self._take_from_client), TunnelSide(self._take_from_teacher)
        teacher_side.other = self._client = client
        client_side.other = self._teacher = link.detach(teacher_side)
        client.set_protocol(client_side)
        self._sides = (client_side, teacher_side)
        for transport in (client, self._teacher):
            detect_dead_peer(transport)

    async def wait_closed(self) -> None:
        """Return when both are closed, or could be; then `close` it.

        When one side leaves, the other gets DRAIN_S for the data that it has not read yet.
        """
        lost = [side.lost for side in self._sides]
        await asyncio.wait([*lost, self._ended], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(lost, timeout=DRAIN_S)

    def end_if_quiet(self, error: RequestError) -> bool:
        """End the websocket with `error` if nothing is under way; return whether it ends.

        What the client says from now on does not reach the teacher: it may say it again elsewhere.
        """
        if not self._is_ending and self._is_quiet:
            self._is_ending = True
            self._client.write(self._render_end(error))
            self._leave_teacher(_GOING_AWAY)
            self._ended.set_result(None)
        return self._is_ending

    @property
    def _is_quiet(self) -> bool:
        """Whether no response is awaited, no message is on its way, and none came for a while."""
        if self._from_client is None or self._from_teacher is None:
            # Nobody knows what is said.
            return False
        is_between = self._from_client.is_between_messages and self._from_teacher.is_between_messages
        is_busy = self._session.is_answering or self._check or self._parts or self._unsaid
        return is_between and not is_busy and self._clock() - self._heard_at >= QUIET_S

    def say_last(self, error: RequestError) -> None:
        """Tell the client why the websocket ends now, unless that would stand within a message."""
        if self._is_ending or self._from_teacher is None or not self._from_teacher.is_between_messages:
            return
        self._client.write(self._render_end(error))
        if not self._client.get_write_buffer_size():
            self._client.close()

    def _render_end(self, error: RequestError) -> bytes:
        code = _POLICY_VIOLATION if error.status < 500 else _SERVICE_RESTART
        return encode_frame(TEXT, self._session.render(error)) + encode_close(code, error.code or "")

    def close(self) -> None:
        """Close both at once, and book what was broken off."""
        if not self._client.is_closing():
            self._client.abort()
        self._teacher.abort()
        if self._check:
            self._check.cancel()
        if self._from_client:
            self._from_client.release()
        self._session.close()

    def _take_from_client(self, data: bytes) -> None:
        stream = self._from_client
        if stream is None:
            return self._teacher.write(data)
        self._parts += stream.feed(data)
        return None if self._check else self._pass_parts(stream)

    def _pass_parts(self, stream: ClientStream) -> None:
        passing: list[bytes] = []
        while self._parts and not self._check:
            part = self._parts.popleft()
            if self._is_ending:
                # All that is awaited is its answer to our close frame.
                if part.is_close:
                    self._client.close()
            elif part.is_control:
                passing.append(part.raw)
            else:
                passing += self._judge(stream, part)
        if stream.unread and not self._is_ending and not self._check:
            passing.append(self._pass_unread(stream))
        if passing:
            self._teacher.write(b"".join(passing))
        return self._speak()

    def _judge(self, stream: ClientStream, part: Part) -> list[bytes]:
        """Return what may pass with `part`."""
        self._heard_at = self._clock()
        if stream.passes(part):
            return [part.raw]
        message = stream.hold(part)
        if message is None and not stream.is_unreadable:
            return []
        if message is not None and (ids := self._session.find_unknown_ids(message)):
            # No more is read from the client meanwhile.
            self._sides[1].pause_writing()
            self._check = asyncio.create_task(self._check_ids(stream, part, message, ids))
            return []
        return self._decide(stream, part, message)

    async def _check_ids(
        self, stream: ClientStream, part: Part, message: Message, ids: tuple[str, ...]
    ) -> None:
        """Look up the owners of the objects that a message names, then go on with all that waits."""
        try:
            objection = await self._session.check_ids(message, ids)
        except Exception:
            # The task's outermost edge: what cannot be looked up does not pass.
            logger.exception("the objects in a websocket's message could not be looked up")
            return self._client.close()
        self._check = None
        if objection:
            stream.release()
            self._object(objection)
        elif passing := self._decide(stream, part, message):
            self._teacher.write(b"".join(passing))
        self._sides[1].resume_writing()
        return self._pass_parts(stream)

    def _decide(self, stream: ClientStream, part: Part, message: Message | None) -> list[bytes]:
        if objection := self._session.judge(message):
            stream.release()
            self._object(objection)
            return []
        if message is None:
            stream.pass_rest(part)
        return stream.release()

    def _pass_unread(self, stream: ClientStream) -> bytes:
        """Return all that came and will not be read, or end the websocket if it must be."""
        objection = self._session.judge(None)
        if objection:
            self._object(objection)
            return b""
        self._from_client = None
        return b"".join(stream.release()) + stream.unread

    def _take_from_teacher(self, data: bytes) -> None:
        parser = self._from_teacher
        if parser is None:
            return self._client.write(data)
        pending = parser.pending
        try:
            parts = parser.feed(data)
        except FrameError:
            self._stop_reading()
            return self._client.write(pending + data)
        passing = []
        for part in parts:
            passing.append(part.raw)
            if not part.is_control and self._note(part):
                passing += self._unsaid
                self._unsaid = []
                if self._is_ending:
                    break
        if self._from_teacher is None:
            passing.append(parser.pending)
        self._client.write(b"".join(passing))
        return self._leave_teacher() if self._is_ending and not self._unsaid else None

    def _note(self, part: Part) -> bool:
        """Read a part of the teacher's; return whether frames of our own may follow it now."""
        self._heard_at = self._clock()
        if self._from_teacher is not None:
            try:
                if (message := self._reader.take(part)) and (objection := self._session.note(message)):
                    self._object(objection)
            except FrameError:
                self._stop_reading()
            except Exception:
                # The edge: a bug of ours in reading must not cost the teacher's words.
                logger.exception("an event of a websocket could not be read")
        return part.ends_message and bool(self._unsaid)

    def _stop_reading(self) -> None:
        self._from_teacher = None
        logger.warning("a teacher's websocket cannot be read: what it costs is estimated")

    def _object(self, objection: Objection) -> None:
        self._report(objection.error)
        self._unsaid.append(encode_frame(TEXT, objection.event))
        if objection.ends and not self._is_ending:
            self._is_ending = True
            self._unsaid.append(encode_close(_POLICY_VIOLATION, objection.error.code or "refused"))
            self._ended.set_result(None)

    def _speak(self) -> None:
        """Say what is unsaid, unless the teacher is in the middle of a message: it then follows that."""
        if not self._unsaid or (self._from_teacher and not self._from_teacher.is_between_messages):
            return
        self._client.write(b"".join(self._unsaid))
        self._unsaid = []
        if self._is_ending:
            self._leave_teacher()

    def _leave_teacher(self, code: int = _POLICY_VIOLATION) -> None:
        """Close the teacher's end; the client closes its own when it has read why."""
        self._sides[1].leaves_other_open = True
        self._teacher.write(encode_close(code, "", is_masked=True))
        self._teacher.close()
