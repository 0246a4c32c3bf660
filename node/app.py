"""The composition root: the only file that builds real parts from a `Config`."""

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from node import __version__
from node.config import Config, Destination, OrthancPeer
from node.dicom import orthanc, reader, sender
from node.dicom.listener import Listener
from node.errors import DeliveryRefused, LumbarError, Misconfigured, RetryLater
from node.inference.runtime import ModelStore
from node.jobs import Desk, Queue, Step, Worker
from node.outbox import Delivery, Outcome, Try
from node.spine import series
from node.spine.anatomy import Role
from node.storage.archive import Archive
from node.storage.index import Index
from node.study import StudyStory, delivery_order
from node.watch import Watcher

log = structlog.get_logger()

#: A destination of this kind is an Orthanc peer and gets its results by REST.
ORTHANC = "orthanc:"
AGAIN_S = 60.0


class Node:
    """One node: what it stores, and the roles this process plays.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self.archive = Archive(config.data_dir / "archive", config.listen.min_free_mb)
        self.index = Index(config.index_url)
        self.desk = Desk(config.jobs_url)
        self.listener = Listener(config.listen, self.archive, self.index)
        self.watcher = Watcher(
            times=config.complete,
            index=self.index,
            archive=self.archive,
            desk=self.desk,
            roles_of=_roles_of,
            open_associations=self.listener.open_associations,
        )
        self._worker: Worker | None = None

    def start(self, *, listen: bool, work: bool) -> None:
        """Start the roles of this process; the web role is served by the caller."""
        if work:
            self._worker = Worker(self.config.jobs_url, self._queues())
            self._worker.start()
        if listen:
            self.listener.start()
            self.watcher.start()

    def stop(self) -> None:
        """Stop taking in work, let running steps end, keep the rest for the next start."""
        self.watcher.stop()
        self.listener.stop()
        if self._worker:
            self._worker.stop()
        self.desk.close()

    def requeue(self, study_uid: str) -> list[str]:
        """Hand in again what ended badly: the study itself, or its undelivered results.

        Returns
        -------
        list of str
            What was handed in, in words.
        """
        row = self.index.study(study_uid)
        if row is None:
            raise Misconfigured(f"this node holds no study {study_uid}; see `lumbar-node studies`")
        stuck = [d for d in self.index.deliveries(study_uid) if d.state in ("dead", "refused")]
        if row.job_id and stuck and delivery_order_exists(self.results_folder(row.job_id)):
            for delivery in stuck:
                self._post(row.job_id, study_uid, delivery.destination, delivery.attempts + 1)
            return [f"delivery to {d.destination}" for d in stuck]
        tries = len({j.job_id for j in self.desk.jobs(study_uid) if "/deliver/" not in j.job_id})
        self.watcher.enqueue(study_uid, ["requeued by hand"], attempt=tries + 1)
        return ["the analysis"]

    def cancel(self, study_uid: str) -> None:
        """Stop a study's job before its next step; what was sent stays sent."""
        row = self.index.study(study_uid)
        if row is None or row.job_id is None:
            raise Misconfigured(f"study {study_uid} has no job to cancel")
        for job in self.desk.jobs(row.job_id):
            self.desk.cancel(job.job_id)
        self.index.set_state(study_uid, "cancelled", ["cancelled by hand"])

    def results_folder(self, job_id: str) -> Path:
        """Where a job's results lie. No header text becomes a file name."""
        return self.config.data_dir / "results" / sha256(job_id.encode()).hexdigest()[:32]

    # -- the worker's queues -------------------------------------------------------------------

    def _queues(self) -> tuple[Queue, ...]:
        work = self.config.work
        store = ModelStore(self.config.models_dir, work.provider, work.threads)
        story = StudyStory(
            store=store,
            settings=self.config.report,
            files_of=lambda hashes: [self.archive.path(h) for h in hashes],
            folder_of=self.results_folder,
            note=self._note_study,
            deliver=self._deliver,
            again=self._again,
        )
        delivery = Delivery(
            rules=self.config.deliver,
            files_of=lambda job_id: delivery_order(self.results_folder(job_id)),
            send=self._send,
            note=self._note_delivery,
            enqueue=lambda this, delay: self.desk.enqueue(
                "deliver", this.job_id, *this, delay_s=delay
            ),
        )
        return (
            Queue("study", story, work.studies_at_once),
            Queue("deliver", delivery, work.deliveries_at_once),
            Queue("pull", self._pull, 1),
        )

    def _note_study(self, study_uid: str, job_id: str, state: str, reasons: list[str]) -> None:
        row = self.index.study(study_uid)
        # A newer instance set has taken over: its own job tells the study's state.
        if row is not None and row.job_id == job_id and row.state != "receiving":
            self.index.set_state(study_uid, state, reasons, job_id=job_id)

    def _again(self, job_id: str, study_uid: str, hashes: list[str]) -> None:
        stem, _, number = job_id.partition("~")
        following = f"{stem}~{int(number or 1) + 1}"
        self.index.set_state(study_uid, "queued", ["waiting for space or a peer"], job_id=following)
        self.desk.enqueue("study", following, following, study_uid, hashes, delay_s=AGAIN_S)

    def _deliver(self, study_uid: str, job_id: str) -> None:
        findings = self.findings_of(job_id) or {}
        row = self.index.study(study_uid)
        names = [d.name for d in self.config.destinations]
        if row is not None and row.source.startswith(ORTHANC):
            names.append(row.source)
        self._note_study(study_uid, job_id, "delivering", findings.get("reasons", []))
        for name in names:
            self._post(job_id, study_uid, name, 1)
        if not names:
            self._settle(study_uid, job_id)

    def _post(self, job_id: str, study_uid: str, destination: str, attempt: int) -> None:
        this = Try(job_id, study_uid, destination, attempt, datetime.now(UTC).isoformat())
        self._note_delivery(this, Outcome("pending", ""))
        self.desk.enqueue("deliver", this.job_id, *this)

    def _send(self, name: str, files: Sequence[Path]) -> None:
        if name.startswith(ORTHANC):
            orthanc.push(self._peer(name.removeprefix(ORTHANC)), files)
            return
        sender.send(files, self._destination(name), self.config.listen.ae_title)

    def _note_delivery(self, this: Try, outcome: Outcome) -> None:
        self.index.upsert_delivery(
            this.study_job,
            this.study_uid,
            this.destination,
            outcome.state,
            this.attempt,
            outcome.message,
        )
        if outcome.state not in ("pending", "waiting"):
            self._settle(this.study_uid, this.study_job)

    def _settle(self, study_uid: str, job_id: str) -> None:
        """Put the study's end into the index once no delivery is open."""
        open_states = {"pending", "waiting"}
        deliveries = [d for d in self.index.deliveries(study_uid) if d.job_id == job_id]
        if any(d.state in open_states for d in deliveries):
            return
        findings = self.findings_of(job_id) or {}
        reasons = list(findings.get("reasons", []))
        lost = [d for d in deliveries if d.state != "delivered"]
        reasons += [f"not delivered to {d.destination}: {d.message}" for d in lost]
        if not deliveries:
            reasons.append("no destination is configured: results stay on this node")
        ended = "failed" if lost else "done"
        if findings.get("status") == "rejected" and not lost:
            ended = "rejected"
        self._note_study(study_uid, job_id, ended, reasons)

    def _pull(self, step: Step, peer: str, orthanc_id: str) -> None:
        """Fetch a study from an Orthanc that says it is stable, and decide about it at once."""
        try:
            studies = step("pull", self._fetch, peer, orthanc_id)
        except RetryLater as error:
            log.warning("orthanc pull waits", peer=peer, orthanc_id=orthanc_id, reason=str(error))
            step("again", self.orthanc_trigger, peer, orthanc_id, AGAIN_S)
            return
        except LumbarError as error:
            log.error("orthanc pull ended", peer=peer, orthanc_id=orthanc_id, reason=str(error))
            return
        for study_uid in studies:
            step("consider", self._consider, study_uid)

    def _fetch(self, peer: str, orthanc_id: str) -> list[str]:
        studies: set[str] = set()
        source = ORTHANC + peer

        def take(part10: bytes) -> None:
            studies.add(self.listener.take(part10, source).study_uid)

        orthanc.pull(self._peer(peer), orthanc_id, take)
        return sorted(studies)

    def _consider(self, study_uid: str) -> None:
        row = self.index.study(study_uid)
        if row is not None and row.state == "receiving":
            self.watcher.consider(row, settled=True)

    def _destination(self, name: str) -> Destination:
        for destination in self.config.destinations:
            if destination.name == name:
                return destination
        raise DeliveryRefused(f"destination {name!r} is no longer in the configuration")

    def _peer(self, name: str) -> OrthancPeer:
        for peer in self.config.orthanc:
            if peer.name == name:
                return peer
        raise DeliveryRefused(f"Orthanc peer {name!r} is not in the configuration")

    # -- what the pages ask ----------------------------------------------------------------------

    def findings_of(self, job_id: str) -> dict[str, Any] | None:
        """Return a job's findings.json, or None when it has none yet."""
        try:
            text = (self.results_folder(job_id) / "findings.json").read_text("utf-8")
        except FileNotFoundError:
            return None
        loaded: dict[str, Any] = json.loads(text)
        return loaded

    def orthanc_trigger(self, peer: str, orthanc_id: str, delay_s: float = 0.0) -> None:
        """Hand in the fetching of a stable study; KeyError when the peer is not configured."""
        if peer not in {o.name for o in self.config.orthanc}:
            raise KeyError(peer)
        job_id = f"pull/{peer}/{orthanc_id}/{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        self.desk.enqueue("pull", job_id, peer, orthanc_id, delay_s=delay_s)

    def health(self) -> dict[str, Any]:
        """Return what a monitor asks: alive, version, space, work."""
        usage = shutil.disk_usage(self.config.data_dir)
        return {
            "status": "ok",
            "version": __version__,
            "free_mb": usage.free // 2**20,
            "ae_title": self.config.listen.ae_title,
            "pid": os.getpid(),
        }


def delivery_order_exists(folder: Path) -> bool:
    """Tell whether a result folder is whole (it is renamed into place as the last act)."""
    return (folder / "sr.dcm").is_file()


def _roles_of(paths: Sequence[Path]) -> frozenset[Role]:
    headers = ((path, reader.read_header(path)) for path in paths)
    return frozenset(series.choose(reader.facts(headers)).chosen)
