"""What a destination accepts decides what it gets: DCMTK's storescp, pynetdicom and Orthanc."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt

from node.config import Destination
from node.dicom import statuses
from node.errors import DeliveryRefused
from node.exchange.delivery import deliver
from node.loopback import free_port
from node.results import read_report
from tests.conformance.cases import Case, saved
from tests.orthanc_server import OrthancServer
from tests.receiving import DCMTK_ENVIRONMENT
from tests.results_study import small_study
from tests.waiting import answers, wait_for

CAPTURE, OVERLAY = "SecondaryCaptureImageStorage", "GrayscaleSoftcopyPresentationStateStorage"
KEYS, PDF = "KeyObjectSelectionDocumentStorage", "EncapsulatedPDFStorage"
LEFT_OUT = (
    "left out, not accepted: Grayscale Softcopy Presentation State (3 objects), "
    "Encapsulated PDF (1 object), "
)

PROFILE = """\
[[TransferSyntaxes]]
[Plain]
TransferSyntax1 = LittleEndianImplicit
TransferSyntax2 = LittleEndianExplicit
[[PresentationContexts]]
[Some]
{contexts}
[[Profiles]]
[Only]
PresentationContexts = Some
"""

#: What DCMTK's storescp is told to accept, the classes that arrive, and what the node tells.
DESTINATIONS = {
    "everything": (
        [CAPTURE, OVERLAY, KEYS, PDF, "Comprehensive3DSRStorage", "ComprehensiveSRStorage"],
        {
            SecondaryCaptureImageStorage,
            GrayscaleSoftcopyPresentationStateStorage,
            EncapsulatedPDFStorage,
            Comprehensive3DSRStorage,
            KeyObjectSelectionDocumentStorage,
        },
        "",
    ),
    "no 3D SR, no overlays": (
        [CAPTURE, "EnhancedSRStorage", "ComprehensiveSRStorage", "BasicTextSRStorage"],
        {SecondaryCaptureImageStorage, ComprehensiveSRStorage},
        "report sent as Comprehensive SR, since Comprehensive 3D SR is not accepted; "
        + LEFT_OUT
        + "Key Object Selection Document (1 object)",
    ),
    "an old PACS": (
        [CAPTURE, OVERLAY, PDF, "EnhancedSRStorage"],
        {
            SecondaryCaptureImageStorage,
            GrayscaleSoftcopyPresentationStateStorage,
            EncapsulatedPDFStorage,
            EnhancedSRStorage,
        },
        "report sent as Enhanced SR, since Comprehensive 3D SR is not accepted; "
        "left out, not accepted: Key Object Selection Document (1 object)",
    ),
    "images only": (
        [CAPTURE, "MRImageStorage", "BasicTextSRStorage"],
        {SecondaryCaptureImageStorage},
        LEFT_OUT + "Comprehensive 3D SR or Comprehensive SR or Enhanced SR (1 object), "
        "Key Object Selection Document (1 object)",
    ),
    "a store of reports": (
        ["Comprehensive3DSRStorage"],
        {Comprehensive3DSRStorage},
        "left out, not accepted: Secondary Capture Image (6 objects), "
        "Grayscale Softcopy Presentation State (3 objects), Encapsulated PDF (1 object), "
        "Key Object Selection Document (1 object)",
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A small study's results as files."""
    return saved("everything", small_study(), tmp_path_factory.mktemp("results"))


