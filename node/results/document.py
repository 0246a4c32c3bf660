"""The pages as one Encapsulated PDF, for systems that take documents only.

Off by default. Pillow, which draws the pages, also binds them, so a document shows exactly what
the captures show and no second layout can differ. Its text is not searchable: what is to be read
by software is in the report, and a text layer would be one more copy of it to keep true.
Source: PS3.3 A.45.1, C.24.
"""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from node.results.codes import code
from node.results.heading import Heading
from node.results.identity import MODEL_NAME

TITLE = "AI lumbar stenosis - NOT VERIFIED"
_DPI = 128.0  # a page of 1024 pixels is 8 inches wide: it fits A4 and Letter


def make_document(
    heading: Heading, pages: Sequence[Image.Image], captures: Sequence[Dataset]
) -> Dataset:
    """Build the document of one study.

    Parameters
    ----------
    heading : Heading
    pages : sequence of RGB image
        At least one.
    captures : sequence of Dataset
        The same pages as DICOM objects, which the document names as its source.
    """
    document = Dataset()
    document.SOPClassUID = EncapsulatedPDFStorage
    document.SOPInstanceUID = heading.identity.object_uid("document")
    for keyword in ("InstanceCreation", "Content"):
        setattr(document, f"{keyword}Date", "")
    heading.stamp(document, "document")
    document.Modality = "DOC"
    document.ConversionType = "WSD"
    document.InstanceNumber = 1
    document.AcquisitionDateTime = ""
    # As on the pages: nothing in it identifies the patient and the date (PS3.3 C.24.2).
    document.BurnedInAnnotation = "NO"
    document.RecognizableVisualFeatures = "NO"
    document.VerificationFlag = "UNVERIFIED"
    document.SourceInstanceSequence = [_reference(capture) for capture in captures]
    document.DocumentTitle = TITLE
    document.ConceptNameCodeSequence = [code("Imaging Measurement Report")]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    # Orthanc 1.10 serves a document without its last byte, taken for padding: that is this one.
    pdf = _bound(heading, pages) + b"\n"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    document.file_meta = FileMetaDataset()
    document.file_meta.MediaStorageSOPClassUID = document.SOPClassUID
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return document


def _bound(heading: Heading, pages: Sequence[Image.Image]) -> bytes:
    """Return the pages as PDF: the same pages and time give the same bytes."""
    when = heading.created.utctimetuple()
    first, *others = [page.convert("RGB") for page in pages]
    file = BytesIO()
    first.save(
        file,
        "PDF",
        save_all=True,
        append_images=others,
        resolution=_DPI,
        quality=95,
        subsampling=0,
        title=TITLE,
        creator=f"{MODEL_NAME} {heading.findings.node_version}",
        creationDate=when,
        modDate=when,
    )
    return file.getvalue()


def _reference(capture: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = capture.SOPClassUID
    item.ReferencedSOPInstanceUID = capture.SOPInstanceUID
    return item
