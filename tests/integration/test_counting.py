"""Asking a real PACS (Orthanc) how many images it holds of a study."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import DicomwebPeer
from node.dicom import dicomweb
from node.dicom.counting import count_images
from node.errors import DestinationUnavailable
from node.loopback import free_port
from tests.builders import SERIES, ct_image, mr_study, part10, uid
from tests.orthanc_server import DICOMWEB_PLUGIN, OrthancServer


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    with OrthancServer(
        tmp_path_factory.mktemp("pacs"),
        ae_title="PACS",
        settings={"DicomAlwaysAllowFind": True},
        plugins=[DICOMWEB_PLUGIN],
    ) as it:
        for image in [*mr_study(slices=3), ct_image()]:
            it.upload(part10(image))
        yield it


def test_the_mr_series_of_a_study_are_counted(pacs: OrthancServer) -> None:
    """Each with its number of images; what is not MR does not count."""
    address = f"PACS@127.0.0.1:{pacs.dicom_port}"
    counts = count_images(address, "LUMBAR", uid("study", "1"))
    assert counts == {uid("series", "1", name): 3 for name in SERIES}


def test_a_study_the_pacs_does_not_know_has_no_series(pacs: OrthancServer) -> None:
    """An empty answer, not an error: the caller says that it tells nothing."""
    assert count_images(f"PACS@127.0.0.1:{pacs.dicom_port}", "LUMBAR", "1.2.3") == {}


def test_the_same_counts_over_dicomweb(pacs: OrthancServer) -> None:
    """QIDO-RS and C-FIND tell the same; a study that is not there has no series."""
    peer = DicomwebPeer(name="pacs", url=f"{pacs.url}/dicom-web")
    counts = dicomweb.count_images(peer, uid("study", "1"))
    assert counts == {uid("series", "1", name): 3 for name in SERIES}
    assert dicomweb.count_images(peer, "1.2.3") == {}


def test_a_pacs_that_lets_nobody_ask_is_told_apart(tmp_path: Path) -> None:
    """The association or the query is refused: unavailable, in words."""
    settings = {"DicomAlwaysAllowFind": False}
    with (
        OrthancServer(tmp_path, ae_title="PACS", settings=settings) as strict,
        pytest.raises(DestinationUnavailable, match=r"PACS@127\.0\.0\.1"),
    ):
        count_images(f"PACS@127.0.0.1:{strict.dicom_port}", "LUMBAR", "1.2.3")


def test_a_pacs_that_is_down_is_unavailable() -> None:
    """Nobody listens there."""
    with pytest.raises(DestinationUnavailable, match="cannot be reached"):
        count_images(f"PACS@127.0.0.1:{free_port()}", "LUMBAR", "1.2.3")
