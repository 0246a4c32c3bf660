"""One study told without an engine: read, choose, load, find, write (``lumbar-node analyse``).

`study` tells the same chapters as a durable workflow.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from node import __version__
from node.config import Report
from node.dicom.reading import reader
from node.dicom.reading.attributes import Attributes
from node.dicom.reading.decoder import Decoder
from node.errors import InvalidInstance, MixedPatients, NotAssessable
from node.inference import pipeline
from node.inference.runtime import ModelStore
from node.result_folder import write
from node.spine import series
from node.spine.anatomy import ROLE_OF, Role
from node.spine.findings import SeriesScore, SeriesUse, StudyFindings, nothing_assessed
from node.spine.series import SeriesChoice
from node.spine.volume import Volume


@dataclass(frozen=True)
class Taken:
    """The instances of one study, by SOP Instance UID, and what could not be read.

    Attributes
    ----------
    study_uid : str
    files, headers : dict of SOP Instance UID to path, to data set without pixels
    unreadable : dict of file name to reason
    damaged : dict of SOP Instance UID to data set
        Headers of unreadable files that still tell whose they are.
    undecodable : dict of SOP Instance UID to reason
        Images whose pixels `load` could not decode.
    """

    study_uid: str
    files: dict[str, Path] = field(default_factory=dict)
    headers: dict[str, Dataset] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, Dataset] = field(default_factory=dict)
    undecodable: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, Dataset]:
        """The headers that results are made with: those of readable files, if there are any."""
        return self.headers or self.damaged


def read(paths: Iterable[Path]) -> list[Taken]:
    """Read headers and group them by study; an unreadable file costs only itself.

    Returns
    -------
    list of Taken
        One for each Study Instance UID, in the order of first appearance.

    Raises
    ------
    NotAssessable
        When no file says which study it is of; the message names the first one's fault.
    """
    studies: dict[str, Taken] = {}
    foreign: dict[str, str] = {}
    for path in paths:
        header, fault = _header(path)
        if header is None:
            foreign[path.name] = fault
            continue
        uid, sop_uid = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
        taken = studies.setdefault(uid, Taken(uid))
        if fault:
            taken.unreadable[path.name] = fault
            taken.damaged[sop_uid] = header
        else:
            taken.files[sop_uid] = path
            taken.headers[sop_uid] = header
    if not studies:
        why = next(iter(foreign.values()), "the folder holds no files")
        raise NotAssessable(f"nothing to analyse: {why}")
    for taken in studies.values():
        taken.unreadable.update(foreign)
    return list(studies.values())


def _header(path: Path) -> tuple[Dataset | None, str]:
    """Return a file's header, and its fault when it cannot be used; None when it is nobody's."""
    try:
        return reader.read_header(path), ""
    except InvalidInstance as error:
        try:
            return reader.read_header(path, needs_pixels=False), str(error)
        except InvalidInstance:
            return None, str(error)


def require_one_patient(headers: Iterable[Dataset]) -> None:
    """Refuse a study whose images name several patients (rule IN-05).

    Names are compared without case and without the marks between their parts, which archives
    write differently; a name or identifier that is missing contradicts nobody.

    Raises
    ------
    MixedPatients
        Without saying who they are.
    """
    names: set[str] = set()
    identifiers: set[str] = set()
    for header in headers:
        known = Attributes(header)
        name = known.text("PatientName").partition("=")[0].replace("^", " ")
        names.add(" ".join(name.casefold().split()))
        identifiers.add(known.text("PatientID"))
    for what, found in (("PatientID", identifiers - {""}), ("PatientName", names - {""})):
        if len(found) > 1:
            raise MixedPatients(
                f"its images have {len(found)} different values of {what}: nothing is assessed or "
                "delivered; correct the study in the archive and send it again"
            )


def choose(taken: Taken) -> SeriesChoice:
    """Choose the series for each role from header physics and geometry.

    Raises
    ------
    NotAssessable
        When none can be chosen.
    """
    if not taken.files:
        faults = (why.removeprefix(f"{name}: ") for name, why in taken.unreadable.items())
        raise NotAssessable(f"no image of the study can be read: {next(faults)}")
    return series.choose(reader.facts((taken.files[uid], h) for uid, h in taken.headers.items()))


def load(taken: Taken, choice: SeriesChoice) -> tuple[dict[Role, Volume], dict[str, str]]:
    """Decode the chosen series into volumes, in millimetres of the patient.

    Returns
    -------
    volumes : dict of Role to Volume
    left_out : dict of SOP Instance UID to reason
        Images whose pixels cannot be decoded; each costs only itself.
    """
    left_out = taken.undecodable
    with Decoder() as decoder:
        volumes = {
            role: reader.load_volume(role, candidate, taken.files, left_out, decoder)
            for role, candidate in choice.chosen.items()
        }
    return {role: volume for role, volume in volumes.items() if volume.slices}, left_out


def find(taken: Taken, store: ModelStore) -> tuple[StudyFindings, dict[Role, Volume]]:
    """Choose, load and run the three stages: all 25 findings, each assessed or with a reason.

    Raises
    ------
    NotAssessable
        When the study holds nothing this node may assess.
    MixedPatients
        When its images name several patients.
    """
    require_one_patient(taken.headers.values())
    started = time.perf_counter()
    choice = choose(taken)
    volumes, left_out = load(taken, choice)
    read_ms = (time.perf_counter() - started) * 1000
    found = pipeline.find(volumes, store)
    undecoded = _undecoded(taken, choice, volumes, left_out)
    chosen = {role: choice.chosen.get(role) for role in Role}
    findings = StudyFindings(
        study_uid=taken.study_uid,
        node_version=__version__,
        findings=tuple(
            f.not_assessed(undecoded[role])
            if (role := ROLE_OF[f.condition.group]) in undecoded
            else f
            for f in found.findings
        ),
        models=store.uses(),
        series={
            role: SeriesUse(c.series_uid, c.score, c.reasons) if c else None
            for role, c in chosen.items()
        },
        other_series=choice.others,
        candidates=tuple(
            SeriesScore(c.series_uid, c.name, c.role, c.score, dict(c.parts), c.reasons)
            for c in choice.candidates
        ),
        timings_ms={"read": read_ms, **found.timings_ms},
    )
    unread = [*taken.unreadable.values(), *left_out.values()]
    return replace(findings, reasons=_reasons(findings, unread)), volumes


def _undecoded(
    taken: Taken,
    choice: SeriesChoice,
    volumes: Mapping[Role, Volume],
    left_out: Mapping[str, str],
) -> dict[Role, str]:
    """Say why a series that was chosen has no image to look at.

    The files' names are left out, since a person may have named them after the patient.
    """
    why = {}
    for role, candidate in choice.chosen.items():
        if role not in volumes:
            uid = candidate.frames[0].sop_instance_uid
            fault = left_out[uid].removeprefix(f"{taken.files[uid].name}: ")
            why[role] = f"no image of the {role.label} series can be decoded: {fault}"
    return why


def _reasons(findings: StudyFindings, unread: Sequence[str]) -> tuple[str, ...]:
    """Say why a study is not complete: each distinct reason once, with how many it covers."""
    counts: dict[str, int] = {}
    for finding in findings.findings:
        if finding.reason:
            why = finding.reason.split(" (")[0]  # without the figures, which differ
            counts[why] = counts.get(why, 0) + 1
    told = [f"{n} of 25 not assessed: {why}" for why, n in counts.items()]
    return (*told, *(f"not read: {why}" for why in unread))


def nothing(study_uid: str, reason: str) -> StudyFindings:
    """Return the findings of a study that could not be run at all: 25 times the reason."""
    reason = reason.removeprefix(f"study {study_uid}: ")  # the results lie in that study
    return StudyFindings(study_uid, __version__, nothing_assessed(reason), reasons=(reason,))


def analyse(taken: Taken, store: ModelStore, folder: Path, *, settings: Report) -> StudyFindings:
    """Tell the whole story of one study at once, without network or engine.

    A study that cannot be assessed gets results too, which say why.
    """
    try:
        findings, volumes = find(taken, store)
    except NotAssessable as error:
        findings, volumes = nothing(taken.study_uid, str(error)), {}
    write(folder, findings, taken.known, volumes, settings=settings, created=now())
    return findings


def now() -> datetime:
    """Now, with this node's own offset from UTC: people read it on the results."""
    return datetime.now(UTC).astimezone()
