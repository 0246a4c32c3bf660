"""What is no longer kept, and what need not be: files of delivered studies, old results."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    exists,
    not_,
    select,
    update,
)

from node.config import BACKFILL
from node.storage.database import Database
from node.storage.rows import PROOFS
from node.storage.tables import (
    conflicts,
    deleted_results,
    deliveries,
    instances,
    released,
    studies,
)


class Releases(Database):
    """Releases of the index; see `index.Index`."""

    def release(self, study_uid: str) -> list[str]:
        """Note that the files of a study are no longer kept; return their content hashes."""
        kept = select(instances.c.sha256, instances.c.study_uid).where(
            instances.c.study_uid == study_uid
        )
        other = select(conflicts.c.sha256, conflicts.c.study_uid).where(
            conflicts.c.study_uid == study_uid
        )
        now = datetime.now(UTC)
        its = studies.c.study_uid == study_uid
        with self._writer.begin() as connection:
            # First: an image that arrives now waits for this, and takes it back.
            connection.execute(update(studies).where(its).values(released_at=now))
            found = connection.execute(kept.union(other)).all()
            values = [{"sha256": r[0], "study_uid": r[1], "released_at": now} for r in found]
            if values:
                row = self._insert(released).on_conflict_do_nothing()
                connection.execute(row, values)
        return [value["sha256"] for value in values]

    def released(self, study_uid: str) -> frozenset[str]:
        """Return the content hashes of the files of a study that are no longer kept."""
        query = select(released.c.sha256).where(released.c.study_uid == study_uid)
        return frozenset(row[0] for row in self._read(query))

    def walked(self) -> tuple[str, ...]:
        """Return the studies of a back-fill that have ended and whose files are still kept.

        The archive that was walked through has them; no delivery of theirs is open or failed.
        """
        its = deliveries.c.job_id == studies.c.job_id
        query = select(studies.c.study_uid).where(
            studies.c.released_at.is_(None),
            studies.c.state.in_(("done", "rejected")),
            studies.c.source.startswith(f"{BACKFILL}:"),
            not_(exists().where(its, deliveries.c.state != "delivered")),
        )
        return tuple(row[0] for row in self._read(query))

    def delivered_before(self, when: datetime, proofs: Collection[str] = PROOFS) -> tuple[str, ...]:
        """Return the studies that need their files no longer, the oldest first.

        They have ended, the delivery of every result has been proven, the last one before
        ``when``, as was the last image received, and some of their files are still kept.

        Parameters
        ----------
        when : datetime
        proofs : collection of str
            What counts as proven.
        """
        query = (
            select(studies.c.study_uid)
            .where(
                *_is_proven(when, proofs),
                studies.c.released_at.is_(None),
            )
            .order_by(studies.c.last_received)
        )
        return tuple(row[0] for row in self._read(query))

    def results_due(self, when: datetime, proofs: Collection[str] = PROOFS) -> tuple[str, ...]:
        """Return the jobs whose results need not be kept, those that were superseded too.

        Every one of their deliveries has been proven before ``when``, as have those of their
        study's present job, and their results have not been deleted yet.
        """
        query = (
            select(deliveries.c.job_id)
            .distinct()
            .join(studies, studies.c.study_uid == deliveries.c.study_uid)
            .where(
                *_is_proven(when, proofs),
                not_(_open_or_young(deliveries.c.job_id, when, proofs)),
                not_(exists().where(deleted_results.c.job_id == deliveries.c.job_id)),
            )
            .order_by(deliveries.c.job_id)
        )
        return tuple(row[0] for row in self._read(query))

    def note_results_deleted(self, job_id: str, when: datetime) -> None:
        """Note that the results of a job are no longer kept."""
        row = self._insert(deleted_results).values(job_id=job_id, deleted_at=when)
        with self.together() as transaction:
            transaction.execute(row.on_conflict_do_nothing())

    def results_deleted(self, job_id: str) -> datetime | None:
        """Return when the results of a job were deleted; None when they were not."""
        query = select(deleted_results.c.deleted_at).where(deleted_results.c.job_id == job_id)
        found = self._read(query)
        return found[0][0] if found else None


def _open_or_young(job_id: Any, when: datetime, proofs: Collection[str]) -> Any:
    """Return the condition that a job has a delivery which is not proven, or not long enough."""
    one = deliveries.alias()
    is_open = (one.c.state != "delivered") | one.c.proof.not_in(proofs)
    return exists().where(one.c.job_id == job_id, is_open | (one.c.updated_at >= when))


def _is_proven(when: datetime, proofs: Collection[str]) -> tuple[Any, ...]:
    """Return the conditions for a study that has ended and whose results are where they belong."""
    its = deliveries.alias()
    return (
        studies.c.state.in_(("done", "rejected")),
        studies.c.last_received < when,
        exists().where(its.c.job_id == studies.c.job_id),
        not_(_open_or_young(studies.c.job_id, when, proofs)),
    )
