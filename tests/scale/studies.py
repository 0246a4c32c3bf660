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
_SLICES, _AXIAL_STEP, _SHRINK = 7, 4, 4
#: The UIDs of a study begin with this and six digits of its own.
_ROOT = "2.25.1"
_PATTERN = f"{_ROOT}000000"


def write_studies(folder: Path, count: int) -> None:
    """Write studies, a hundred to a folder, as an export of an archive may look."""
    spine = _files(_small_phantom(folder.parent / "phantom"))
    plain = _files(builders.mr_study())
    for number in range(count):
        place = folder / f"{number // 100:04}"
        place.mkdir(parents=True, exist_ok=True)
        own = f"{_ROOT}{number:06}".encode()  # as long as the pattern: nothing else moves
        for image, part10 in enumerate(plain if number % PHANTOM_EVERY else spine):
            path = place / f"{number:06}-{image}"
            path.write_bytes(part10.replace(_PATTERN.encode(), own))


def _files(images: Iterator[Dataset]) -> list[bytes]:
    """Return the files of a study whose UIDs begin with the pattern."""
    found, series = [], dict[str, int]()
    for number, image in enumerate(images):
        place = series.setdefault(str(image.SeriesInstanceUID), len(series))
        image.StudyInstanceUID = _PATTERN
        image.SeriesInstanceUID = f"{_PATTERN}.{place}"
        image.SOPInstanceUID = f"{_PATTERN}.{place}.{number}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        found.append(builders.part10(image))
    return found


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
