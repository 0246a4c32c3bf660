"""The phantom's images as files of other kinds: what a PACS may send of one and the same study."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import cycle, groupby
from pathlib import Path

from highdicom.legacy import LegacyConvertedEnhancedMRImage
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from tests.builders import uid
from tests.encoders import SYNTAXES

#: Type 2 attributes and others that real headers lack.
DISPENSABLE = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "SpecificCharacterSet", "SeriesNumber", "InstanceNumber",
    "WindowCenter", "WindowWidth", "BodyPartExamined", "PatientPosition",
)  # fmt: skip


def compressed(images: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write every series in every transfer syntax the reader decodes, an image each in turn."""
    paths = []
    for image, (_, encode) in zip(images, cycle(SYNTAXES.values()), strict=False):
        paths.append(folder / f"{image.SOPInstanceUID}.dcm")
        encode(paths[-1], image)
    return paths


def multi_frame(images: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write one enhanced object for each series, by highdicom, its frames in JPEG-LS."""
    paths = []
    for series, members in groupby(images, lambda d: str(d.SeriesInstanceUID)):
        classic = list(members)
        for image in classic:  # which classic MR need not have and the converter reads
            image.VolumetricProperties = "VOLUME"
        whole = LegacyConvertedEnhancedMRImage(
            classic, series, int(classic[0].SeriesNumber), uid("enhanced", series), 1
        )
        whole.compress(JPEGLSLossless, generate_instance_uid=False)
        paths.append(folder / f"{whole.SOPInstanceUID}.dcm")
        whole.save_as(paths[-1], enforce_file_format=True)
    return paths


def odd(images: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write inverted images with every second row left out, and hardly any header."""
    paths = []
    for image in images:
        pixels = image.pixel_array[::2]
        image.PixelData = (4095 - pixels).astype("<u2").tobytes()
        image.PhotometricInterpretation = "MONOCHROME1"
        image.Rows = len(pixels)
        image.PixelSpacing = [2 * image.PixelSpacing[0], image.PixelSpacing[1]]
        for keyword in DISPENSABLE:
            image.pop(keyword, None)
        paths.append(folder / f"{image.SOPInstanceUID}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    return paths


def two_axials(images: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write no sagittal T1, and the axial series twice: as it is, and coarser a second time."""
    sagittal = [d for d in images if abs(d.ImageOrientationPatient[1]) > 0.7]
    axial = [d for d in images if abs(d.ImageOrientationPatient[1]) <= 0.7]
    second = deepcopy(axial[::2])
    for image in second:
        image.SeriesInstanceUID = uid("second axial")
        image.SeriesNumber = 14
        image.SOPInstanceUID = uid("second axial", image.SOPInstanceUID)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    t2 = [d for d in sagittal if float(d.EchoTime) > 40]
    paths = []
    for image in (*t2, *axial, *second):
        paths.append(folder / f"{image.SOPInstanceUID}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    return paths


INPUTS: dict[str, Callable[[Sequence[Dataset], Path], list[Path]]] = {
    "every transfer syntax": compressed,
    "multi-frame": multi_frame,
    "inverted, not square, bare": odd,
    "two axials, no T1": two_axials,
}
