"""What is read through the web is in the audit trail; so is who was turned away."""

from pathlib import Path

from fastapi.testclient import TestClient

from node.config import Web
from node.dicom.audit import Event
from node.web.app import create_app
from tests.web_parts import Parts, study


def test_studies_that_were_read_and_refusals_are_noted(tmp_path: Path) -> None:
    """Pages and findings name their study; a work list, a missing study, a monitor name none."""
    token = tmp_path / "token"
    token.write_text("secret")
    events: list[Event] = []
    held = study()
    parts = Parts(rows=[held])
    browser = TestClient(create_app(parts, Web(token_file=token), events.append))
    for path in ("/", "/healthz", "/studies/1.2.3.9", "/static/style.css"):
        browser.get(path)
    assert events == []
    assert browser.get(f"/studies/{held.study_uid}").status_code == 200
    assert browser.get(f"/api/studies/{held.study_uid}").status_code == 200
    assert {(e.kind, e.study_uid) for e in events} == {("read", held.study_uid)}
    events.clear()
    assert browser.get("/dicom-web/studies").status_code == 401
    assert [(e.kind, e.address) for e in events] == [("refused", "testclient")]
    assert "secret" not in str(events)
