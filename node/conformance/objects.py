"""The part of the conformance statement about the objects that this node creates."""

from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)

from node.config import Config
from node.conformance.markdown import named, section, table
from node.results.identity import MANUFACTURER, MODEL_NAME

#: SOP class of each object that results consist of, and when it is sent.
CREATED: tuple[tuple[str, str], ...] = (
    (str(SecondaryCaptureImageStorage), "always: the pages"),
    (str(GrayscaleSoftcopyPresentationStateStorage), "`report.overlays`"),
    (str(EncapsulatedPDFStorage), "`report.pdf`"),
    (str(Comprehensive3DSRStorage), "the report"),
    (str(ComprehensiveSRStorage), "the report, where the class above is not accepted"),
    (str(EnhancedSRStorage), "the report, where both classes above are not accepted"),
    (str(KeyObjectSelectionDocumentStorage), "`report.key_objects`"),
)

_MODULES = (
    (
        "Patient, General Study",
        "copied from the source, text as UTF-8; what is not legal is left empty",
    ),
    (
        "General Series",
        "own series UIDs; Series Number from `report.series_number` upward; description "
        "with *NOT VERIFIED*",
    ),
    (
        "General Equipment",
        f"Manufacturer *{MANUFACTURER}*, Manufacturer's Model Name `{MODEL_NAME}`, Software "
        "Versions, serial number derived from the models",
    ),
    (
        "SOP Common",
        "Specific Character Set `ISO_IR 192`; UIDs derived from input, models and "
        "settings (2.25), so that a repeated run makes the same instances; Content "
        "Qualification `RESEARCH`; Contributing Equipment: scanner and each model",
    ),
    (
        "SR document",
        "TID 1500; Completion `COMPLETE` or `PARTIAL`, Verification `UNVERIFIED`, "
        "Preliminary Flag `PRELIMINARY`; one TID 1410 group for each finding; Predecessor "
        "Documents after a change of images, models or version",
    ),
    (
        "SC Image",
        "1024 x 1024 RGB, Conversion Type `WSD`; Burned In Annotation `NO`; no patient data "
        "in the pixels",
    ),
    (
        "Presentation State",
        "graphic and text annotation on the source images it references; display unchanged",
    ),
    ("Key Object Document", "the pages and source images that show a finding"),
)


def objects(config: Config) -> str:
    """Return the section about created objects."""
    report = config.report
    rows = [(named(c), f"`{c}`", when) for c, when in CREATED]
    return section(
        "## 7. Objects created",
        f"Configured: report as `{report.sop_class}`, overlays {_on(report.overlays)}, PDF "
        f"{_on(report.pdf)}, key objects {_on(report.key_objects)}. `docs/results.md` shows them.",
        table(("SOP class", "UID", "when"), rows),
        table(("module", "attributes"), _MODULES),
    )


def _on(setting: bool) -> str:
    return "on" if setting else "off"
