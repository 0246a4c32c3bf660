"""What the database of a node says while everything goes wrong: states, and who is at what."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import column, create_engine, func, select, table
from sqlalchemy.exc import SQLAlchemyError

from node.config import load
from node.storage.leases import leases
from node.storage.tables import deliveries, studies
from tests.node_process import NodeProcess

#: The steps of a job in the order of its story (`node.study`, `node.exchange.outbox`).
CHAPTERS = {"study": ("begin", "find", "write", "deliver"), "deliver": ("send", "note", "next")}
_OF_JOB = ("workflow_uuid", "status", "executor_id", "queue_name")
_OF_STEP = ("workflow_uuid", "function_id")
ENDED = frozenset({"done", "rejected", "failed", "cancelled"})


class Held(NamedTuple):
    """A job that a worker holds, and the chapter it is in."""

    job_id: str
    worker: str
    chapter: str


class Sight:
    """Looks into the database as it is, beside the node; blind while it is away."""

    def __init__(self, node: NodeProcess) -> None:
        config = load(node.config)
        self._database = create_engine(config.database, pool_pre_ping=True)
        schema = None if self._database.dialect.name == "sqlite" else "dbos"
        self._job = table("workflow_status", *map(column, _OF_JOB), schema=schema)
        self._step = table("operation_outputs", *map(column, _OF_STEP), schema=schema)

    def close(self) -> None:
        """Close the connection."""
        self._database.dispose()

    def states(self) -> dict[str, str]:
        """Return the state of each study."""
        return dict(self._ask(select(studies.c.study_uid, studies.c.state)))

    def open_states(self) -> Counter[str]:
        """Count the studies that are on their way in each state, and deliveries that wait."""
        states: Counter[str] = Counter(s for s in self.states().values() if s not in ENDED)
        waiting = select(deliveries.c.job_id).where(deliveries.c.state == "waiting")
        return states + Counter(waiting=len(self._ask(waiting)))

    def unproven(self) -> list[str]:
        """Return the destination of each delivery that is under way, or not proven yet."""
        row = deliveries.c
        is_open = row.state.in_(("pending", "waiting"))
        is_unproven = (row.state == "delivered") & (row.proof == "")
        return [
            found[0] for found in self._ask(select(row.destination).where(is_open | is_unproven))
        ]

    def proofs(self) -> Counter[str]:
        """Count what proves the deliveries."""
        row = deliveries.c
        found = self._ask(select(row.destination, row.proof).where(row.state == "delivered"))
        return Counter(f"delivery to {name} proven by {proof}" for name, proof in found)

    def held(self, worker: str | None = None) -> list[Held]:
        """Return the jobs that are being worked on, by one worker or all."""
        job, step = self._job.c, self._step.c
        names = (job.workflow_uuid, job.executor_id, job.queue_name)
        query = (
            select(*names, func.count(step.function_id))
            .outerjoin_from(self._job, self._step, step.workflow_uuid == job.workflow_uuid)
            .where(job.status == "PENDING")
            .group_by(*names)
        )
        found = [
            Held(job_id, str(executor), _chapter(queue, steps))
            for job_id, executor, queue, steps in self._ask(query)
        ]
        return [one for one in found if worker in (None, one.worker)]

    def job(self, job_id: str) -> tuple[str, str]:
        """Return a job's status and worker."""
        job = self._job.c
        query = select(job.status, job.executor_id).where(job.workflow_uuid == job_id)
        found = self._ask(query)
        return (found[0][0], str(found[0][1])) if found else ("", "")

    def worker(self, pid: int) -> str:
        """Return the name of the worker with a process id; empty when it has none yet."""
        of_pid = select(leases.c.worker).where(leases.c.pid == pid)
        found = self._ask(of_pid.order_by(leases.c.renewed.desc()))
        return str(found[0][0]) if found else ""

    def _ask(self, query: Any) -> Sequence[Any]:
        try:
            with self._database.connect() as connection:
                rows: Sequence[Any] = connection.execute(query).all()
                return rows
        except SQLAlchemyError:  # the database is being restarted
            return []


def _chapter(queue: str, steps: int) -> str:
    chapters = CHAPTERS.get(queue, ())
    return f"{queue}: {chapters[steps] if steps < len(chapters) else 'its end'}"
