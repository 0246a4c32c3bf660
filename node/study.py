"""The story of one study, as a durable workflow: begin, find, write, deliver.

Each chapter is a step whose outcome the engine keeps: after ``kill -9`` the story goes on behind
the last finished one. What a chapter does is told in `analysis`; `outbox` delivers.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from node import analysis, result_folder
from node.config import Report
from node.errors import DiskFull, NotAssessable, Rejected, RetryLater
from node.inference.runtime import ModelStore
from node.jobs import EngineStopped, Step
from node.spine.findings import StudyFindings

log = structlog.get_logger()


@dataclass(frozen=True)
class StudyStory:
    """What the story needs; calling it tells the story for one instance set.

    Attributes
    ----------
    files_of : callable
        Content hashes to paths in the archive.
    folder_of : callable
        A job id to the folder it writes its results to.
    earlier_of : callable
        ``(study_uid, job_id)``: the reports delivered for this study by other jobs, oldest first.
    note : callable
        ``(study_uid, job_id, state, reasons)``: put the study's state into the index.
    deliver : callable
        ``(study_uid, job_id)``: put the results into the outbox.
    again : callable
        ``(study_uid, job_id, findings)``: the same once more, later, with the findings as far as
        they were made.
    set_aside : callable, optional
        ``(path, reason, study_uid)``: show an image that could not be used.
    keep : callable, optional
        A job id: let every host have what is in its result folder.
    """

    store: ModelStore
    settings: Report
    files_of: Callable[[list[str]], list[Path]]
    folder_of: Callable[[str], Path]
    earlier_of: Callable[[str, str], Sequence[Path]]
    note: Callable[[str, str, str, Sequence[str]], None]
    deliver: Callable[[str, str], None]
    again: Callable[[str, str, dict[str, Any] | None], None]
    set_aside: Callable[[Path, str, str], None] = lambda *_: None
    keep: Callable[[str], None] = lambda _: None

    def __call__(
        self,
        step: Step,
        job_id: str,
        study_uid: str,
        hashes: list[str],
        findings: dict[str, Any] | None = None,
    ) -> None:
        """Run the story for one instance set, given by the content hashes of its files.

        ``findings`` are those of an earlier run of the same set that could not be written: the
        models do not run twice because a disk was full.
        """
        say = log.bind(study_uid=study_uid, job_id=job_id)
        try:
            created = step("begin", self._begin, study_uid, job_id)
            if findings is None:
                findings = step("find", self._find, study_uid, hashes)
                say.info("findings made", status=findings["status"], reasons=findings["reasons"])
            step("write", self._write, study_uid, job_id, hashes, findings, created)
            step("deliver", self._deliver, study_uid, job_id, findings["reasons"])
        except RetryLater as error:
            say.warning("study waits", reason=str(error))
            step("again", self.again, study_uid, job_id, findings)
        except EngineStopped:
            raise  # the story goes on at the next start, behind its last finished chapter
        except Exception as error:  # noqa: BLE001 - the worker's edge: one study never stops the node
            say.exception("study failed")
            reason = _in_words(error)
            if not step("answer", self._answer, study_uid, job_id, hashes, reason):
                step("failed", self.note, study_uid, job_id, "failed", [reason])

    def _begin(self, study_uid: str, job_id: str) -> str:
        self.note(study_uid, job_id, "running", [])
        return analysis.now().isoformat()

    def _find(self, study_uid: str, hashes: list[str]) -> dict[str, Any]:
        files = self.files_of(hashes)
        try:
            with _staying(files):
                (taken,) = analysis.read(files)
                try:
                    findings, _ = analysis.find(taken, self.store)
                finally:
                    self._set_aside(taken, files)
        except NotAssessable as error:
            findings = analysis.nothing(study_uid, str(error))
        return findings.to_json()

    def _set_aside(self, taken: analysis.Taken, files: Sequence[Path]) -> None:
        places = {path.name: path for path in files}
        for name, reason in taken.unreadable.items():
            self.set_aside(places[name], reason, taken.study_uid)
        for sop_uid, reason in taken.undecodable.items():
            self.set_aside(taken.files[sop_uid], reason, taken.study_uid)

    def _write(
        self, study_uid: str, job_id: str, hashes: list[str], findings: dict[str, Any], created: str
    ) -> None:
        files, told = self.files_of(hashes), StudyFindings.from_json(findings)
        with _staying(files):
            (taken,) = analysis.read(files)
            analysis.require_one_patient(taken.headers.values())  # not even a report of the failure
            volumes = (
                analysis.load(taken, analysis.choose(taken))[0] if told.status != "rejected" else {}
            )
        when, folder = datetime.fromisoformat(created), self.folder_of(job_id)
        try:
            result_folder.write(
                folder,
                told,
                taken.known,
                volumes,
                settings=self.settings,
                created=when,
                earlier=self.earlier_of(study_uid, job_id),
            )
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DiskFull(f"no space for the results in {folder.parent}") from error
        self.keep(job_id)

    def _answer(self, study_uid: str, job_id: str, hashes: list[str], reason: str) -> bool:
        """Send a report that says why there is none: silence could be read as "normal".

        Returns
        -------
        bool
            False when not even that can be written.
        """
        findings = analysis.nothing(study_uid, reason)
        try:
            self._write(study_uid, job_id, hashes, findings.to_json(), analysis.now().isoformat())
            self._deliver(study_uid, job_id, [reason])
        except Exception:
            log.exception("no report of the failure", study_uid=study_uid, job_id=job_id)
            return False
        return True

    def _deliver(self, study_uid: str, job_id: str, reasons: list[str]) -> None:
        self.note(study_uid, job_id, "delivering", reasons)
        self.deliver(study_uid, job_id)


@contextmanager
def _staying(files: Sequence[Path]) -> Iterator[None]:
    """Raise RetryLater when files go away while they are read: that is no fault of the study.

    They may be copies out of an object store, in a folder that somebody is making room in.
    """
    there = [path for path in files if path.exists()]
    try:
        yield
    finally:
        if gone := sum(not path.exists() for path in there):
            raise RetryLater(f"{gone} files went away while they were read")


def _in_words(error: Exception) -> str:
    if isinstance(error, Rejected):
        return str(error)
    return f"{result_folder.FAULT} ({type(error).__name__}): see the log of this node"
