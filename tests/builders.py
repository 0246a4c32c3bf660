"""Small DICOM objects for tests, built with pydicom: legal, cheap, without a real patient."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

PATIENT_NAME = "Nobody^Test"
PATIENT_ID = "TEST-0001"

#: Header facts that make a series look like one of the three roles: description, TR and TE in
#: ms, and the direction cosines of the image (PS3.3 C.7.6.2.1.1).
SERIES = {
    "sagittal_t1": ("T1 TSE SAG", 600.0, 10.0, [0, 1, 0, 0, 0, -1]),
    "sagittal_t2": ("T2 TSE SAG", 3500.0, 100.0, [0, 1, 0, 0, 0, -1]),
    "axial_t2": ("T2 TSE AX", 4000.0, 105.0, [1, 0, 0, 0, 1, 0]),
}


def uid(*parts: object) -> str:
    """Return the same UID for the same parts, in every run."""
    return str(generate_uid(entropy_srcs=["lumbar-node tests", *map(str, parts)]))


def mr_image(
    study: str = "1",
    series: str = "sagittal_t2",
    number: int = 1,
    *,
    size: int = 64,
    **attributes: Any,
) -> FileDataset:
    """Return one MR image; the same arguments give the same image.

    Parameters
    ----------
    study, series : str
        Names the UIDs are derived from; a key of `SERIES` gives that role's headers.
    number : int
        InstanceNumber; the slice lies ``4 mm * number`` along the normal.
    size : int
        Rows and Columns.
    **attributes
        DICOM keywords to set or, with None, to delete.
    """
    description, tr, te, cosines = SERIES.get(series, SERIES["sagittal_t2"])
    image = _image(str(MRImageStorage), "MR", study=study, series=series, number=number, size=size)
    image.SeriesDescription = description
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "SE", "SK", ""
    image.MRAcquisitionType = "2D"
    image.RepetitionTime, image.EchoTime, image.EchoTrainLength = tr, te, 15
    image.MagneticFieldStrength = 1.5
    image.ImageOrientationPatient = cosines
    along = 4.0 * number - 30.0
    axial = cosines[0] == 1
    image.ImagePositionPatient = [-100.0, -100.0, along] if axial else [along, -100.0, 100.0]
    image.PixelSpacing = [200.0 / size, 200.0 / size]
    image.SliceThickness = image.SpacingBetweenSlices = 4.0
    image.FrameOfReferenceUID = uid("frame of reference", study)
    image.BodyPartExamined = "LSPINE"
    for keyword, value in attributes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image


def mr_study(study: str = "1", *, slices: int = 5, size: int = 64) -> Iterator[FileDataset]:
    """Yield the images of a study with all three roles, ``slices`` of each."""
    for series in SERIES:
        for number in range(1, slices + 1):
            yield mr_image(study, series, number, size=size)


def ct_image(study: str = "1") -> FileDataset:
    """Return one CT image."""
    return _image(str(CTImageStorage), "CT", study=study, series="ct", number=1, size=64)


def capture(study: str = "1") -> FileDataset:
    """Return one secondary capture."""
    kind = str(SecondaryCaptureImageStorage)
    image = _image(kind, "OT", study=study, series="capture", number=1, size=64)
    image.ConversionType = "WSD"
    return image


def part10(image: Dataset) -> bytes:
    """Return the bytes of a DICOM file."""
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_all(images: Iterator[FileDataset] | list[FileDataset], folder: Path) -> list[Path]:
    """Write files ``000.dcm``, ``001.dcm``, ... and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, image in enumerate(images):
        path = folder / f"{number:03}.dcm"
        path.write_bytes(part10(image))
        paths.append(path)
    return paths


def _image(
    sop_class: str, modality: str, *, study: str, series: str, number: int, size: int
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid("instance", study, series, number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID = sop_class
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = (
        uid("study", study),
        uid("series", study, series),
    )
    image.PatientName, image.PatientID = PATIENT_NAME, PATIENT_ID
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyDate, image.StudyTime = "20260101", "120000"
    image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "1", "", ""
    image.Modality, image.SeriesNumber, image.InstanceNumber = modality, 1, number
    image.Manufacturer, image.PatientPosition = "lumbar-node tests", "HFS"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = size
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    row, column = np.mgrid[:size, :size]
    pixels = (row * 7 + column * 3 + number * 11) % 4096
    image.PixelData = pixels.astype("<u2").tobytes()
    return image


def mr_image_of(pixels: NDArray[Any], bits: int, **attributes: Any) -> FileDataset:
    """Return an MR image with these pixels (..., rows, columns), of 8 or up to 16 bits.

    Parameters
    ----------
    pixels : array of int
        Negative values make it signed.
    bits : int
        BitsStored.
    **attributes
        For `mr_image`.
    """
    is_signed = bool(pixels.min() < 0)
    raw = pixels.astype("u1" if bits == 8 else "<i2" if is_signed else "<u2").tobytes()
    return mr_image(
        Rows=pixels.shape[-2],
        Columns=pixels.shape[-1],
        BitsAllocated=8 if bits == 8 else 16,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(is_signed),
        PixelData=raw + b"\0" * (len(raw) % 2),
        **attributes,
    )
