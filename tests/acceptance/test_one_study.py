"""One study, end to end: DCMTK in, the real node, a real Orthanc out, and ``kill -9`` between."""

import io
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node.phantom import PhantomStudy
from tests.node_process import NodeProcess, cli, storescu
from tests.orthanc_server import OrthancServer
from tests.waiting import wait_for

SR_3D = "1.2.840.10008.5.1.4.1.1.88.34"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PAGES = 6  # a summary and one for each level


@pytest.fixture
def pacs(tmp_path: Path) -> Any:
    with OrthancServer(tmp_path / "pacs", ae_title="PACS") as server:
        yield server


@pytest.fixture
def node(tmp_path: Path, pacs: OrthancServer) -> Any:
    process = NodeProcess(tmp_path / "node", [("pacs", "PACS", pacs.dicom_port)])
    with process:
        yield process


def results_at(pacs: OrthancServer) -> list[pydicom.Dataset]:
    """Read back every result object the PACS holds."""
    return [pydicom.dcmread(io.BytesIO(raw)) for raw in pacs.files().values()]


def by_class(objects: list[pydicom.Dataset], sop_class: str) -> list[pydicom.Dataset]:
    return [o for o in objects if o.SOPClassUID == sop_class]


def assert_one_result_set(pacs: OrthancServer, node: NodeProcess, study_uid: str) -> None:
    objects = results_at(pacs)
    assert len(by_class(objects, SR_3D)) == 1
    assert len(by_class(objects, SECONDARY_CAPTURE)) == PAGES
    assert {o.StudyInstanceUID for o in objects} == {study_uid}
    job_id = node.study(study_uid)["job_id"]
    assert job_id.startswith(study_uid)


