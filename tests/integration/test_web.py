"""The web application as a browser and a program meet it."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from node.config import Web
from node.errors import DiskFull, LumbarError, Misconfigured, NotAssessable
from node.results.wording import DISCLAIMER
from node.spine.anatomy import ALL_FINDINGS, Condition, Grade, Level
from node.web.app import create_app
from tests.web_parts import ORTHANC_ID, PNG, STUDY_UID, Parts, delivery, findings_json, study

TRIGGER = f"/api/orthanc/pacs/studies/{ORTHANC_ID}"


def browser(parts: Parts, web: Web | None = None) -> TestClient:
    return TestClient(create_app(parts, web or Web()))


@pytest.fixture
def read_study() -> Parts:
    """A study with findings, one severe and one not assessed, and its pages."""
    differing: dict[tuple[Condition, Level], Grade | str] = {
        ALL_FINDINGS[3]: Grade.SEVERE,
        ALL_FINDINGS[24]: "no axial slice there",
    }
    return Parts(
        told=findings_json(differing),
        pages={"summary": PNG, "l1_l2": PNG},
        delivered=[
            delivery(proof_note="each object was asked about"),
            delivery(destination="archive", state="waiting", attempts=3, message="does not answer"),
        ],
    )


def test_the_work_list_shows_each_study_with_its_state_and_reason() -> None:
    """A radiologist sees what is done, what is not and why, without opening anything."""
    rows = [study(), study(study_uid="1.2.3", state="incomplete", reasons=("no axial T2",))]

    page = browser(Parts(rows=rows)).get("/").text

    assert f'href="/studies/{STUDY_UID}"' in page
    assert 'href="/studies/1.2.3"' in page
    for words in ("done", "incomplete", "no axial T2", "2026-11-23 03:02 UTC", "orthanc:pacs"):
        assert words in page


def test_an_empty_work_list_says_what_to_do() -> None:
    """The first page of a new node is not a blank one."""
    assert "Send one by C-STORE" in browser(Parts(rows=())).get("/").text


def test_one_study_shows_the_whole_answer(read_study: Parts) -> None:
    """Counts, 25 cells, reasons, pages, series, deliveries, models with their hashes."""
    page = browser(read_study).get(f"/studies/{STUDY_UID}").text

    cells = re.findall(r'<td class="(severe|moderate|normal_mild|not_assessed)">', page)
    assert (len(cells), cells.count("severe"), cells.count("not_assessed")) == (25, 1, 1)
    assert cells.index("severe") == 17  # the fourth level, the middle column: canal
    for words in (
        "no axial slice there", "Right subarticular stenosis: L5/S1", "80 %", "0.88", "TE 102 ms",
        "localizer", "ab" * 32, "CPUExecutionProvider", "delivered", "archive",
        "3 attempts: does not answer", f"/studies/{STUDY_UID}/pages/summary.png",
        "How they were chosen: 2 candidates", "81.5", "axial slices cover 132 mm",
        "proven: it vouches for every object (storage commitment): each object was asked about",
    ):  # fmt: skip
        assert words in page, words


def test_a_study_says_when_its_results_were_deleted() -> None:
    """A page without findings is never taken for a study without any."""
    page = browser(Parts(deleted=datetime(2026, 11, 20, 4, 0, tzinfo=UTC)))

    text = page.get(f"/studies/{STUDY_UID}").text
    assert "The results were deleted here on 2026-11-20 04:00 UTC" in text


def test_every_page_says_what_it_is_not(read_study: Parts) -> None:
    """The notice is on the list, on a study with findings and on one without."""
    for parts in (read_study, Parts()):
        for path in ("/", f"/studies/{STUDY_UID}"):
            assert DISCLAIMER in browser(parts).get(path).text


@pytest.mark.parametrize(
    ("state", "seconds"), [("running", "3"), ("queued", "3"), ("done", "0"), ("failed", "0")]
)
def test_a_page_renews_itself_only_while_something_moves(state: str, seconds: str) -> None:
    """A finished study stays still under the reader's eyes."""
    page = browser(Parts(rows=[study(state=state)])).get(f"/studies/{STUDY_UID}").text

    assert f'data-refresh="{seconds}"' in page
    assert "No findings" in page


def test_text_from_outside_is_text() -> None:
    """An AE title, a reason or a message cannot become markup."""
    evil = "<script>alert(1)</script>"
    parts = Parts(rows=[study(source=evil, reasons=(evil,))], delivered=[delivery(message=evil)])
    for path in ("/", f"/studies/{STUDY_UID}"):
        page = browser(parts).get(path).text
        assert evil not in page
        assert "&lt;script&gt;" in page


@pytest.mark.parametrize("path", ["/", "/healthz", "/static/style.css", "/studies/1.2.9", TRIGGER])
def test_every_answer_carries_the_security_headers(path: str) -> None:
    """Pages, errors and files alike; nothing is loaded from elsewhere or kept in a cache."""
    headers = browser(Parts()).get(path).headers

    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_pages_load_nothing_from_elsewhere_and_have_no_inline_code(read_study: Parts) -> None:
    """What the content security policy would block is not there in the first place."""
    client = browser(read_study)
    page = client.get(f"/studies/{STUDY_UID}").text

    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script>|(src|href)=\"(https?:)?//", page)
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert client.get(asset).status_code == 200, asset


