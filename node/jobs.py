"""The durable engine: the only file that knows DBOS.

A *job* is a workflow with an id; asking for the same id twice is asking once. Its *steps* are
checkpoints: after ``kill -9`` a job goes on behind the last finished step, so a step runs at least
once and must be repeatable. `Desk` is where any process hands in work; `Worker` is the process
that does it. What runs is given from outside (`node.app`), so this file knows no study.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions, error
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from node.storage.engine import Transaction, engine_of, is_away
from node.storage.leases import Leases, version_of

log = structlog.get_logger()

# Of the stories' steps: raised by hand when they change, so that no job is told half in one way and
# half in another. What else a job depends on is the worker's ``version``.
STEPS = "steps-3"
#: The version of all jobs before workers had theirs.
FIRST = "jobs-1"
APPLICATION_NAME = "lumbar-node"
#: Queue whose jobs wait for a peer -> which of their arguments names it. Each peer has a lane of
#: its own, so that one that hangs holds up no other.
LANES = {"deliver": 2, "tell": 0, "pull": 0, "commit": 0}
#: Jobs of versions that no worker has any more are looked for this often, and when workers change.
SEARCH_S = 60.0
POLL_S = 0.25
#: Between two tries of a step while the database is away.
AWAY_S = 1.0
# A job that takes its process down with it must not do so for ever.
MOST_RECOVERIES = 20
_AT_ONCE = 500  # jobs that are deleted in one transaction
DEAD = frozenset({"ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})

#: What a step raises when the engine has been stopped under its story: no fault of the story.
EngineStopped = error.DBOSException

T = TypeVar("T")

#: ``step(name, function, *arguments)``: run a function once and keep its (JSON) result.
Step = Callable[..., Any]
Story = Callable[..., None]


@dataclass(frozen=True)
class Queue:
    """A kind of work.

    Attributes
    ----------
    name : str
    story : callable
        What it runs.
    at_once : int
        How many in one process; where the queue has `LANES`, in each of them.
    anew : callable, optional
        Called with a job's arguments: hand it in under a new id, because it has to begin anew;
        none: the same is handed in once more.
    """

    name: str
    story: Story
    at_once: int
    anew: Callable[..., None] | None = None


@dataclass(frozen=True)
class Job:
    """One job as the engine knows it."""

    job_id: str
    queue: str
    status: str

    @property
    def is_dead(self) -> bool:
        """Ended without telling its own end: the process died under it, time and again."""
        return self.status in DEAD


def prepare(url: str) -> None:
    """Create or upgrade the engine's tables; SQLite is put in WAL mode.

    Parameters
    ----------
    url : str
        SQLAlchemy URL, ``sqlite:///...`` or ``postgresql+psycopg://...``.
    """
    place = make_url(url)
    if place.get_backend_name() == "sqlite" and place.database:
        Path(place.database).parent.mkdir(parents=True, exist_ok=True)
        # WAL is a property of the file; synchronous=FULL is SQLite's default for each connection.
        with sqlite3.connect(place.database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    DBOS.migrate(url)


class Desk:
    """Hand in, look up and cancel jobs, from any process that reaches the database."""

    def __init__(self, url: str) -> None:
        prepare(url)
        self._client = DBOSClient(
            system_database_url=url,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION_NAME,
        )

    def enqueue(
        self,
        queue: str,
        job_id: str,
        *arguments: Any,
        delay_s: float = 0.0,
        priority: int = 1,
        within: Transaction | None = None,
    ) -> None:
        """Hand in a job; an id that is known already changes nothing.

        Parameters
        ----------
        queue : str
            Of the `Queue` whose story runs it.
        job_id : str
        *arguments
            JSON values.
        delay_s : float
            Not before this many seconds from now; waiting holds no worker.
        priority : int
            1 first; of equal ones the older.
        within : Transaction, optional
            On the same database: the job is there when that is committed, or not at all.
        """
        options = EnqueueOptions(
            workflow_name=queue,
            queue_name=queue,
            workflow_id=job_id,
            priority=priority,
        )
        if queue in LANES:
            options["queue_partition_key"] = str(arguments[LANES[queue]])
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        if within is not None:
            self._client.enqueue_in_transaction(within, options, *arguments)
        else:
            self._client.enqueue(options, *arguments)

    def job(self, job_id: str) -> Job | None:
        """Look up one job."""
        found = self._client.list_workflows(workflow_ids=[job_id])
        return _job(found[0]) if found else None

    def jobs(self, prefix: str) -> list[Job]:
        """Look up the jobs whose id begins with ``prefix``."""
        return [_job(w) for w in self._client.list_workflows(workflow_id_prefix=prefix)]

    def cancel(self, job_id: str) -> None:
        """Stop a job before its next step; a finished job is left alone."""
        self._client.cancel_workflow(job_id)

    def forget(self, before: datetime) -> int:
        """Delete the jobs that ended before a time, well or by hand; return how many.

        What failed stays for a person to look at. A study's results and states are not jobs.
        """
        count = 0
        while found := self._client.list_workflows(
            status=["SUCCESS", "CANCELLED"],
            completed_before=before.isoformat(),
            limit=_AT_ONCE,
            load_input=False,
            load_output=False,
        ):
            self._client.delete_workflows([w.workflow_id for w in found])
            count += len(found)
        return count

    def close(self) -> None:
        """Give the connections back."""
        self._client.destroy()


class Worker:
    """Run the stories of some queues in this process, those cut off by a crash first.

    Parameters
    ----------
    url : str
        SQLAlchemy URL.
    queues : tuple of Queue
    lease_s : float
        Silence (s) after which another worker counts as dead and its jobs are taken over.
    version : str
        Of all that a job's outcome depends on. A job that has begun is finished by workers of that
        version only; when none is left it begins anew. New jobs are taken by the workers of the
        version that came last, so that older ones run dry.
    """

    def __init__(
        self, url: str, queues: tuple[Queue, ...], *, lease_s: float = 5.0, version: str = ""
    ) -> None:
        self._desk = Desk(url)
        self._url = url
        self._queues = queues
        self._lease_s = lease_s
        self._version = f"{STEPS}/{version}"
        self._leases = Leases(url, lease_s, self._version)
        self._versions: frozenset[str] = frozenset()  # of the workers that were alive last time
        self._searched = 0.0
        self._engine = engine_of(url).execution_options(writes=False)
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._beat, name="leases", daemon=True)

    def start(self) -> None:
        """Launch the engine; jobs that dead workers left unfinished go on at once."""
        DBOS(
            config=DBOSConfig(
                name=APPLICATION_NAME,
                system_database_url=self._url,
                application_version=self._version,
                executor_id=self._leases.worker,
                serializer=DBOSPortableJSONSerializer(),
                console_log_level="ERROR",
                log_level="ERROR",
                notification_listener_polling_interval_sec=POLL_S,
            )
        )
        for queue in self._queues:
            _register(queue)
        DBOS.listen_queues([q.name for q in self._queues])
        self._leases.renew()  # before the first job: who holds one without a lease is dead
        DBOS.launch()
        for queue in self._queues:
            has_lanes = queue.name in LANES
            DBOS.register_queue(
                queue.name,
                worker_concurrency=None if has_lanes else queue.at_once,
                partition_worker_concurrency=queue.at_once if has_lanes else None,
                polling_interval_sec=POLL_S,
                on_conflict="always_update",
            )
        self._watch.start()

    def stop(self, patience_s: int = 5) -> None:
        """Finish what runs within ``patience_s``; the rest goes on at the next start."""
        self._stopped.set()
        self._watch.join()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience_s)
        self._leases.release()
        self._engine.dispose()
        self._desk.close()

    def look_after(self) -> None:
        """Renew the own lease, and see to the jobs that other workers have left."""
        self._leases.renew()
        # Itself in any case: the clock may be set between the two looks at it.
        living = self._leases.living() | {self._leases.worker}
        self._take_over(living)
        versions = frozenset(map(version_of, living))
        if versions != self._versions or time.monotonic() >= self._searched + SEARCH_S:
            self._take_the_lead(versions)
            self._begin_anew(versions)
            self._versions, self._searched = versions, time.monotonic()

    def _beat(self) -> None:
        """Look after the jobs of all workers again and again."""
        while True:
            try:
                self.look_after()
            except Exception:
                log.exception("the leases could not be looked at; it is tried again")
            if self._stopped.wait(self._lease_s / 5):
                return

    def _take_over(self, living: frozenset[str]) -> None:
        """Hand the jobs of dead workers of this version back to the queues.

        Without its paid service DBOS recovers a worker's jobs only when a worker of the same name
        starts. Its recovery is one guarded update for each job: of two that try, one wins, and a
        worker that was only frozen stops at its next checkpoint.
        """
        begun = set(self._ask("SELECT DISTINCT executor_id FROM {jobs} WHERE status = 'PENDING'"))
        dead = {w for w in begun - living if w and version_of(w) == self._version}
        if dead:
            log.warning("taking over the jobs of dead workers", workers=sorted(dead))
            DBOS._recover_pending_workflows(sorted(dead))

    def _take_the_lead(self, versions: frozenset[str]) -> None:
        """Take new jobs when the version that does has no worker any more: it was taken back."""
        lead = DBOS.get_latest_application_version()["version_name"]
        if lead not in versions:
            DBOS.set_latest_application_version(self._version)
        elif lead != self._version:
            log.warning(
                "workers of a newer version take the new jobs: this one finishes what it began",
                version=self._version,
                newer=lead,
            )

    def _begin_anew(self, versions: frozenset[str]) -> None:
        """Begin the jobs again that no living worker may finish; of two that try, one does."""
        known = {version["version_name"] for version in DBOS.list_application_versions()} | {FIRST}
        gone = sorted(known - versions)
        queues = {queue.name: queue for queue in self._queues}
        left = self._unfinished(gone) if gone else []
        for job in DBOS.list_workflows(workflow_ids=left) if left else []:
            queue, arguments = queues.get(job.name), (job.input or {}).get("args", ())
            if queue is None:
                continue
            log.warning("a job begins anew", job_id=job.workflow_id, begun_by=job.app_version)
            if queue.anew:
                queue.anew(*arguments)
            else:
                self._desk.enqueue(queue.name, f"{job.workflow_id}+", *arguments)
            self._desk.cancel(job.workflow_id)

    def _unfinished(self, versions: Sequence[str]) -> list[str]:
        """Return the jobs that workers of these versions took, or were to take."""
        found = "SELECT workflow_uuid FROM {jobs} WHERE application_version = :version AND status "
        return [
            job
            for version in versions
            for status in ("IN ('ENQUEUED', 'PENDING')", "= 'DELAYED'")
            for job in self._ask(found + status, version=version)
        ]

    def _ask(self, query: str, **values: str) -> list[Any]:
        """Return the only column of a query of the engine's table of jobs.

        In SQL: SQLite takes DBOS's indices of unfinished jobs only for a status that stands in the
        statement itself; DBOS's own list would read the whole history.
        """
        schema = "" if self._engine.dialect.name == "sqlite" else "dbos."
        asked = text(query.format(jobs=f"{schema}workflow_status"))
        with self._engine.connect() as connection:
            return list(connection.execute(asked, values).scalars())


def _register(queue: Queue) -> None:
    story = queue.story

    def workflow(*arguments: Any) -> None:
        story(_checkpoint, *arguments)

    # DBOS tells workflows apart by name and insists that a name has one function.
    workflow.__qualname__ = workflow.__name__ = queue.name
    DBOS.workflow(name=queue.name, max_recovery_attempts=MOST_RECOVERIES)(workflow)


def _checkpoint(name: str, function: Callable[..., T], *arguments: Any) -> T:
    result: T = DBOS.run_step({"name": name}, _patiently, function, *arguments)
    return result


def _patiently(function: Callable[..., T], *arguments: Any) -> T:
    """Run a step, however long the database is away: that is no fault of what is worked on.

    The engine itself waits in the same way to keep the step's result.
    """
    while True:
        try:
            return function(*arguments)
        except DBAPIError as error:
            if not is_away(error):
                raise
            log.warning("the database is away; the step is run again")
            time.sleep(AWAY_S)


def _job(workflow: Any) -> Job:
    return Job(workflow.workflow_id, workflow.queue_name or "", workflow.status)
