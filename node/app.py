"""The composition root: the only file that builds real parts from a `Config`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from node import __version__
from node.config import Config
from node.dicom.intake import Intake, read_row
from node.dicom.pledge import Reported
from node.dicom.reading.limits import check_file, names_in_file
from node.dicom.reporting import report
from node.dicom.scp.listener import Listener
from node.errors import Misconfigured
from node.exchange.asking import Asking
from node.exchange.commit import Commitments, commitment_peer
from node.exchange.notice import ORTHANC, Notices
from node.exchange.outbox import Outbox, Stored, Try
from node.exchange.peers import Peers
from node.exchange.proving import Proving
from node.exchange.pull import DICOMWEB, Pull
from node.exchange.worklist import Worklists
from node.inference.runtime import ModelStore
from node.jobs import Desk, Queue, Worker
from node.received import Received
from node.recovery import Recovery
from node.result_folder import delivery_order, ending
from node.retention import Retention
from node.runs import AT_WORK, Runs
from node.shown import Shown
from node.storage.engine import Transaction
from node.storage.index import Index
from node.storage.opening import open_archive, open_presence, open_results
from node.storage.pledges import Pledges
from node.storage.quarantine import Quarantine
from node.storage.rows import StudyRow
from node.study import StudyStory
from node.trust.audit import Trail
from node.trust.syslog import Forwarder
from node.watch import Watcher

TASKS_AT_ONCE = 2


class Node(Shown):
    """One node: what it stores, and the roles this process plays. It answers the web pages.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        config.data_dir.mkdir(parents=True, exist_ok=True)
        super().__init__(
            config,
            open_archive(config),
            open_results(config),
            Index(config.database, self._changed),
        )
        self.desk = Desk(config.database)
        self.quarantine = Quarantine(config.data_dir / "quarantine", config.quarantine.max_mb)
        self.trail = Trail(config.data_dir / "audit", config.audit, config.listen.ae_title)
        self.intake = Intake(
            self.archive,
            self.index,
            config.listen.max_object_mb,
            self.quarantine,
            self.trail.note,
        )
        self.peers = Peers(config, self.intake, self.held_instances, self.trail.note)
        self.notices = Notices(
            desk=self.desk,
            rules=config.deliver,
            study_of=self.index.study,
            peer_of=self.peers.orthanc,
            review_of=lambda study_uid: f"{config.web.address}/studies/{study_uid}",
        )
        self._forwarder = (
            Forwarder(config.data_dir / "audit", config.audit, config.tls)
            if config.audit.syslog_host
            else None
        )
        self.commitments = Commitments(
            desk=self.desk,
            index=self.index,
            path_of=self.archive.path,
            rules=config.deliver,
            peer_of=partial(commitment_peer, config),
            report=lambda answer, peer: report(answer, peer, config.listen.ae_title, config.tls),
        )
        self.listener = Listener(
            config.listen,
            self.archive,
            self.index,
            config.sources,
            self.quarantine,
            tls=config.tls,
            note=self.trail.note,
            commitments=self.commitments,
            keep=self._keep_report,
        )
        received = Received(self.archive.path)
        self.runs = Runs(self.index, self.desk, received, config.sources)
        self.presence = open_presence(config, self.listener.receiving)
        self.watcher = Watcher(
            times=config.complete,
            index=self.index,
            desk=self.desk,
            runs=self.runs,
            received=received,
            asking=Asking(self.peers.count),
            open_associations=lambda study_uid: (
                self.listener.open_associations(study_uid) + self.presence.elsewhere(study_uid)
            ),
            sources=config.sources,
            decides=self.presence.decides,
        )
        self.outbox = Outbox(
            rules=config.deliver,
            index=self.index,
            desk=self.desk,
            note=self.runs.note,
            ending_of=lambda job_id: ending(self.result_folder(job_id)),
            destinations_of=self.peers.destinations_of,
            files_of=lambda job_id: delivery_order(self.result_folder(job_id)),
            send=self.peers.send,
            prove=self._prove,
        )
        self.pledges = Pledges(self.index)
        self.proving = Proving(
            rules=config.deliver,
            index=self.index,
            desk=self.desk,
            pledges=self.pledges,
            outbox=self.outbox,
            begins_with=self.peers.first_proof,
            ask=partial(self.peers.ask, self._keep_report),
            missing=self.peers.missing,
        )
        self.pull = Pull(
            desk=self.desk,
            rules=config.deliver,
            fetch=self.peers.fetch,
            consider=self._asked,
            say=self.peers.say,
        )
        self.retention = Retention(
            rules=config.retention,
            # a cache frees itself
            min_free_mb=0 if config.storage.is_store else config.listen.min_free_mb,
            archive=self.archive,
            index=self.index,
            drop_results=self.results.drop,
            forget=self.pledges.forget_before,
            forget_jobs=self.desk.forget,
        )
        self.worklists = Worklists(
            worklists=config.worklist,
            archives=config.dicomweb,
            desk=self.desk,
            rules=config.deliver,
            station=config.listen.ae_title,
            fetch=self.peers.fetch,
            consider=self._asked,
            study_of=self.index.study,
            results_of=lambda study_uid: [check_file(p) for p in self.result_files(study_uid)],
            is_delivered=self.is_delivered,
        )
        self.recovery = Recovery(self.archive, self.index)
        self._worker: Worker | None = None

    def start(self, *, listen: bool, work: bool) -> None:
        """Start the roles of this process; the web role is served by the caller."""
        self.trail.start()
        if self._forwarder:
            self._forwarder.start()
        if work:
            work_with = self.config.work
            store = ModelStore(self.config.models_dir, work_with.provider, work_with.threads)
            self._worker = Worker(
                self.config.database,
                self._queues(store),
                lease_s=self.config.work.lease_s,
                version=f"{__version__}+{store.digest}",
            )
            self._worker.start()
            self.worklists.start()
        if listen:
            # The index is derived: what was stored just before a crash gets its rows now.
            if self.config.storage.url:
                self.recovery.start()
            else:
                self.index.rebuild(self.archive.iterate(), read_row)
            self.presence.start()
            self.listener.start()
            self.watcher.start()
            self.retention.start()

    def stop(self) -> None:
        """Stop taking in work, let running steps end, keep the rest for the next start."""
        self.retention.stop()
        self.worklists.stop()
        self.watcher.stop()
        self.recovery.stop()
        self.listener.stop()
        self.presence.stop()
        if self._worker:
            self._worker.stop()
        self.trail.stop()
        if self._forwarder:
            self._forwarder.stop()
        self.desk.close()
        self.index.close()

    # -- by hand ---------------------------------------------------------------------------------

    def requeue(self, study_uid: str) -> list[str]:
        """Hand in again what ended badly: the undelivered results, else the whole study.

        Returns
        -------
        list of str
            What was handed in, in words.
        """
        row = self._held(study_uid)
        if row.state in AT_WORK:
            raise Misconfigured(
                f"study {study_uid} is {row.state}: wait for its end, or cancel it first"
            )
        lost = [d for d in self.deliveries(study_uid) if d.state in ("dead", "refused")]
        if row.job_id and lost and self.findings(study_uid):
            with self.index.together():
                self.index.set_state(study_uid, "delivering", row.reasons)
                for d in lost:
                    self.outbox.post(study_uid, row.job_id, d.destination, d.attempts + 1)
            return [f"the delivery to {d.destination}" for d in lost]
        self.runs.requeue(study_uid)
        return ["the analysis"]

    def cancel(self, study_uid: str) -> None:
        """Stop a study's job before its next step; what was sent stays sent."""
        row = self._held(study_uid)
        if row.state not in AT_WORK | {"receiving", "incomplete"}:
            raise Misconfigured(f"study {study_uid} is {row.state}: there is nothing to cancel")
        for job in self.desk.jobs(row.job_id) if row.job_id else []:
            self.desk.cancel(job.job_id)
        self.index.set_state(study_uid, "cancelled", ["cancelled by hand"])

    def _held(self, study_uid: str) -> StudyRow:
        row = self.index.study(study_uid)
        if row is None:
            raise Misconfigured(f"this node holds no study {study_uid}; see `lumbar-node studies`")
        return row

    # -- the worker ------------------------------------------------------------------------------

    def _queues(self, store: ModelStore) -> tuple[Queue, ...]:
        work = self.config.work
        story = StudyStory(
            store=store,
            settings=self.config.report,
            files_of=self.archive.paths,
            folder_of=self.results.folder,
            keep=self.results.keep,
            earlier_of=self._earlier_of,
            note=self.runs.note,
            deliver=self.outbox.put,
            again=self.runs.again,
            set_aside=self._set_aside,
        )
        return (
            Queue("study", story, work.studies_at_once, self.runs.anew),
            Queue("deliver", self.outbox.story, work.deliveries_at_once),
            Queue("prove", self.proving.story, work.deliveries_at_once),
            Queue("pull", self.pull.story, 1),
            Queue("tell", self.notices.story, 1),
            Queue("commit", self.commitments.story, 1),
            Queue("task", self.worklists.story, TASKS_AT_ONCE),
        )

    def _set_aside(self, path: Path, reason: str, study_uid: str) -> None:
        row = self.index.study(study_uid)
        self.quarantine.keep(
            path,
            reason,
            row.source if row else "archive",
            study_uid=study_uid,
            sop_instance_uid=names_in_file(path)[1],
        )

    def _earlier_of(self, study_uid: str, job_id: str) -> Sequence[Path]:
        """Find the reports that other jobs of the study have delivered, oldest first."""
        delivered = [d for d in self.index.deliveries(study_uid) if d.state == "delivered"]
        jobs = dict.fromkeys(d.job_id for d in reversed(delivered) if d.job_id != job_id)
        reports = [self.results.file(job, "sr.dcm") for job in jobs]
        return [report for report in reports if report]

    def _keep_report(self, report: Reported) -> bool:
        """Keep a report of storage commitment, whoever received it; say whether it is ours."""
        return self.proving.keep(report)

    def _prove(self, delivery: Try, stored: Sequence[Stored], within: Transaction) -> None:
        self.proving.begin(delivery, stored, within)

    def _changed(self, study_uid: str, within: Transaction) -> None:
        self.notices.show(study_uid, within=within)

    def _asked(self, study_uid: str, source: str) -> None:
        """Decide about a study that an Orthanc calls stable, or about which a person there asks.

        What ended badly is handed in again, and what is done is delivered there again, for the
        results may have been deleted.
        """
        row = self.index.study(study_uid)
        if row is None:
            return
        if row.state == "receiving":
            self.watcher.settled(study_uid)
        elif row.state in {"incomplete", "failed", "cancelled"}:
            self.requeue(study_uid)
        elif row.state == "done" and row.job_id and self.results_of(study_uid):
            tries = [d.attempts for d in self.deliveries(study_uid) if d.destination == source]
            self.outbox.post(study_uid, row.job_id, source, max(tries, default=0) + 1)
        self.notices.show(study_uid, source)

    # -- what the pages ask, beside what `Shown` answers ------------------------------------------

    def orthanc_trigger(self, peer: str, orthanc_id: str) -> None:
        """Take on a stable study of an Orthanc; LookupError when it is not configured."""
        self.peers.orthanc(peer)
        self.pull.trigger(ORTHANC + peer, orthanc_id)

    def dicomweb_trigger(self, peer: str, study_uid: str) -> None:
        """Take on a study of a DICOMweb archive; LookupError when it is not configured."""
        self.peers.dicomweb(peer)
        self.pull.trigger(DICOMWEB + peer, study_uid)

    def health(self) -> Mapping[str, Any]:
        """Return what a monitor asks: well or not, and the numbers behind it."""
        free_mb = self.archive.free_mb()
        has_space = free_mb >= self.config.listen.min_free_mb
        trouble = self.archive.trouble()
        return {
            "status": trouble or ("ok" if has_space else "disk full: images are refused"),
            "version": __version__,
            "free_mb": free_mb,
            "ae_title": self.config.listen.ae_title,
            "received": self.listener.counts,
        }
