"""Compare what was promised with what is there: instances, studies and results."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydicom import Dataset, dcmread

from node.config import load
from node.result_folder import delivery_order
from node.storage.index import Index
from node.storage.opening import open_archive, open_results
from tests.chaos.destination import Destination
from tests.chaos.senders import Ledger
from tests.node_process import NodeProcess
from tests.orthanc_server import OrthancServer
from tests.receiving import dataset

_REPORT = "1.2.840.10008.5.1.4.1.1.88.34"


@dataclass(frozen=True)
class Found:
    """What is there of what was promised.

    Attributes
    ----------
    acknowledged : int
        Instances that a sender was told Success for.
    released : int
        Of these: deleted by the node since every delivery of their study is proven; it does so
        when its disk is full.
    lost, altered, not_indexed : list of str
        UIDs of the others that are not in an archive, there with other bytes, or without a row in
        the index.
    studies : int
        Studies to be analysed that came whole.
    without_result : list of str
        Those of them whose last result is not whole at a destination.
    results : dict of destination to int
        Reports, by their UIDs.
    versions : dict of destination to int
        What they are of: different pairs of study and instance set (and software version).
    foreign : int
        Objects at a destination that are of no result the node has.
    repeated : int
        Objects that the moody destination was sent again, under the same UID.
    """

    acknowledged: int
    released: int
    lost: list[str]
    altered: list[str]
    not_indexed: list[str]
    studies: int
    without_result: list[str]
    results: dict[str, int]
    versions: dict[str, int]
    foreign: int
    repeated: int

    @property
    def duplicates(self) -> int:
        """Reports of different UIDs for one study and version, at all destinations."""
        return sum(self.results.values()) - sum(self.versions.values())

    @property
    def is_good(self) -> bool:
        """Something was sent, nothing is missing, nothing is there twice."""
        missing = self.lost or self.altered or self.not_indexed or self.without_result
        return self.acknowledged > 0 and not (missing or self.duplicates or self.foreign)


def count(
    nodes: Sequence[NodeProcess], pacs: OrthancServer, moody: Destination, ledger: Ledger
) -> Found:
    """Compare what was acknowledged with what is there; the first node is that under trouble."""
    stored, rows, released = _kept(nodes)
    results = {job_id: uids for one in nodes for job_id, uids in _results(one)}
    promised = ledger.acknowledged
    due = {
        u: contents for u, contents in promised.items() if u not in released or contents in stored
    }
    held: dict[str, dict[str, Dataset]] = {
        "pacs": {uid: _header(io.BytesIO(raw)) for uid, raw in pacs.files().items()},
        "moody": {path.stem: _header(path) for path in moody.files()},
    }
    own = {uid for uids in results.values() for uid in uids}
    final = _final(nodes[0], ledger.whole)
    reports = {name: _reports(objects) for name, objects in held.items()}
    arrivals = moody.arrivals()
    return Found(
        acknowledged=len(promised),
        released=len(promised) - len(due),
        lost=[uid for uid, contents in due.items() if contents not in stored],
        altered=[
            uid
            for uid, contents in due.items()
            if uid in rows and rows[uid] != stored.get(contents)
        ],
        not_indexed=[uid for uid in promised if uid not in rows],
        studies=len(ledger.whole),
        without_result=[
            f"{study}: its result is not whole at {name}"
            for name, objects in held.items()
            for study, job_id in final.items()
            if not results.get(job_id) or results[job_id] - set(objects)
        ],
        results={name: len(found) for name, found in reports.items()},
        versions={name: len(set(found.values())) for name, found in reports.items()},
        foreign=sum(uid not in own for objects in held.values() for uid in objects),
        repeated=len(arrivals) - len(set(arrivals)),
    )


def _kept(nodes: Sequence[NodeProcess]) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Return the files of data sets, by hash; those of instances, by UID; what was released."""
    stored: dict[str, str] = {}
    rows: dict[str, str] = {}
    released: set[str] = set()
    for node in nodes:
        archive = open_archive(load(node.config))
        hashes = [file.sha256 for file in archive.iterate()]
        for digest, path in zip(hashes, archive.paths(hashes), strict=True):
            stored[sha256(dataset(path.read_bytes())).hexdigest()] = digest
        with _index(node) as index:
            for study in index.studies(1_000_000):
                its = {r.sop_instance_uid: r.sha256 for r in index.instances(study.study_uid)}
                rows |= its
                if _is_proven(index, study.study_uid):
                    gone = index.released(study.study_uid)
                    released |= {uid for uid, digest in its.items() if digest in gone}
    return stored, rows, released


def _is_proven(index: Index, study_uid: str) -> bool:
    """Tell whether the last results of a study are proven to be at their destinations."""
    row = index.study(study_uid)
    its = [d for d in index.deliveries(study_uid) if row and d.job_id == row.job_id]
    return bool(its) and all(d.state == "delivered" and d.proof for d in its)


def _results(node: NodeProcess) -> Iterator[tuple[str, set[str]]]:
    """Yield each job that has results, with the UIDs of its objects."""
    results = open_results(load(node.config))
    with _index(node) as index:
        jobs = {
            job_id
            for study in index.studies(1_000_000)
            for job_id in (study.job_id, *(d.job_id for d in index.deliveries(study.study_uid)))
        }
    for job_id in filter(None, jobs):
        if folder := results.whole(job_id):
            files = delivery_order(folder)
            yield job_id, {str(_header(path).SOPInstanceUID) for path in files}


def _final(node: NodeProcess, studies: Sequence[str]) -> dict[str, str]:
    """Return each study's last job."""
    with _index(node) as index:
        return {uid: (row and row.job_id) or "" for uid in studies for row in (index.study(uid),)}


def _reports(objects: Mapping[str, Dataset]) -> dict[str, tuple[str, frozenset[str]]]:
    """Return, for each report, its study, and the images it was made of with what made it."""
    return {
        uid: (str(report.StudyInstanceUID), frozenset(_evidence(report)))
        for uid, report in objects.items()
        if report.SOPClassUID == _REPORT
    }


def _evidence(report: Dataset) -> Iterator[str]:
    yield str(report.SoftwareVersions)
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in report.get(keyword, ()):
            for series in study.ReferencedSeriesSequence:
                yield from (
                    str(one.ReferencedSOPInstanceUID) for one in series.ReferencedSOPSequence
                )


def _header(source: Path | io.BytesIO) -> Dataset:
    return dcmread(source, stop_before_pixels=True)


@contextmanager
def _index(node: NodeProcess) -> Iterator[Index]:
    index = Index(load(node.config).database)
    try:
        yield index
    finally:
        index.close()
