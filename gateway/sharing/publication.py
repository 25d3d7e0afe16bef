"""A certification is published to all machines at once, or not at all."""

from __future__ import annotations

import logging

import msgspec

from gateway.core import Certification
from gateway.sharing.base import AwayError
from gateway.sharing.election import Election
from gateway.sharing.mirror import FENCED, Known, SharedRows, field_of, note_revision, write_row
from gateway.sharing.outgoing import Outgoing
from gateway.sharing.tables import TABLES
from gateway.store.database import Database

logger = logging.getLogger(__name__)

_TABLE = TABLES["certifications"]


class Publication:
    """Publishes what the learner of this machine certified, while it is the learner of the task.

    The epoch that it judged by is compared in Valkey: an alarm of any machine, and another learner,
    come before it.
    """

    def __init__(self, database: Database, rows: SharedRows, election: Election) -> None:
        self._outgoing = Outgoing(database)
        self._rows = rows
        self._election = election

    def put_if(self, epoch: int, certification: Certification) -> bool:
        """See CertificationStore.put_if; False too where the others cannot be reached."""
        try:
            return self._publish(epoch, certification)
        except AwayError as exc:
            logger.warning("%s is not certified, the shared state is away: %s", certification.task, exc)
            return False

    def _publish(self, epoch: int, certification: Certification) -> bool:
        task = certification.task
        if not self._election.is_ours(task):
            return False
        [key] = self._outgoing.encode_keys([task])
        field = field_of(_TABLE.name, key)
        [known] = self._rows.fetch([field])
        if (known.row or {"epoch": 0})["epoch"] != epoch:
            return False
        row = {
            "task": task,
            "epoch": certification.epoch,
            "body": msgspec.json.encode(certification).decode(),
        }
        guard = self._election.key(task), self._election.token(task)
        [said] = self._rows.put([(field, known.revision, row)], guard)
        if isinstance(said, Known) or said == FENCED:
            logger.warning("%s is not certified: another machine was first", task)
            return False
        with self._outgoing.apply() as connection:
            mine = _TABLE.read(connection, [task])
            if (mine or {"epoch": epoch})["epoch"] != epoch:
                # An alarm of this machine that is still to be sent. It holds, here and there.
                return False
            write_row(connection, _TABLE, key, row)
            note_revision(connection, _TABLE.name, key, said)
        return True