def test_a_capture_is_served_as_an_image(read_study: Parts) -> None:
    """By its name; a name that is no page of the study is not even asked for."""
    client = browser(read_study)

    answer = client.get(f"/studies/{STUDY_UID}/pages/summary.png")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    for name in ("l5_s1", "..%2f..%2fnode", "%00"):
        assert client.get(f"/studies/{STUDY_UID}/pages/{name}.png").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/studies/{}",
        "/studies/{}/findings.json",
        "/studies/{}/pages/summary.png",
        "/api/studies/{}",
    ],
)
@pytest.mark.parametrize("uid", ["1.2.9", "..%2f..%2fetc", "%00", "x" * 200])
def test_an_unknown_study_is_404(read_study: Parts, path: str, uid: str) -> None:
    """Whatever the UID is, nothing is looked up for a study that the index does not hold."""
    assert browser(read_study).get(path.format(uid)).status_code == 404


def test_a_program_reads_findings_and_state(read_study: Parts) -> None:
    """The file as it was written, and the row with its deliveries."""
    client = browser(read_study)

    assert client.get(f"/studies/{STUDY_UID}/findings.json").json() == read_study.told
    told = client.get(f"/api/studies/{STUDY_UID}").json()
    assert (told["state"], told["job_id"], told["instances"]) == ("done", "job", 87)
    assert told["last_received"] == "2026-11-23T03:02:00+00:00"
    assert [d["state"] for d in told["deliveries"]] == ["delivered", "waiting"]


def test_findings_that_are_not_there_yet_are_404() -> None:
    """A running study has a state but no findings."""
    client = browser(Parts(rows=[study(state="running")]))

    assert client.get(f"/studies/{STUDY_UID}/findings.json").status_code == 404
    assert client.get(f"/api/studies/{STUDY_UID}").json()["state"] == "running"


@pytest.mark.parametrize(("status", "code"), [("ok", 200), ("disk full", 503)])
def test_health_answers_a_monitor_in_its_own_language(status: str, code: int) -> None:
    """The status code says it; the body says why."""
    answer = browser(Parts(status=status)).get("/healthz")

    assert (answer.status_code, answer.json()["status"]) == (code, status)


def test_a_trigger_is_taken_on_and_answered_202() -> None:
    """The answer names what was queued."""
    parts = Parts()

    answer = browser(parts).post(TRIGGER)

    assert answer.status_code == 202
    assert answer.json() == {"state": "queued", "peer": "pacs", "orthanc_id": ORTHANC_ID}
    assert parts.triggers == [("pacs", ORTHANC_ID)]


@pytest.mark.parametrize(
    ("path", "trouble", "code", "words"),
    [
        (TRIGGER.replace("pacs", "PACS%202"), None, 404, "no Orthanc is called 'PACS 2'"),
        (TRIGGER, NotAssessable("not a lumbar spine"), 422, "not a lumbar spine"),
        (TRIGGER, DiskFull("below 2048 MB"), 503, "below 2048 MB"),
    ],
)
def test_a_trigger_that_is_not_taken_on_says_why(
    path: str, trouble: LumbarError | None, code: int, words: str
) -> None:
    """The plugin shows the sentence in Orthanc; 422 is a no for good, the rest is tried again."""
    answer = browser(Parts(trouble=trouble)).post(path)

    assert (answer.status_code, words in answer.json()["detail"]) == (code, True)


def test_a_trigger_names_an_orthanc_study() -> None:
    """What cannot be Orthanc's identifier never reaches the node."""
    parts = Parts()

    assert browser(parts).post("/api/orthanc/pacs/studies/..%2f..").status_code in {404, 422}
    assert browser(parts).post("/api/orthanc/pacs/studies/1.2.3").status_code == 422
    assert parts.triggers == []


def test_with_a_token_file_a_post_needs_the_token(tmp_path: Path) -> None:
    """Reading stays open, as the pages are; writing needs the bearer token."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    parts = Parts()
    client = browser(parts, Web(token_file=token))

    for wrong in (
        {},
        {"Authorization": "Bearer other"},
        {"Authorization": "Bearer sécret".encode()},
    ):
        refused = client.post(TRIGGER, headers=wrong)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    assert parts.triggers == []
    assert client.get("/").status_code == 200
    assert client.post(TRIGGER, headers={"Authorization": "Bearer secret"}).is_success


@pytest.mark.parametrize("content", [None, " \n"])
def test_a_token_file_without_a_token_stops_the_start(tmp_path: Path, content: str | None) -> None:
    """A missing or empty file must not mean *no token needed*."""
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)

    with pytest.raises(Misconfigured, match="token_file"):
        create_app(Parts(), Web(token_file=token))


def test_pages_never_show_who_the_patient_is() -> None:
    """The parts give a study UID and nothing else; no template asks for more."""
    templates = (Path(__file__).parents[2] / "node" / "web" / "templates").glob("*.html")
    text = "".join(template.read_text("utf-8") for template in templates)
    assert not re.search(r"patient_?(name|id)|birth", text, re.IGNORECASE)
