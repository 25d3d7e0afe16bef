"""Decision records as they are stored: about 75 bytes each, and a number for what many of them share."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from gateway.core import EXACT
from gateway.store.database import Database
from gateway.store.decision_record import CertificateFacts, DecisionRecord, must_stay
from gateway.store.decision_words import DecisionWords, Stored
from gateway.store.ledger_row import LedgerRow

_ID_CHARS = 32
_STREAMED, _HEDGED, _BROKEN, _WOULD_SERVE, _HELD_OUT, _PROBATION, _BOOKED = (1 << bit for bit in range(7))
_FOREIGN_ID = 1 << 7
_FIRST_STAGE = 1 << 8


class DecisionCodec:
    """Writes records as bytes and reads them, with the dictionary of one database."""

    def __init__(self, database: Database) -> None:
        self._shared = DecisionWords(database, _Shared)
        self._certificates = DecisionWords(database, CertificateFacts)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Body).decode

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Enclose a transaction with calls of `encode`."""
        with self._shared.begin(), self._certificates.begin():
            yield

    def encode(self, record: DecisionRecord, connection: sqlite3.Connection) -> bytes:
        """Return the bytes of `record`; all but its time and its weight."""
        row, certificate = record.row, record.certificate
        request_id, is_foreign = _pack_id(row.request_id)
        return self._encode(
            (
                request_id,
                self._shared.store(_shared_of(record), connection),
                None if certificate is None else self._certificates.store(certificate, connection),
                _flags_of(record) + is_foreign * _FOREIGN_ID,
                record.similarity,
                record.score,
                record.familiarity,
                int(record.latency_ms * 10),
                int(record.first_byte_ms * 10),
                int(record.draft_ms * 10),
                row.prompt_tokens,
                row.completion_tokens,
                row.cached_tokens,
                row.reasoning_tokens,
                row.other_units,
                row.usd,
                None if row.counterfactual_usd == row.usd else row.counterfactual_usd,
                row.hedge_usd or None,
            )
        )

    def decode(self, body: bytes, at: float, weight: float) -> DecisionRecord:
        """Return the record that `encode` wrote. Raises MsgspecError or KeyError for a damaged one."""
        stored = self._decode(body)
        certificate = None if stored.certificate is None else self._certificates.load(stored.certificate)
        return _restore(stored, self._shared.load(stored.shared), certificate, at, weight)

    def decode_booked(self, body: bytes, at: float) -> LedgerRow | None:
        """Return the ledger's row of a record, None if the ledger does not count it. Raises as `decode`."""
        stored = self._decode(body)
        return _restore_row(stored, self._shared.load(stored.shared), at) if stored.flags & _BOOKED else None

    def classify(self, body: bytes) -> tuple[bool, object]:
        """Return whether a record must stay, and else the stratum that it is sampled in."""
        stored = self._decode(body)
        shared, flags = self._shared.load(stored.shared), stored.flags
        stays = must_stay(
            shared.decision, shared.key, shared.status, is_chosen=bool(flags & (_HEDGED | _HELD_OUT))
        )
        return stays, (shared.task, shared.decision)


class _Shared(msgspec.Struct, frozen=True, array_like=True):
    """The facts that many records have in common."""

    tenant: str
    key: str
    policy: str
    task: str
    decision: str
    endpoint: str
    requested: str
    model: str
    tier: str
    source: str
    price: str
    status: int
    reason: str
    method: str
    path: str
    surface: str
    mode: str
    form: str
    match: str
    place: str
    alpha: float
    delta: float
    days: float
    stratum: str
    version: int
    threshold: float | None
    propensity: float
    agreement: str = EXACT
    """Last, with a default: records of older versions end before it."""


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """A record's own facts, in the order in which `encode` writes them."""

    id: bytes
    """Of ours the digits' bytes; any other as text, with the flag _FOREIGN_ID."""
    shared: Stored
    certificate: Stored | None
    flags: int
    similarity: float | None
    score: float | None
    familiarity: float | None
    latency: int
    """Tenths of a millisecond, as the next two: three bytes where a float takes nine."""
    first_byte: int
    draft: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    other_units: str
    usd: float
    counterfactual_usd: float | None
    """None: as `usd`."""
    hedge_usd: float | None


