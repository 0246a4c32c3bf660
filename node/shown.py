"""What a node shows of its studies: rows, findings, pages, and the DICOM objects it holds."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from node.config import Config
from node.dicom.reading.limits import check_file
from node.result_folder import delivery_order
from node.spine.anatomy import LEVELS
from node.spine.instances import InstanceRow
from node.storage.archive import Archive
from node.storage.index import Index
from node.storage.results import Results
from node.storage.rows import DeliveryRow, StudyRow
from node.watch import EVERY
from node.web.parts import Held


class Shown:
    """The reading half of `node.web.parts.WebParts`.

    Parameters
    ----------
    config : Config
    archive : Archive
    results : Results
    index : Index
    """

    def __init__(self, config: Config, archive: Archive, results: Results, index: Index) -> None:
        self.config = config
        self.archive = archive
        self.results = results
        self.index = index

    def result_folder(self, job_id: str) -> Path:
        """Return a folder with a job's results; FileNotFoundError when it has none."""
        folder = self.results.whole(job_id)
        if folder is None:
            raise FileNotFoundError(f"job {job_id} has no results")
        return folder

    def studies(self) -> Sequence[StudyRow]:
        """Return the newest studies, newest first."""
        return self.index.studies()

    def study(self, study_uid: str) -> StudyRow | None:
        """Return one study, or None when the node does not hold it."""
        return self.index.study(study_uid)

    def deliveries(self, study_uid: str) -> Sequence[DeliveryRow]:
        """Return the deliveries of the study's present job."""
        row = self.index.study(study_uid)
        return [d for d in self.index.deliveries(study_uid) if row and d.job_id == row.job_id]

    def is_delivered(self, study_uid: str, destination: str) -> bool:
        """Tell whether the results of the study's present job have arrived somewhere."""
        its = [d for d in self.deliveries(study_uid) if d.destination == destination]
        return any(d.state == "delivered" for d in its)

    def findings(self, study_uid: str) -> dict[str, Any] | None:
        """Return the contents of the study's ``findings.json``, or None when there are none yet."""
        path = self._result(study_uid, "findings.json")
        if path is None:
            return None
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found

    def page_names(self, study_uid: str) -> Sequence[str]:
        """Return the names of the study's pages, in reading order."""
        job_id = self._job(study_uid)
        there = self.results.names(job_id) if job_id else ()
        names = ("summary", *(level.value for level in LEVELS))
        return [name for name in names if _page(name) in there]

    def page(self, study_uid: str, name: str) -> bytes | None:
        """Return one page as PNG; called only with a name that `page_names` gave."""
        path = self._result(study_uid, _page(name))
        return path.read_bytes() if path else None

    @property
    def ignores_others(self) -> bool:
        """Whether objects that are not kept are taken for a success all the same."""
        return self.config.listen.accept_and_ignore

    def held_studies(self) -> Sequence[str]:
        """Return the UID of every study, the newest first."""
        return [row.study_uid for row in self.index.studies(EVERY)]

    def held(self, study_uid: str) -> Sequence[Held]:
        """Return the images and the results of a study; nothing when it is not held."""
        received = [
            Held(
                row.study_uid,
                row.series_uid,
                row.sop_instance_uid,
                row.sop_class_uid,
                row.transfer_syntax_uid,
                row.sha256,
                partial(self.archive.path, row.sha256),
            )
            for row in self._kept(study_uid)
        ]
        return [*received, *map(_held, self.result_files(study_uid))]

    def held_instances(self, study_uid: str) -> frozenset[str]:
        """Return the SOP Instance UIDs of the images whose files are here."""
        return frozenset(row.sop_instance_uid for row in self._kept(study_uid))

    def result_files(self, study_uid: str) -> Sequence[Path]:
        """Return the DICOM objects that came of a study's last job, in delivery order."""
        folder = self.results_of(study_uid)
        return delivery_order(folder) if folder else []

    def results_of(self, study_uid: str) -> Path | None:
        """Return a folder with all results of the study's last job; None when it has none yet."""
        job_id = self._job(study_uid)
        return self.results.whole(job_id) if job_id else None

    def _result(self, study_uid: str, name: str) -> Path | None:
        job_id = self._job(study_uid)
        return self.results.file(job_id, name) if job_id else None

    def _job(self, study_uid: str) -> str | None:
        row = self.index.study(study_uid)
        job_id = row.job_id if row else None
        # A copy that some cache still has is not shown either.
        return None if job_id is None or self.index.results_deleted(job_id) else job_id

    def results_deleted(self, study_uid: str) -> datetime | None:
        """Return when the results of the study's last job were deleted; None when they were not."""
        row = self.index.study(study_uid)
        return self.index.results_deleted(row.job_id) if row and row.job_id else None

    def _kept(self, study_uid: str) -> Sequence[InstanceRow]:
        """Return the images whose files have not been deleted after delivery."""
        released = self.index.released(study_uid)
        return [row for row in self.index.instances(study_uid) if row.sha256 not in released]


def _page(name: str) -> str:
    return f"pages/{name}.png"


@lru_cache(maxsize=4096)
def _held(path: Path) -> Held:
    """Read what identifies a result; its file never changes."""
    facts = check_file(path)
    return Held(
        facts.study_uid,
        facts.series_uid,
        facts.sop_instance_uid,
        facts.sop_class_uid,
        facts.transfer_syntax_uid,
        str(path),
        lambda: path,
    )
