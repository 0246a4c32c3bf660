"""Secondary Capture: the pages as single-frame RGB images, which every PACS shows.

Source: PS3.3 A.8.1, C.8.6; rules SC-01 to SC-12. A page is not a plane of the patient, so it
carries no position, orientation, spacing or frame of reference.
"""

from collections.abc import Mapping

import numpy as np
from highdicom.sc import SCImage
from pydicom.dataset import Dataset

from node.results.attributes import copied
from node.results.codes import code
from node.results.heading import Heading
from node.results.identity import MANUFACTURER, MODEL_NAME
from node.results.pages import Page


def make_captures(
    heading: Heading,
    pages: Mapping[str, Page],
) -> dict[str, Dataset]:
    """Build one capture for each page, all in one series.

    Parameters
    ----------
    heading : Heading
    pages : dict of name to Page
        In the order in which a viewer should page through them.
    """
    return {
        name: _capture(heading, page, index)
        for index, (name, page) in enumerate(pages.items(), start=1)
    }


def _capture(heading: Heading, page: Page, index: int) -> Dataset:
    capture = SCImage(
        pixel_array=np.asarray(page.image, dtype=np.uint8),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=heading.findings.study_uid,
        **heading.place("capture", index),
    )
    heading.stamp(capture, "capture")
    capture.Modality = heading.settings.capture_modality
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    capture.PatientOrientation = []  # a page mixes planes: the letters on it are the orientation
    capture.BodyPartExamined = "LSPINE"
    # PS3.3 C.7.6.1.1.3: NO, since nothing on a page identifies the patient and the date.
    capture.BurnedInAnnotation = "NO"
    capture.RecognizableVisualFeatures = "NO"
    for element in _losses(heading, page):
        capture[element.tag] = element
    capture.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    capture.SecondaryCaptureDeviceManufacturerModelName = MODEL_NAME
    capture.SecondaryCaptureDeviceSoftwareVersions = heading.findings.node_version
    capture.SecondaryCaptureDeviceID = heading.identity.serial_number()
    capture.DateOfSecondaryCapture = heading.created.strftime("%Y%m%d")
    capture.TimeOfSecondaryCapture = heading.created.strftime("%H%M%S")
    capture.DerivationDescription = _derivation(heading)
    if page.sources:
        capture.SourceImageSequence = [_source_item(heading, *shown) for shown in page.sources]
    return capture


def _losses(heading: Heading, page: Page) -> Dataset:
    """Return what lossy compression the shown images went through: the page inherits it.

    Source: PS3.3 C.7.6.1.1.5.
    """
    keywords = [f"LossyImageCompression{part}" for part in ("", "Ratio", "Method")]
    for uid, _ in page.sources:
        losses = copied(heading.source(uid), keywords)
        if losses.get("LossyImageCompression") == "01":
            return losses
    none = Dataset()
    none.LossyImageCompression = "00"
    return none


def _source_item(heading: Heading, uid: str, frame: int | None) -> Dataset:
    source = heading.source(uid)
    item = Dataset()
    item.ReferencedSOPClassUID = str(source.SOPClassUID)
    item.ReferencedSOPInstanceUID = str(source.SOPInstanceUID)
    if frame is not None:
        item.ReferencedFrameNumber = frame
    item.PurposeOfReferenceCodeSequence = [code("Source image for image processing operation")]
    return item


def _derivation(heading: Heading) -> str:
    versions = sorted({m.version for m in heading.findings.models})
    models = f", models {', '.join(versions)}" if versions else ""
    return (
        "AI overlay of key images, not verified, not for clinical use: "
        f"{MODEL_NAME} {heading.findings.node_version}{models}"
    )
