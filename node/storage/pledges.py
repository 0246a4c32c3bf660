"""What destinations were asked to vouch for, and what they reported: one row a transaction."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select, update

from node.storage.index import Index
from node.storage.tables import pledges


class Pledge(NamedTuple):
    """One request for storage commitment.

    Attributes
    ----------
    turn : dict
        What its asker wrote down: JSON.
    report : dict or None
        What was reported: JSON; None while nothing was.
    """

    turn: dict[str, Any]
    report: dict[str, Any] | None


class Pledges:
    """The table of them, which listener and worker share; safe to use from several threads.

    Parameters
    ----------
    index : Index
        In whose database it is, and in whose transaction, where one is open.
    """

    def __init__(self, index: Index) -> None:
        self._index = index

    def open(self, transaction_uid: str, turn: dict[str, Any]) -> None:
        """Note a request, durably, before it is sent."""
        row = {"transaction_uid": transaction_uid, "turn": json.dumps(turn)}
        with self._index.together() as transaction:
            transaction.execute(insert(pledges).values(**row, asked_at=datetime.now(UTC)))

    def keep(self, transaction_uid: str, report: dict[str, Any]) -> Pledge | None:
        """Keep a report, durably; of several the first stays.

        Returns
        -------
        Pledge or None
            None when this node has not asked for it.
        """
        where = pledges.c.transaction_uid == transaction_uid
        first = update(pledges).where(where, pledges.c.report.is_(None))
        with self._index.together() as transaction:
            transaction.execute(first.values(report=json.dumps(report)))
        return self.find(transaction_uid)

    def find(self, transaction_uid: str) -> Pledge | None:
        """Return a request; None when there is none of that UID."""
        query = select(pledges.c.turn, pledges.c.report).where(
            pledges.c.transaction_uid == transaction_uid
        )
        with self._index.together() as transaction:
            found = transaction.execute(query).first()
        if found is None:
            return None
        return Pledge(json.loads(found[0]), json.loads(found[1]) if found[1] else None)

    def forget_before(self, when: datetime) -> None:
        """Forget what was asked before; a report of it is then one that nobody asked for."""
        with self._index.together() as transaction:
            transaction.execute(delete(pledges).where(pledges.c.asked_at < when))