def _pack_id(request_id: str) -> tuple[bytes, bool]:
    """Return an id in half of its size, or whole if it is none of ours, and whether it is not."""
    if len(request_id) == _ID_CHARS:
        with contextlib.suppress(ValueError):
            packed = bytes.fromhex(request_id)
            if packed.hex() == request_id:
                return packed, False
    return request_id.encode(), True


def _flags_of(record: DecisionRecord) -> int:
    return (
        record.is_streamed * _STREAMED
        + record.is_hedged * _HEDGED
        + (not record.is_whole) * _BROKEN
        + record.would_serve * _WOULD_SERVE
        + record.is_held_out * _HELD_OUT
        + record.is_on_probation * _PROBATION
        + record.is_first_stage * _FIRST_STAGE
        + record.is_booked * _BOOKED
    )


def _shared_of(record: DecisionRecord) -> _Shared:
    row = record.row
    return _Shared(
        row.tenant, row.key, row.policy, row.task, row.decision, row.endpoint, row.requested, row.model,
        row.tier, row.source, row.price, record.status, record.reason, record.method, record.path,
        record.surface, record.mode, record.form, record.match, record.place, record.alpha, record.delta,
        record.days, record.stratum, record.version, record.threshold, record.propensity,
        record.agreement,
    )  # fmt: skip


def _restore(
    body: _Body, shared: _Shared, certificate: CertificateFacts | None, at: float, weight: float
) -> DecisionRecord:
    flags = body.flags
    return DecisionRecord(
        row=_restore_row(body, shared, at),
        is_booked=bool(flags & _BOOKED),
        status=shared.status,
        reason=shared.reason,
        method=shared.method,
        path=shared.path,
        surface=shared.surface,
        mode=shared.mode,
        form=shared.form,
        match=shared.match,
        similarity=body.similarity,
        place=shared.place,
        is_on_probation=bool(flags & _PROBATION),
        alpha=shared.alpha,
        delta=shared.delta,
        days=shared.days,
        agreement=shared.agreement,
        stratum=shared.stratum,
        certificate=certificate,
        version=shared.version,
        score=body.score,
        threshold=shared.threshold,
        familiarity=body.familiarity,
        is_first_stage=bool(flags & _FIRST_STAGE),
        propensity=shared.propensity,
        is_held_out=bool(flags & _HELD_OUT),
        would_serve=bool(flags & _WOULD_SERVE),
        is_streamed=bool(flags & _STREAMED),
        is_hedged=bool(flags & _HEDGED),
        is_whole=not flags & _BROKEN,
        latency_ms=body.latency / 10,
        first_byte_ms=body.first_byte / 10,
        draft_ms=body.draft / 10,
        weight=weight,
    )


def _restore_row(body: _Body, shared: _Shared, at: float) -> LedgerRow:
    usd = body.usd
    worth = usd if body.counterfactual_usd is None else body.counterfactual_usd
    is_unserved = body.flags & _WOULD_SERVE and shared.decision != "local"
    request_id = body.id.decode() if body.flags & _FOREIGN_ID else body.id.hex()
    return LedgerRow(
        at, request_id, shared.tenant, shared.key, shared.policy, shared.task, shared.decision,
        shared.endpoint, shared.requested, shared.model, shared.tier, body.prompt_tokens,
        body.completion_tokens, body.cached_tokens, body.reasoning_tokens, body.other_units, usd, worth,
        worth if is_unserved else 0.0, body.hedge_usd or 0.0, shared.source, shared.price,
    )  # fmt: skip
