"""Captures and overlays: the right classes, references, coordinates and no plane of the patient."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from node.results import ResultSet
from node.spine.anatomy import Grade
from tests.results_study import MODELS, PATIENT, SmallStudy, small_study

ABNORMAL = (Grade.MODERATE, Grade.SEVERE)


@pytest.fixture(scope="module")
def study() -> SmallStudy:
    return small_study()


@pytest.fixture(scope="module")
def built(study: SmallStudy) -> ResultSet:
    return study.build()


def test_captures_are_the_pages_pixel_for_pixel(built: ResultSet) -> None:
    """Uncompressed 8-bit RGB, one instance for each page, in page order (SC-01, SC-02)."""
    for i, (capture, page) in enumerate(zip(built.captures, built.pages.values(), strict=True), 1):
        assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert capture.InstanceNumber == i
        assert (np.asarray(page) == capture.pixel_array).all()
        assert capture.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_captures_share_one_series_that_says_not_verified(built: ResultSet) -> None:
    """SC-03 to SC-05 and SC-09."""
    assert len({c.SeriesInstanceUID for c in built.captures}) == 1
    for capture in built.captures:
        assert capture.SeriesDescription == "AI lumbar key images - NOT VERIFIED"
        assert (capture.Modality, capture.ConversionType) == ("OT", "WSD")
        assert list(capture.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
        assert capture.BodyPartExamined == "LSPINE"
        assert capture.ContentQualification == "RESEARCH"
        assert capture.BurnedInAnnotation == "NO"


def test_captures_are_no_planes_of_the_patient(built: ResultSet) -> None:
    """No reference lines and no measurements on a page (SC-10)."""
    for capture in built.captures:
        for keyword in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "FrameOfReferenceUID",
        ):
            assert keyword not in capture


def test_captures_name_the_images_they_show(study: SmallStudy, built: ResultSet) -> None:
    """Every shown source with its purpose, all of them instances of the study (SC-06)."""
    for name, capture in zip(built.pages, built.captures, strict=True):
        uids = {i.ReferencedSOPInstanceUID for i in capture.SourceImageSequence}
        assert uids <= set(study.headers)
        here = [f for f in study.findings.findings if f.level == name]
        assert {f.sop_instance_uid for f in here} <= uids


def test_a_site_may_want_captures_under_mr(study: SmallStudy) -> None:
    """Some hanging protocols hide OT (SC-04)."""
    captures = study.build(settings={"capture_modality": "MR"}).captures

    assert {c.Modality for c in captures} == {"MR"}


def test_every_object_names_scanner_and_models(built: ResultSet) -> None:
    """Contributing Equipment: acquisition, then each model with a UID of its own (SR-07)."""
    for made in built.objects:
        scanner, *models = made.ContributingEquipmentSequence
        assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
        assert scanner.ManufacturerModelName == PATIENT["ManufacturerModelName"]
        assert [m.ManufacturerModelName for m in models] == [m.name for m in MODELS]
        assert len({m.DeviceUID for m in models}) == len(MODELS)
        assert made.Manufacturer == "lumbar-node project"


def test_delivery_order_lets_references_resolve(built: ResultSet) -> None:
    """Captures, overlays, report."""
    assert [o.Modality for o in built.objects] == ["OT"] * 6 + ["PR"] * len(built.overlays) + ["SR"]


def annotations(overlay: Dataset) -> list[Dataset]:
    return list(overlay.GraphicAnnotationSequence)


def test_overlays_mark_the_abnormal_findings_only(study: SmallStudy, built: ResultSet) -> None:
    """A ring of 5 mm at index + 0.5 and a line of text, on the finding's own image."""
    wanted = {
        (str(f.sop_instance_uid), round((f.column or 0) + 0.5, 2), round((f.row or 0) + 0.5, 2))
        for f in study.findings.findings
        if f.grade in ABNORMAL
    }
    found = set()
    for overlay in built.overlays:
        for annotation in annotations(overlay):
            (image,) = annotation.ReferencedImageSequence
            assert len(annotation.GraphicObjectSequence) == len(annotation.TextObjectSequence)
            for circle in annotation.GraphicObjectSequence:
                column, row, edge, same_row = circle.GraphicData
                assert (circle.GraphicType, circle.GraphicAnnotationUnits) == ("CIRCLE", "PIXEL")
                assert row == same_row
                spacing = float(study.headers[image.ReferencedSOPInstanceUID].PixelSpacing[1])
                assert abs(edge - column) * spacing == pytest.approx(5.0, abs=0.01)
                found.add((image.ReferencedSOPInstanceUID, round(column, 2), round(row, 2)))

    assert found == wanted
    assert len(built.overlays) == len(
        {o.ReferencedSeriesSequence[0].SeriesInstanceUID for o in built.overlays}
    )


