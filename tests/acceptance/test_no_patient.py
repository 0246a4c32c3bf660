"""A whole run, with everything that goes wrong in it, leaves no patient in any log or page."""

import json
import warnings
from pathlib import Path

import pydicom
import pytest
import requests
from pydicom.encaps import encapsulate
from pynetdicom import AE, build_context

from node.loopback import free_port
from node.phantom import StudyOptions, make_study
from tests.builders import mr_image
from tests.node_process import NodeProcess, cli, storescu
from tests.receiving import dcmtk
from tests.waiting import wait_for

#: What identifies the patient; each is long enough to be found by chance nowhere.
NAME, IDENTIFIER, BIRTH_DATE = "ZYXWVUT^QPONMLK", "PID-93817264", "19370611"
HOSTILE_NAME = "ZYXWVUT^\x1b[31mQPONMLK\r\nINJECTED"


def spoken(text: str) -> list[str]:
    """Return what a text tells of the patient."""
    parts = [*NAME.split("^"), IDENTIFIER, BIRTH_DATE, "INJECTED"]
    return [part for part in parts if part.lower() in text.lower()]


def identify(path: Path, **attributes: object) -> pydicom.FileDataset:
    """Give a file our patient, and change it."""
    image = pydicom.dcmread(path)
    image.PatientName, image.PatientID, image.PatientBirthDate = NAME, IDENTIFIER, BIRTH_DATE
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.save_as(path)
    return image


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_patient_in_logs_audit_pages_or_commands(tmp_path: Path) -> None:
    """Listen, refuse, quarantine, work, fail to deliver, show: nowhere name, identifier, birth."""
    study = make_study(8, options=StudyOptions(transfer_syntax="rle"))
    paths = study.write(tmp_path / "in")
    for path in paths:
        identify(path)
    identify(paths[3], PixelData=encapsulate([bytes(64)]))  # cannot be decoded

    with NodeProcess(tmp_path / "node", [("gone", "GONE", free_port())]) as node:
        storescu(node.dicom_port, tmp_path / "in")
        send_hostile(node.dicom_port)
        sent = dcmtk("storescu", "-aec", "WRONG", "127.0.0.1", node.dicom_port, paths[0])
        assert sent.returncode != 0
        told = wait_for(
            lambda: [d for d in node.study(study.study_uid).get("deliveries", [])
                     if d["state"] == "waiting"],
            seconds=120,
        )  # fmt: skip
        assert told
        shown = [
            requests.get(f"{node.url}{path}", timeout=20).text
            for path in (
                "/",
                f"/studies/{study.study_uid}",
                f"/studies/{study.study_uid}/findings.json",
                f"/api/studies/{study.study_uid}",
                "/healthz",
            )
        ]
        shown.append(cli("show", study.study_uid, "--config", node.config).stdout)
        listed = cli("quarantine", "--config", node.config, "--json").stdout

    kept = json.loads(listed)
    assert len(kept) == 5
    assert any(entry["study_uid"] == study.study_uid for entry in kept)  # not decodable
    audit = "".join(p.read_text("utf-8") for p in (tmp_path / "node/data/audit").glob("*.log"))
    for event in ("110120", "110104", "110113", "110103", "110121"):
        assert f'csd-code="{event}"' in audit
    assert study.study_uid in node.log
    assert node.log.count("instance refused") >= 3
    assert spoken(node.log) == []
    assert spoken(audit) == []
    assert spoken("".join([*shown, listed])) == []
    assert "node stopped" in node.log


def send_hostile(port: int) -> None:
    """Send images of the patient that are refused, each for another reason."""
    broken = [
        mr_image("9", number=1, Rows=65),
        mr_image("9", number=2, PatientName=HOSTILE_NAME, Rows=9999),
        mr_image("9", number=3, StudyInstanceUID=IDENTIFIER),
        mr_image("9", number=4, SeriesInstanceUID=f"../../{IDENTIFIER}"),
    ]
    association = AE("SCANNER").associate(
        "127.0.0.1",
        port,
        [build_context(broken[0].SOPClassUID, broken[0].file_meta.TransferSyntaxUID)],
        ae_title="LUMBAR",
    )
    for image in broken:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if image.PatientName != HOSTILE_NAME:
                image.PatientName = NAME
            image.PatientID, image.PatientBirthDate = IDENTIFIER, BIRTH_DATE
            assert association.send_c_store(image).Status == 0xC000
    association.release()
