"""The conformance statement says what real associations and real results do."""

import re
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, build_context
from pynetdicom.sop_class import (
    BasicFilmSession,
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.config import Config, Destination, Listen
from node.conformance import statement
from node.conformance.objects import CREATED
from node.dicom.upper_layer.negotiation import KEPT_CLASSES
from node.results import LADDER
from tests.receiving import listening
from tests.results_study import small_study

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
ROW = re.compile(r"^\| [^|]+ \| `([0-9.]+)` \| [^|]+ \| `([0-9.]+)` \|$", re.MULTILINE)


def listed() -> set[tuple[str, str]]:
    """Return (SOP class, transfer syntax) of every accepted context in the document."""
    text = DOCUMENT.read_text("utf-8")
    part = text[text.index("### 2.1") : text.index("### 2.2")]
    return set(ROW.findall(part))


def accepted(port: int, wanted: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Propose each pair in a context of its own, and return those that a node accepts."""
    found: set[tuple[str, str]] = set()
    pairs = sorted(wanted)
    for start in range(0, len(pairs), 100):
        contexts = [build_context(c, s) for c, s in pairs[start : start + 100]]
        association = AE("SCANNER").associate("127.0.0.1", port, contexts, ae_title="LUMBAR")
        found |= {
            (str(c.abstract_syntax), str(c.transfer_syntax[0]))
            for c in association.accepted_contexts
        }
        if association.is_established:
            association.release()
    return found


def test_the_document_is_what_the_program_prints() -> None:
    """docs/conformance.md is made by `lumbar-node conformance` with the default configuration."""
    assert DOCUMENT.read_text("utf-8") == statement(Config()) + "\n"


def test_every_listed_context_is_accepted(tmp_path: Path) -> None:
    """What the statement lists, a real association gets."""
    contexts = listed()
    assert len(contexts) > 25
    with listening(tmp_path) as node:
        assert accepted(node.port, contexts) == contexts


def test_what_is_not_listed_is_refused(tmp_path: Path) -> None:
    """Other syntaxes of the kept classes, and classes of services that this node has not."""
    services = (
        BasicFilmSession,
        ModalityPerformedProcedureStep,
        ModalityWorklistInformationFind,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelMove,
    )
    others = {(str(c), str(s)) for c in services for s in ALL_TRANSFER_SYNTAXES[:2]}
    others |= {(c, str(s)) for c in KEPT_CLASSES for s in ALL_TRANSFER_SYNTAXES}
    others -= listed()
    assert len(others) > 50
    with listening(tmp_path) as node:
        assert accepted(node.port, others) == set()


@pytest.mark.parametrize("is_on", [True, False])
def test_other_storage_classes_are_as_the_statement_says(tmp_path: Path, *, is_on: bool) -> None:
    """Accepted and not kept, or refused; the text follows the setting."""
    text = statement(Config(listen=Listen(accept_and_ignore=is_on)))
    assert ("**not kept**" in text) == is_on
    pair = (str(CTImageStorage), str(ALL_TRANSFER_SYNTAXES[0]))
    with listening(tmp_path, accept_and_ignore=is_on) as node:
        assert accepted(node.port, {pair}) == ({pair} if is_on else set())


def test_the_objects_listed_are_those_that_are_made() -> None:
    """Every class of a result set with everything on, and the steps of the report's ladder."""
    results = small_study().build(settings={"pdf": True, "key_objects": True, "overlays": True})
    made = {str(o.SOPClassUID) for o in results.objects}
    assert made | {str(uid) for uid in LADDER} == {uid for uid, _ in CREATED}

    text, capture, report = DOCUMENT.read_text("utf-8"), results.captures[0], results.report
    for said in (
        f"{capture.Rows} x {capture.Columns} RGB, Conversion Type `{capture.ConversionType}`",
        f"Burned In Annotation `{capture.BurnedInAnnotation}`",
        f"Verification `{report.VerificationFlag}`, Preliminary Flag `{report.PreliminaryFlag}`",
        f"Specific Character Set `{report.SpecificCharacterSet}`",
        f"Content Qualification `{capture.ContentQualification}`",
        f"Manufacturer *{report.Manufacturer}*",
        f"Model Name `{report.ManufacturerModelName}`",
    ):
        assert said in text


def test_a_site_s_settings_are_in_its_statement() -> None:
    """AE title, port, limits and destinations of the configuration."""
    config = Config(
        listen=Listen(ae_title="SPINE", port=104, calling_ae=("MR1",)),
        destinations=(
            Destination(name="pacs", host="10.0.0.5", port=2762, ae_title="PACS", tls=True),
        ),
        tls={"ca_file": "/etc/ca.pem"},  # type: ignore[arg-type]
    )
    text = statement(config)
    for said in ("| AE title | `SPINE` |", "| port | 104 |", "`MR1`", "| `PACS` | 10.0.0.5 |"):
        assert said in text
