"""Many small studies: most with nothing to assess, some with a phantom's spine, each its own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.phantom import make_study
from tests import builders

#: Every so manieth study is a phantom; the models run over all of them.
PHANTOM_EVERY = 25
_SLICES, _AXIAL_STEP, _SHRINK = 5, 4, 4


def write_studies(folder: Path, count: int) -> None:
    """Write studies, a hundred to a folder, as an export of an archive may look."""
    spine = list(_small_phantom(folder.parent / "phantom"))
    for number in range(count):
        place = folder / f"{number // 100:04}"
        place.mkdir(parents=True, exist_ok=True)
        is_phantom = number % PHANTOM_EVERY == 0
        images = _renamed(spine, number) if is_phantom else builders.mr_study(f"scale {number}")
        for image in images:
            image.save_as(place / f"{image.SOPInstanceUID}", enforce_file_format=True)


def _renamed(images: list[Dataset], number: int) -> Iterator[Dataset]:
    """Yield the same images under identities of their own."""
    for image in images:
        image.StudyInstanceUID = builders.uid("scale study", number)
        image.SeriesInstanceUID = builders.uid("scale series", number, image.SeriesDescription)
        image.SOPInstanceUID = builders.uid(
            "scale", number, image.SeriesDescription, image.InstanceNumber
        )
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        yield image


def _small_phantom(folder: Path) -> Iterator[Dataset]:
    """Yield a phantom with few slices, each a quarter as high and as wide."""
    study = make_study(7)
    study.write(folder)
    for series in sorted(folder.iterdir()):
        images = sorted((dcmread(path) for path in series.iterdir()), key=_place)
        middle = (len(images) - _SLICES) // 2
        is_axial = abs(images[0].ImageOrientationPatient[0]) > 0.7
        yield from map(
            _shrunk, images[::_AXIAL_STEP] if is_axial else images[middle : middle + _SLICES]
        )


def _place(image: Dataset) -> float:
    """Return where an image lies along its normal (mm)."""
    row, column = np.reshape(np.asarray(image.ImageOrientationPatient, float), (2, 3))
    return float(np.cross(row, column) @ np.asarray(image.ImagePositionPatient, float))


def _shrunk(image: Dataset) -> Dataset:
    rows, columns = (n // _SHRINK for n in image.pixel_array.shape)
    whole = image.pixel_array[: rows * _SHRINK, : columns * _SHRINK]
    small = whole.reshape(rows, _SHRINK, columns, _SHRINK).mean(axis=(1, 3)).astype("<u2")
    image.Rows, image.Columns = small.shape
    image.PixelSpacing = [spacing * _SHRINK for spacing in image.PixelSpacing]
    image.PixelData = small.tobytes()
    return image
