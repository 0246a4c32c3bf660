"""From DICOM files to the facts and the volumes the core works with.

Classic MR (PS3.3 A.4), Enhanced MR and Legacy Converted Enhanced MR (A.36, A.71) give the same
facts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset

from node.dicom.reading.attributes import Attributes, frame_attributes
from node.dicom.reading.header import read_header, sop_class
from node.dicom.reading.pixels import load_volume
from node.spine.facts import FrameFacts, SeriesFacts
from node.spine.geometry import Plane

__all__ = ["facts", "grouped", "instance_facts", "is_urgent", "load_volume", "read_header"]

_GE_THREE_PLANES = 256
#: Of Requested Procedure Priority (PS3.3 C.4.11).
_URGENT = frozenset({"STAT", "HIGH"})
_GE_COMPONENT = {1: "PHASE MAP", 2: "REAL", 3: "IMAGINARY"}


def facts(headers: Iterable[tuple[Path, Dataset]]) -> tuple[SeriesFacts, ...]:
    """Group headers into series.

    Parameters
    ----------
    headers : iterable of (path, Dataset)
        As `read_header` returns them, in any order; a SOPInstanceUID seen before is skipped.

    Returns
    -------
    tuple of SeriesFacts
        By series UID; it does not depend on the order of `headers`.
    """
    return grouped(instance_facts(header) for _, header in headers)


def grouped(instances: Iterable[SeriesFacts]) -> tuple[SeriesFacts, ...]:
    """Put the facts of single instances together, as `facts` does with their headers."""
    unique = {one.frames[0].sop_instance_uid: one for one in reversed(list(instances))}
    by_series: dict[str, list[SeriesFacts]] = {}
    for _, one in sorted(unique.items()):
        by_series.setdefault(one.series_uid, []).append(one)
    return tuple(
        replace(members[0], frames=tuple(f for one in members for f in one.frames))
        for _, members in sorted(by_series.items())
    )


def instance_facts(header: Dataset) -> SeriesFacts:
    """Return the facts of one instance: its series, as far as this one instance tells."""
    first = next(frame for _, frame in frame_attributes(header))
    return SeriesFacts(
        series_uid=Attributes(header).text("SeriesInstanceUID"),
        study_uid=first.text("StudyInstanceUID"),
        sop_class_uid=sop_class(header),
        modality=first.text("Modality").upper(),
        frames=tuple(_frames(header)),
        number=first.integer("SeriesNumber"),
        description=first.text("SeriesDescription"),
        protocol=first.text("ProtocolName"),
        body_part=first.text("BodyPartExamined"),
        study_description=first.text("StudyDescription"),
        scanning_sequence=_scanning_sequence(first),
        sequence_name=first.text("SequenceName") or first.text("PulseSequenceName"),
        scan_options=_scan_options(first),
        acquisition_type=first.text("MRAcquisitionType").upper(),
        contrast_agent=_contrast_agent(first),
        manufacturer=first.text("Manufacturer"),
        model=first.text("ManufacturerModelName"),
        frame_of_reference_uid=first.text("FrameOfReferenceUID"),
    )


def is_urgent(header: Dataset) -> bool:
    """Tell whether the study was requested as urgent: (0040,1003), also inside the request."""
    known = Attributes(header, *Attributes(header).items("RequestAttributesSequence"))
    return bool(_URGENT.intersection(known.words("RequestedProcedurePriority")))


def _frames(header: Dataset) -> Iterator[FrameFacts]:
    uid = Attributes(header).text("SOPInstanceUID")
    series_uid = Attributes(header).text("SeriesInstanceUID")
    for number, frame in frame_attributes(header):
        plane, problem = _plane(frame, number)
        yield FrameFacts(
            sop_instance_uid=uid,
            frame_number=number,
            plane=plane,
            problem=problem,
            image_type=_image_type(frame),
            echo_time=frame.positive("EffectiveEchoTime") or frame.positive("EchoTime"),
            repetition_time=frame.positive("RepetitionTime"),
            inversion_time=frame.positive("InversionTimes") or frame.positive("InversionTime"),
            acquisition_number=_first(frame, "FrameAcquisitionNumber", "AcquisitionNumber"),
            temporal_position=_first(frame, "TemporalPositionIndex", "TemporalPositionIdentifier"),
            acquired=_acquired(frame),
            series_uid=series_uid,
        )


def _plane(frame: Attributes, number: int | None) -> tuple[Plane | None, str]:
    if number is None and (frame.integer("NumberOfFrames") or 1) > 1:
        return None, "a multi-frame object without functional groups"
    try:
        return Plane.from_header(
            frame.numbers("ImagePositionPatient"),
            frame.numbers("ImageOrientationPatient"),
            frame.numbers("PixelSpacing"),
            frame.integer("Rows"),
            frame.integer("Columns"),
        ), ""
    except ValueError as error:
        return None, str(error)


def _image_type(frame: Attributes) -> tuple[str, ...]:
    """Return FrameType or ImageType, with what vendors say elsewhere appended."""
    kinds = frame.words("FrameType") or frame.words("ImageType")
    kinds += ("",) * (2 - len(kinds))
    component = frame.text("ComplexImageComponent").upper()
    if component in {"PHASE", "REAL", "IMAGINARY"}:
        kinds += (component,)
    ge_component = frame.private(0x0043, "GEMS_PARM_01", 0x2F)
    if ge_component in _GE_COMPONENT:
        kinds += (_GE_COMPONENT[int(ge_component)],)
    if frame.private(0x0019, "GEMS_ACQU_01", 0x17) == _GE_THREE_PLANES:
        kinds += ("LOCALIZER",)
    if frame.text("ConversionType"):
        # The SC Equipment module (PS3.3 C.8.6.1) has no place in an MR image.
        kinds += ("SECONDARY CAPTURE",)
    return kinds


def _scanning_sequence(frame: Attributes) -> tuple[str, ...]:
    """Return ScanningSequence, or the enhanced attributes in its terms (PS3.3 C.8.13.4)."""
    classic = frame.words("ScanningSequence")
    if classic:
        return classic
    echo = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}
    found = echo.get(frame.text("EchoPulseSequence").upper(), ())
    if frame.text("EchoPlanarPulseSequence").upper() == "YES":
        found += ("EP",)
    if frame.text("InversionRecovery").upper() == "YES":
        found += ("IR",)
    return found


def _scan_options(frame: Attributes) -> tuple[str, ...]:
    options = frame.words("ScanOptions")
    suppressed = "FAT" in frame.text("SpectrallySelectedSuppression").upper()
    if suppressed or frame.text("SpectrallySelectedExcitation").upper() == "WATER":
        options += ("FS",)
    return options


def _contrast_agent(frame: Attributes) -> str:
    named = frame.text("ContrastBolusAgent")
    coded = frame.items("ContrastBolusAgentSequence")
    return named or (Attributes(coded[0]).text("CodeMeaning") if coded else "")


def _acquired(frame: Attributes) -> str:
    whole = frame.text("FrameAcquisitionDateTime") or frame.text("AcquisitionDateTime")
    if whole:
        return whole
    if frame.text("AcquisitionTime"):
        return frame.text("AcquisitionDate") + frame.text("AcquisitionTime")
    return frame.text("SeriesDate") + frame.text("SeriesTime")


def _first(frame: Attributes, *keywords: str) -> int | None:
    return next((v for k in keywords if (v := frame.integer(k)) is not None), None)
