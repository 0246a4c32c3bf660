"""The deliveries of the index: how far each is, and what proves it."""

from datetime import UTC, datetime

from sqlalchemy import (
    select,
    update,
)

from node.storage.database import Database
from node.storage.rows import PROOFS, DeliveryRow
from node.storage.tables import (
    deliveries,
)


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
    ) -> None:
        """Note how far a delivery is; one row for each job and destination."""
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
        with self.together() as transaction:
            transaction.execute(row.on_conflict_do_update(index_elements=list(key), set_=values))

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
