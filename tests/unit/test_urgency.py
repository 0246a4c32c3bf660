"""What a header says about how urgent its study is."""

import pytest
from pydicom import Dataset

from node.dicom.reading.reader import is_urgent


@pytest.mark.parametrize(
    ("priority", "urgent"),
    [
        ("STAT", True),
        ("HIGH", True),
        (" stat ", True),
        ("ROUTINE", False),
        ("MEDIUM", False),
        ("LOW", False),
        ("STATISTICS", False),
        ("", False),
        (None, False),
        (["LOW", "HIGH"], True),
    ],
)
@pytest.mark.parametrize("place", ["image", "request", "second request"])
def test_urgent_is_what_the_request_says(
    priority: str | list[str] | None, urgent: bool, place: str
) -> None:
    """Requested Procedure Priority (0040,1003), beside the image's attributes or in any request."""
    image, first, second = Dataset(), Dataset(), Dataset()
    image.RequestAttributesSequence = [first, second]
    places = {"image": image, "request": first, "second request": second}
    if priority is not None:
        places[place].RequestedProcedurePriority = priority

    assert is_urgent(image) is urgent


def test_a_header_without_any_request_is_not_urgent() -> None:
    """Most scanners say nothing."""
    assert not is_urgent(Dataset())
