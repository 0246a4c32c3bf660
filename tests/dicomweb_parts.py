"""Messages and addresses of DICOMweb, for tests."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydicom.dataset import Dataset

BOUNDARY = "lumbar-node-tests"
MULTIPART = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}


def message(files: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a multipart/related message with one part for each DICOM file."""
    for part10 in files:
        yield f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield part10
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def parts_of(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Return the parts of a multipart answer: (Content-Type, contents)."""
    boundary = content_type.split("boundary=")[1].strip('"').encode()
    found = []
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, contents = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        found.append((lines["Content-Type"], contents.removesuffix(b"\r\n")))
    return found


def address(image: Dataset) -> str:
    """Return the path of an instance within the service."""
    return (
        f"/dicom-web/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}"
        f"/instances/{image.SOPInstanceUID}"
    )


def first(told: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute in DICOM JSON."""
    return told[tag]["Value"][0]