@contextmanager
def storescp(accepted: Sequence[str], folder: Path) -> Iterator[Destination]:
    """Run DCMTK's storescp with a configuration that accepts these SOP classes only."""
    profile = folder / "storescp.cfg"
    contexts = "\n".join(f"PresentationContext{i} = {c}\\Plain" for i, c in enumerate(accepted, 1))
    profile.write_text(PROFILE.format(contexts=contexts), "utf-8")
    arrived, port = folder / "arrived", free_port()
    arrived.mkdir()
    options: list[str | Path] = ["-xf", profile, "Only", "-od", arrived, str(port)]
    process = subprocess.Popen(["/usr/bin/storescp", *options], env=DCMTK_ENVIRONMENT)
    try:
        wait_for(lambda: answers(port), what="storescp")
        yield Destination(name="pacs", host="127.0.0.1", port=port, ae_title="PACS")
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.parametrize("kind", DESTINATIONS)
def test_dcmtk_gets_what_it_accepts_and_the_node_says_what_it_left_out(
    kind: str, results: Case, tmp_path: Path
) -> None:
    """Best report first; captures always; the rest only where it is wanted; findings unharmed."""
    accepted, classes, told = DESTINATIONS[kind]
    with storescp(accepted, tmp_path) as destination:
        assert deliver(results.files, destination, "NODE").message == told
        assert (
            deliver(results.files, destination, "NODE").message == told
        )  # the same instances again
    arrived = [pydicom.dcmread(path) for path in (tmp_path / "arrived").iterdir()]

    assert {a.SOPClassUID for a in arrived} == classes
    captures = [a for a in arrived if a.SOPClassUID == SecondaryCaptureImageStorage]
    assert len(captures) == (6 if SecondaryCaptureImageStorage in classes else 0)
    for report in (a for a in arrived if a.Modality == "SR"):
        assert read_report(report) == read_report(results.built.report)


def test_a_destination_that_takes_neither_captures_nor_report_refuses(
    results: Case, tmp_path: Path
) -> None:
    """Nothing would show the findings: that is a refusal, and it says what to accept."""
    for i, accepted in enumerate(([OVERLAY], ["MRImageStorage"])):
        folder = tmp_path / str(i)
        folder.mkdir()
        with (
            storescp(accepted, folder) as destination,
            pytest.raises(DeliveryRefused, match="accept Secondary Capture and Comprehensive 3D"),
        ):
            deliver(results.files, destination, "NODE")


def test_pynetdicom_that_accepts_first_and_then_refuses_gets_the_next_class(
    results: Case,
) -> None:
    """The answer "SOP class not supported" is a step down too, in the same association."""
    arrived: list[str] = []
    associations = set()

    def answer(event: Any) -> int:
        associations.add(event.assoc)
        sop_class = str(event.request.AffectedSOPClassUID)
        if sop_class == Comprehensive3DSRStorage:
            return statuses.CLASS_NOT_SUPPORTED
        arrived.append(sop_class)
        return statuses.SUCCESS

    ae = AE(ae_title="PACS")
    for sop_class in {str(o.SOPClassUID) for o in results.built.objects} | {ComprehensiveSRStorage}:
        ae.add_supported_context(sop_class)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)]
    )
    try:
        port = server.server_address[1]
        destination = Destination(name="pacs", host="127.0.0.1", port=port, ae_title="PACS")
        told = deliver(results.files, destination, "NODE")
    finally:
        ae.shutdown()

    assert (
        told.message == "report sent as Comprehensive SR, since Comprehensive 3D SR is not accepted"
    )
    assert arrived[-2:] == [ComprehensiveSRStorage, KeyObjectSelectionDocumentStorage]
    assert len(arrived) == len(results.files)
    assert len(associations) == 1


def test_orthanc_takes_everything_as_it_was_made(results: Case, orthanc: OrthancServer) -> None:
    """Nothing to tell, and by REST it serves what was sent by C-STORE."""
    destination = Destination(
        name="pacs", host="127.0.0.1", port=orthanc.dicom_port, ae_title=orthanc.ae_title
    )

    assert deliver(results.files, destination, "NODE").message == ""
    assert set(orthanc.files()) == {str(o.SOPInstanceUID) for o in results.built.objects}
    assert results.built.document is not None
    found = requests.post(
        f"{orthanc.url}/tools/lookup", data=results.built.document.SOPInstanceUID, timeout=20
    )
    served = requests.get(f"{orthanc.url}{found.json()[0]['Path']}/pdf", timeout=20).content
    assert served.rstrip() == results.built.document.EncapsulatedDocument.rstrip(b"\0\n")