def test_a_study_sent_by_dcmtk_comes_back_as_results(
    node: NodeProcess, pacs: OrthancServer, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """Storescu in; 25 findings, one report and six pages out, in the same study at the PACS."""
    storescu(node.dicom_port, phantom_folder)

    told = node.wait_until(phantom.study_uid, "done")

    assert_one_result_set(pacs, node, phantom.study_uid)
    (report,) = by_class(results_at(pacs), SR_3D)
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.PatientID == f"PHANTOM-{7}"
    assert [d["state"] for d in told["deliveries"]] == ["delivered"]

    shown = json.loads(cli("show", phantom.study_uid, "--config", node.config, "--json").stdout)
    assert len(shown["findings"]["findings"]) == 25
    listed = json.loads(cli("studies", "--config", node.config, "--json").stdout)
    assert [s["study_uid"] for s in listed] == [phantom.study_uid]
    assert "PHANTOM^" not in node.log
    assert "PHANTOM-7" not in node.log


def test_the_real_study_sent_by_dcmtk_comes_back(
    node: NodeProcess, pacs: OrthancServer, shared_data: Path
) -> None:
    """Real pixels, RLE as they are: every finding graded or with its reason, back at the PACS."""
    folder = shared_data / "real-study"
    study_uid = pydicom.dcmread(next(folder.rglob("*.dcm"))).StudyInstanceUID

    storescu(node.dicom_port, folder)
    node.wait_until(study_uid, "done")

    assert_one_result_set(pacs, node, study_uid)
    shown = json.loads(cli("show", study_uid, "--config", node.config, "--json").stdout)
    assert all(f["grade"] or f["reason"] for f in shown["findings"]["findings"])


def test_the_same_study_sent_twice_is_one_result(
    node: NodeProcess, pacs: OrthancServer, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """A resend of the same images is a duplicate, not a second result."""
    storescu(node.dicom_port, phantom_folder)
    first = node.wait_until(phantom.study_uid, "done")["job_id"]
    storescu(node.dicom_port, phantom_folder)

    assert node.wait_until(phantom.study_uid, "done")["job_id"] == first
    assert_one_result_set(pacs, node, phantom.study_uid)


@pytest.mark.parametrize("state", ["receiving", "queued", "running", "delivering"])
def test_killed_in_a_state_it_goes_on_to_one_result(
    state: str,
    node: NodeProcess,
    pacs: OrthancServer,
    phantom: PhantomStudy,
    phantom_folder: Path,
) -> None:
    """Kill -9 in each state and a restart end in exactly one result set."""
    storescu(node.dicom_port, phantom_folder)
    wait_for(
        lambda: node.study(phantom.study_uid).get("state") in (state, "done"),
        seconds=60,
        every=0.002,
    )
    node.kill()
    node.start()

    node.wait_until(phantom.study_uid, "done")
    assert_one_result_set(pacs, node, phantom.study_uid)


def test_killed_again_and_again_it_ends_in_one_result(
    node: NodeProcess, pacs: OrthancServer, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """Kills at growing delays after a restart hit reading, inference, writing and delivery."""
    storescu(node.dicom_port, phantom_folder)
    wait_for(lambda: node.study(phantom.study_uid).get("state") != "receiving", seconds=30)
    for delay in (0.1, 0.5, 1.0, 2.0):
        if node.study(phantom.study_uid)["state"] == "done":
            break
        with pytest.raises(AssertionError):
            wait_for(lambda: False, seconds=delay)
        node.kill()
        node.start()

    node.wait_until(phantom.study_uid, "done")
    assert_one_result_set(pacs, node, phantom.study_uid)


def test_a_destination_that_is_down_gets_its_results_later(
    tmp_path: Path, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """A dead PACS costs waiting, shown as such; when it is back, everything arrives once."""
    pacs = OrthancServer(tmp_path / "pacs", ae_title="PACS")
    with NodeProcess(tmp_path / "node", [("pacs", "PACS", pacs.dicom_port)]) as node:
        storescu(node.dicom_port, phantom_folder)
        told = wait_for(
            lambda: [d for d in node.study(phantom.study_uid).get("deliveries", [])
                     if d["state"] == "waiting"],
            seconds=60,
        )  # fmt: skip
        assert told[0]["destination"] == "pacs"
        assert told[0]["message"]

        with pacs:
            node.wait_until(phantom.study_uid, "done")
            assert_one_result_set(pacs, node, phantom.study_uid)


def test_a_study_with_one_series_is_assessed_as_far_as_it_goes(
    node: NodeProcess, pacs: OrthancServer, phantom: PhantomStudy, tmp_path: Path
) -> None:
    """Without the axial series 10 findings have that reason, and the report is PARTIAL."""
    folder = tmp_path / "partial"
    folder.mkdir()
    for number, dataset in enumerate(phantom.datasets()):
        if abs(dataset.ImageOrientationPatient[1]) > 0.7:
            dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    storescu(node.dicom_port, folder)

    told = node.wait_until(phantom.study_uid, "done")

    assert any("axial T2" in reason for reason in told["reasons"])
    (report,) = by_class(results_at(pacs), SR_3D)
    assert report.CompletionFlag == "PARTIAL"


def test_late_images_make_a_report_that_replaces_the_first(
    node: NodeProcess, pacs: OrthancServer, phantom: PhantomStudy, tmp_path: Path
) -> None:
    """The larger set gets its own document, in the same series, that names its predecessor."""
    for name in ("first", "late"):
        (tmp_path / name).mkdir()
    for number, dataset in enumerate(phantom.datasets()):
        is_sagittal = abs(dataset.ImageOrientationPatient[1]) > 0.7
        folder = tmp_path / ("first" if is_sagittal else "late")
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    storescu(node.dicom_port, tmp_path / "first")
    first_job = node.wait_until(phantom.study_uid, "done")["job_id"]
    (first,) = by_class(results_at(pacs), SR_3D)

    storescu(node.dicom_port, tmp_path / "late")
    wait_for(lambda: node.study(phantom.study_uid)["job_id"] != first_job, seconds=30)
    node.wait_until(phantom.study_uid, "done")

    reports = by_class(results_at(pacs), SR_3D)
    (second,) = [r for r in reports if r.SOPInstanceUID != first.SOPInstanceUID]
    assert second.SeriesInstanceUID == first.SeriesInstanceUID
    (of_study,) = second.PredecessorDocumentsSequence
    (replaced,) = of_study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert replaced.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in first
    assert (first.CompletionFlag, second.CompletionFlag) == ("PARTIAL", "COMPLETE")


def test_the_roles_may_be_processes_of_their_own(
    tmp_path: Path, pacs: OrthancServer, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """`listen`, `work` and `web` share the data folder and do together what `serve` does."""
    node = NodeProcess(
        tmp_path / "node",
        [("pacs", "PACS", pacs.dicom_port)],
        commands=("listen", "work", "web"),
    )
    with node:
        storescu(node.dicom_port, phantom_folder)
        node.wait_until(phantom.study_uid, "done")
        assert_one_result_set(pacs, node, phantom.study_uid)
