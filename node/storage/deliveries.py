"""The deliveries of the index: how far each is, and what proves it."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, case, or_, select, update

from node.storage.database import Database
from node.storage.rows import PROOFS, DeliveryRow
from node.storage.tables import deliveries


class Deliveries(Database):
    """Deliveries of the index; see `index.Index`."""

    def upsert_delivery(  # noqa: PLR0917
        self,
        job_id: str,
        study_uid: str,
        destination: str,
        state: str,
        attempts: int,
        message: str = "",
        *,
        proof: str = "",
        proof_note: str = "",
    ) -> bool:
        """Note how far a delivery is; one row for each job and destination.

        Returns
        -------
        bool
            False when that is known, and maybe more: a step that a crash cut off is repeated, and
            must not undo what was built on its first run.
        """
        values = {
            "study_uid": study_uid,
            "state": state,
            "attempts": attempts,
            "message": message,
            "updated_at": datetime.now(UTC),
            "proof": proof,
            "proof_note": proof_note,
        }
        key = {"job_id": job_id, "destination": destination}
        row = self._insert(deliveries).values(key | values)
        old, new = deliveries.c, row.excluded
        is_further = or_(
            old.attempts < new.attempts,
            and_(old.attempts == new.attempts, _progress(old.state) < _progress(new.state)),
        )
        upsert = row.on_conflict_do_update(index_elements=list(key), set_=values, where=is_further)
        with self.together() as transaction:
            return transaction.execute(upsert.returning(old.job_id)).first() is not None

    def set_proof(
        self, job_id: str, destination: str, attempts: int, proof: str, note: str
    ) -> None:
        """Note what proves a delivery; nothing happens when it was sent again since.

        Only commitment takes the place of another proof: two turns may end at the same moment.
        """
        its = [
            deliveries.c.job_id == job_id,
            deliveries.c.destination == destination,
            deliveries.c.attempts == attempts,
            deliveries.c.state == "delivered",
        ]
        if proof != PROOFS[0]:
            its.append(deliveries.c.proof == "")
        values = {"proof": proof, "proof_note": note, "updated_at": datetime.now(UTC)}
        with self.together() as transaction:
            transaction.execute(update(deliveries).where(*its).values(values))

    def deliveries(self, study_uid: str) -> tuple[DeliveryRow, ...]:
        """Return a study's deliveries, the one that changed last first."""
        query = (
            select(deliveries)
            .where(deliveries.c.study_uid == study_uid)
            .order_by(deliveries.c.updated_at.desc(), deliveries.c.destination)
        )
        return tuple(DeliveryRow(**row._mapping) for row in self._read(query))


def _progress(state: Any) -> Any:
    """Return how far within one try a state is; one that was delivered may be lost again."""
    return case((state == "pending", 0), (state == "dead", 2), else_=1)
