"""The studies of the index: their states, reasons and last runs, and whose turn it is."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    select,
    update,
)

from node.storage.database import Database
from node.storage.rows import LastRun, StudyRow
from node.storage.tables import (
    TRANSITIONS,
    studies,
)
from node.storage.turns import Priority, next_turn


class Studies(Database):
    """Studies of the index; see `index.Index`."""

    def study(self, study_uid: str, *, lock: bool = False) -> StudyRow | None:
        """Return one study, or None when no instance of it was ever received.

        With ``lock``, inside `together`: nobody else changes it until that ends.
        """
        query = select(studies).where(studies.c.study_uid == study_uid)
        found = self._read(query.with_for_update() if lock else query)
        return _study(found[0]) if found else None

    def studies(self, limit: int = 100, *, state: str | None = None) -> tuple[StudyRow, ...]:
        """Return the studies that received an image last, newest first."""
        query = select(studies).order_by(studies.c.last_received.desc(), studies.c.study_uid)
        if state is not None:
            query = query.where(studies.c.state == state)
        return tuple(_study(row) for row in self._read(query.limit(limit)))

    def set_state(
        self, study_uid: str, state: str, reasons: Sequence[str] = (), job_id: str | None = None
    ) -> None:
        """Change a study's state; the job id stays when none is given.

        Raises
        ------
        LookupError
            When the study is unknown.
        ValueError
            When the study may not change to this state from the one it is in.
        """
        allowed = {state} | {old for old, new in TRANSITIONS.items() if state in new}
        values: dict[str, Any] = {"state": state, "reasons": json.dumps(list(reasons))}
        if job_id is not None:
            values["job_id"] = job_id
        if state != "queued":
            values["turn"] = None
        change = (
            update(studies)
            .where(studies.c.study_uid == study_uid, studies.c.state.in_(allowed))
            .values(values)
        )
        if state not in TRANSITIONS:
            raise ValueError(f"{state!r} is not a state of a study")
        with self.together() as transaction:
            if transaction.execute(change).rowcount == 1:
                self._changed(study_uid, transaction)
                return
        study = self.study(study_uid)
        if study is None:
            raise LookupError(f"study {study_uid} is not in the index")
        raise ValueError(f"study {study_uid} is {study.state}: it cannot become {state}")

    def set_reasons(self, study_uid: str, state: str, reasons: Sequence[str]) -> None:
        """Change why a study is in a state; nothing happens when it has left that state."""
        where = (studies.c.study_uid == study_uid, studies.c.state == state)
        with self.together() as transaction:
            told = json.dumps(list(reasons))
            transaction.execute(update(studies).where(*where).values(reasons=told))

    def set_last_run(self, study_uid: str, run: LastRun) -> None:
        """Keep how a run began or ended."""
        self._set(study_uid, last_run=asdict(run))

    def set_urgent(self, study_uid: str) -> None:
        """Note that images of a study were sent as urgent."""
        self._set(study_uid, urgent=True)

    def give_turn(self, study: StudyRow, priority: Priority) -> int:
        """Give a study that will be queued its place among those that wait; see `turns`."""
        with self.together() as transaction:
            turn = next_turn(transaction, study.source, priority)
            self._set(study.study_uid, turn=turn)
            return turn

    def _set(self, study_uid: str, **values: Any) -> None:
        with self.together() as transaction:
            where = studies.c.study_uid == study_uid
            transaction.execute(update(studies).where(where).values(values))


def _study(row: Any) -> StudyRow:
    values = dict(row._mapping)
    del values["turn"], values["released_at"]
    values["reasons"] = tuple(json.loads(values["reasons"]))
    if last := values.pop(studies.c.last_run.name):
        values["last_run"] = LastRun(
            tuple(last["started"]), last.get("used", ""), last.get("ended", "")
        )
    return StudyRow(**values)
