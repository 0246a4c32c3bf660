"""The tables of the index and the states of a study."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

#: State of a study -> states it may change to. The same state again is always allowed, since a
#: resumed workflow repeats its last step.
TRANSITIONS: dict[str, frozenset[str]] = {
    "receiving": frozenset({"incomplete", "queued", "done", "rejected", "failed", "cancelled"}),
    "incomplete": frozenset({"receiving", "queued", "rejected", "failed", "cancelled"}),
    "queued": frozenset({"receiving", "running", "rejected", "failed", "cancelled"}),
    "running": frozenset({"queued", "delivering", "done", "rejected", "failed", "cancelled"}),
    "delivering": frozenset({"queued", "done", "rejected", "failed", "cancelled"}),
    # A destination may turn out not to have what it took.
    "done": frozenset({"receiving", "queued", "failed"}),
    "rejected": frozenset({"receiving", "queued", "failed", "cancelled"}),
    "failed": frozenset({"receiving", "queued", "delivering", "cancelled"}),
    "cancelled": frozenset({"receiving", "queued"}),
}

#: States that end when another image arrives: the study is looked at again. A study whose job
#: exists keeps its state, and one that a person cancelled stays cancelled.
REOPENED: frozenset[str] = frozenset({"incomplete", "done", "rejected", "failed"})


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on any database; SQLite forgets the zone, this puts it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, D102
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, D102
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A JSON value, kept as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> str | None:  # noqa: ARG002, D102
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Any | None:  # noqa: ARG002, D102
        return None if value is None else json.loads(value)


metadata = MetaData()

instances = Table(
    "instances",
    metadata,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("series_uid", String(64), nullable=False),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("source", String(64), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

#: Instances that came under a UID which other contents already have: kept, never used.
conflicts = Table(
    "conflicts",
    metadata,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("source", String(64), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

#: Instances whose file was deleted after delivery (retention); they come back when sent again.
released = Table(
    "released",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("released_at", UtcDateTime, nullable=False),
)

studies = Table(
    "studies",
    metadata,
    Column("study_uid", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("reasons", Text, nullable=False, default="[]"),
    Column("job_id", String(255)),
    Column("source", String(64), nullable=False),
    Column("first_received", UtcDateTime, nullable=False),
    Column("last_received", UtcDateTime, nullable=False, index=True),
    Column("instances", Integer, nullable=False),
    # How the last run began and ended: an object with "started", "used" and "ended".
    # In the database by its old name: a worker of the version before goes on meanwhile.
    Column("summary", Json, key="last_run"),
    # Some of its images were sent as urgent.
    Column("urgent", Boolean, nullable=False, server_default=false()),
    # While it is queued: its place, see `node.storage.turns`.
    Column("turn", Integer),
    # Since when none of its files is kept here.
    Column("released_at", UtcDateTime),
    Index("ix_studies_released_at", "released_at", "state", "last_received"),
    Index("ix_studies_state", "state", "last_received"),
    Index("ix_studies_turn", "state", "turn"),
    Index("ix_studies_source_turn", "state", "source", "turn"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("job_id", String(255), primary_key=True),
    Column("destination", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("proof", String(16), nullable=False, server_default=""),
    Column("proof_note", Text, nullable=False, server_default=""),
)

#: Requests for storage commitment at destinations, and the reports that came.
pledges = Table(
    "pledges",
    metadata,
    Column("transaction_uid", String(64), primary_key=True),
    Column("turn", Text, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("report", Text),
)

#: Jobs whose results were deleted (retention).
deleted_results = Table(
    "deleted_results",
    metadata,
    Column("job_id", String(255), primary_key=True),
    Column("deleted_at", UtcDateTime, nullable=False),
)

#: A walk through an archive: what was asked for, and how far it came.
backfills = Table(
    "backfills",
    metadata,
    Column("run", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("wanted", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("listed_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
)

#: The studies that such a walk found, each by the name its archive knows it by.
backfill_studies = Table(
    "backfill_studies",
    metadata,
    Column("run", Integer, primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("study_uid", String(64)),
    Column("reason", Text, nullable=False),
    Index("ix_backfill_studies_state", "run", "state", "name"),
)

#: Where the files of a study lie in a folder tree, until the study has its end.
backfill_files = Table(
    "backfill_files",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", Integer, nullable=False),
    Column("name", String(64), nullable=False),
    Column("folder", Text, nullable=False),
    Column("files", Text, nullable=False),
    Index("ix_backfill_files_study", "run", "name"),
)
