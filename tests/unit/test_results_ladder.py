"""The report as the SOP classes that older destinations take."""

from dataclasses import replace

import pytest
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from node.results import LADDER, downgrade, read_report
from tests.builders import part10
from tests.results_study import small_study


@pytest.mark.parametrize("sop_class", LADDER[1:])
def test_a_lower_class_has_the_same_content_and_another_identity(sop_class: str) -> None:
    """Nothing is left out, and a resend is the same instance again."""
    report = small_study().build().report

    lower, again = downgrade(report, sop_class), downgrade(report, sop_class)

    assert lower.SOPClassUID == lower.file_meta.MediaStorageSOPClassUID == sop_class
    assert lower.SOPInstanceUID == lower.file_meta.MediaStorageSOPInstanceUID
    assert lower.SOPInstanceUID != report.SOPInstanceUID
    assert part10(lower) == part10(again)
    assert read_report(lower) == read_report(report)
    assert lower.SeriesInstanceUID == report.SeriesInstanceUID


def test_the_identity_depends_on_the_class() -> None:
    """Two destinations with different abilities never get one UID for two objects."""
    report = small_study().build().report

    assert len({downgrade(report, c).SOPInstanceUID for c in LADDER}) == len(LADDER)


def test_what_is_its_own_class_already_stays_as_it_is() -> None:
    """The first rung changes nothing."""
    report = small_study().build().report

    assert downgrade(report, Comprehensive3DSRStorage) is report


@pytest.mark.parametrize("sop_class", [Comprehensive3DSRStorage, SecondaryCaptureImageStorage])
def test_there_is_no_way_up_or_off_the_ladder(sop_class: str) -> None:
    """A Comprehensive SR becomes neither Comprehensive 3D SR nor something else."""
    report = small_study().build(settings={"sop_class": "comprehensive"}).report

    with pytest.raises(ValueError, match="cannot become"):
        downgrade(report, sop_class)


@pytest.mark.parametrize("sop_class", LADDER[1:])
def test_what_a_lower_report_replaces_is_what_the_destination_has(sop_class: str) -> None:
    """The predecessor was stepped down for it as well."""
    study = small_study()
    first = study.build().report
    newer = study.build(replace(study.findings, node_version="0.2.0"), earlier=[first]).report

    lower = downgrade(newer, sop_class)

    replaced = lower.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    (instance,) = replaced.ReferencedSOPSequence
    assert instance.ReferencedSOPInstanceUID == downgrade(first, sop_class).SOPInstanceUID
    assert instance.ReferencedSOPClassUID == sop_class