def test_overlay_texts_say_ai_level_side_and_grade(study: SmallStudy, built: ResultSet) -> None:
    """Short enough for an image, and never without "AI"."""
    texts = [
        str(t.UnformattedTextValue)
        for o in built.overlays
        for a in annotations(o)
        for t in a.TextObjectSequence
    ]

    assert len(texts) == sum(f.grade in ABNORMAL for f in study.findings.findings)
    assert all(t.startswith("AI L") and t.endswith(" %") for t in texts)


def test_overlays_keep_the_look_of_the_source(built: ResultSet) -> None:
    """Its window, its polarity, its proportions: only the marks are new."""
    for overlay in built.overlays:
        assert overlay.PresentationLUTShape == "IDENTITY"
        for window in overlay.SoftcopyVOILUTSequence:
            assert (window.WindowCenter, window.WindowWidth) == (400, 800)
        (area,) = overlay.DisplayedAreaSelectionSequence
        assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
        assert area.PresentationSizeMode == "SCALE TO FIT"
        assert area.PresentationPixelSpacing[0] != area.PresentationPixelSpacing[1]


def test_an_inverted_source_stays_inverted() -> None:
    """MONOCHROME1 is shown with an inverse presentation LUT."""
    overlays = small_study(PhotometricInterpretation="MONOCHROME1").build().overlays

    assert {o.PresentationLUTShape for o in overlays} == {"INVERSE"}


def test_a_source_without_a_window_gets_none() -> None:
    """The viewer keeps its own default."""
    overlays = small_study(WindowCenter=None, WindowWidth=None).build().overlays

    assert overlays
    assert not any("SoftcopyVOILUTSequence" in o for o in overlays)


def test_a_rescaled_source_keeps_its_rescale() -> None:
    """Window values are in rescaled units, so the rescale goes along."""
    overlays = small_study(RescaleSlope="2.5", RescaleIntercept="-10").build().overlays

    assert {(o.RescaleSlope, o.RescaleIntercept) for o in overlays} == {(2.5, -10)}


def test_an_enhanced_source_is_marked_by_frame() -> None:
    """Window and mark of one frame do not spill onto the others."""
    study = small_study(is_enhanced=True)
    frame_look = Dataset()
    frame_look.WindowCenter, frame_look.WindowWidth = 111, 222
    item = Dataset()
    item.FrameVOILUTSequence = Sequence([frame_look])
    for header in study.headers.values():
        header.SharedFunctionalGroupsSequence = Sequence([item])
    overlays = study.build().overlays

    assert overlays
    for overlay in overlays:
        for annotation in annotations(overlay):
            assert annotation.ReferencedImageSequence[0].ReferencedFrameNumber
        windows = overlay.SoftcopyVOILUTSequence
        assert len(windows) == len(annotations(overlay))
        assert {w.WindowCenter for w in windows} == {111}


def test_overlays_are_a_choice_and_need_something_to_show(study: SmallStudy) -> None:
    """Off by setting; absent when nothing is moderate or severe."""
    normal = [
        replace(
            f,
            grade=Grade.NORMAL_MILD,
            probabilities={Grade.NORMAL_MILD: 1.0, **dict.fromkeys(ABNORMAL, 0.0)},
        )
        for f in study.findings.findings
    ]

    assert not study.build(settings={"overlays": False}).overlays
    assert not study.build(study.with_findings(*normal)).overlays


def test_lengths_fit_their_value_representation(built: ResultSet) -> None:
    """SH 16, LO 64, CS 16 (SR-35): checked over every element of every object."""
    limits = {"SH": 16, "LO": 64, "CS": 16, "UI": 64, "DS": 16}
    for made in built.objects:
        for element in made.iterall():
            if element.VR in limits and element.value:
                values = element.value if element.VM > 1 else [element.value]
                assert all(len(str(v)) <= limits[element.VR] for v in values), element


def test_a_page_of_lossy_images_is_lossy(built: ResultSet) -> None:
    """What has gone through lossy compression once stays marked, derived or not."""
    header: dict[str, Any] = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "8.5"}
    lossy = small_study(**header).build().captures[0]

    assert (lossy.LossyImageCompression, lossy.LossyImageCompressionRatio) == ("01", 8.5)
    assert built.captures[0].LossyImageCompression == "00"
