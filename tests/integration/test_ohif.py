"""OHIF on a machine and on the node's port: whole or not there, and under a policy of its own."""

import tarfile
from hashlib import sha512
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from node import viewer
from node.config import Web
from node.errors import LumbarError, Misconfigured, RetryLater
from node.web.app import create_app
from tests.web_parts import STUDY_UID, Parts

PAGE = "<!doctype html><script>window.PUBLIC_URL='/'</script><script defer src='/app.js'></script>"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built viewer, as small as one can be."""
    folder = tmp_path / "package" / "dist"
    (folder / "ort").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "index.html").write_text(PAGE)
    (folder / "app.js").write_text("start()")
    (folder / "app-config.js").write_text("theirs")
    (folder / "assets" / "logo.svg").write_text("<svg/>")
    (folder / "ort" / "large.wasm").write_bytes(bytes(100))
    return folder


@pytest.fixture
def tarball(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as npm packs it, and known as the pinned release."""
    path = tmp_path / "app.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(built.parent, "package")
    monkeypatch.setattr(viewer, "SHA512", sha512(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def browser(built: Path) -> TestClient:
    """A browser before a node that serves the viewer."""
    return TestClient(create_app(Parts(), Web(viewer_dir=built)))


def test_a_fetched_viewer_is_whole_and_fetched_once(tarball: Path, tmp_path: Path) -> None:
    """What is built, without the part that is not used; a second time needs no network."""
    folder = tmp_path / "cache" / "ohif"

    viewer.fetch(folder, tarball.as_uri())
    tarball.unlink()
    viewer.fetch(folder, tarball.as_uri())

    assert (folder / "index.html").read_text() == PAGE
    assert (folder / "assets" / "logo.svg").is_file()
    assert not (folder / "ort").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["ohif"]


def test_an_altered_viewer_is_refused(tarball: Path, tmp_path: Path) -> None:
    """Another byte than the pinned ones, and nothing is left of it."""
    tarball.write_bytes(tarball.read_bytes() + b"\0")

    with pytest.raises(LumbarError, match=f"not OHIF {viewer.VERSION}"):
        viewer.fetch(tmp_path / "ohif", tarball.as_uri())

    assert not (tmp_path / "ohif").exists()


def test_without_a_network_it_says_what_it_could_not_reach(tmp_path: Path, free_port: int) -> None:
    """The address is in the message; the folder stays absent."""
    with pytest.raises(RetryLater, match=f"127.0.0.1:{free_port}"):
        viewer.fetch(tmp_path / "ohif", f"http://127.0.0.1:{free_port}/app.tgz")

    assert not (tmp_path / "ohif").exists()


def test_somebody_elses_folder_is_left_alone(tarball: Path, tmp_path: Path) -> None:
    """OHIF never takes the place of other files."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()

    with pytest.raises(Misconfigured, match="new or empty folder"):
        viewer.fetch(tmp_path / "mine", tarball.as_uri())

    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_the_viewer_gets_its_files_and_our_configuration(browser: TestClient) -> None:
    """By the absolute paths it asks for; its own configuration, which names another host, never."""
    assert browser.get("/viewer?StudyInstanceUIDs=1.2.3").text == PAGE
    assert browser.get("/app.js").text == "start()"
    assert browser.get("/assets/logo.svg").text == "<svg/>"
    assert "dataSources" in browser.get("/app-config.js").text


def test_a_browser_keeps_what_has_not_changed(browser: TestClient) -> None:
    """It asks each time, and megabytes are not sent again."""
    first = browser.get("/app.js")

    assert first.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    assert browser.get("/app.js", headers=known).status_code == 304


def test_the_viewer_runs_under_a_policy_of_its_own(browser: TestClient) -> None:
    """Its one line of script by hash; nothing from elsewhere; the other pages as strict as ever."""
    policy = browser.get("/viewer").headers["content-security-policy"]

    assert "default-src 'self';" in policy
    assert "'sha256-HduPiktadII+Ke0c0x0RDAVGFJI6aQ6PhDHdHF3LX+w='" in policy
    assert "http" not in policy
    assert "'unsafe-eval'" not in policy
    assert "'unsafe-eval'" not in browser.get("/index.html").headers["content-security-policy"]
    assert "'unsafe-eval'" in browser.get("/app.js").headers["content-security-policy"]
    assert "wasm" not in browser.get("/").headers["content-security-policy"]
    assert browser.get("/viewer").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/..%2f..%2fapp.tgz", "/%2e%2e/%2e%2e/app.tgz", "//etc/passwd"]
)
def test_what_the_viewer_does_not_have_is_not_found(
    browser: TestClient, tarball: Path, path: str
) -> None:
    """Nor what lies outside of its folder."""
    assert browser.get(path).status_code == 404


def test_the_nodes_own_paths_stay_the_nodes_own(browser: TestClient) -> None:
    """The work list, its files and its refusals are as without a viewer."""
    assert "Work list" in browser.get("/").text
    assert browser.get("/static/style.css").status_code == 200
    assert browser.post("/healthz").status_code == 405
    assert browser.get("/dicom-web/studies").headers["content-type"] == "application/dicom+json"


def test_who_may_not_read_is_asked_to_sign_in(built: Path, tmp_path: Path) -> None:
    """Instead of a viewer that says that there is no such study."""
    (tmp_path / "token").write_text("secret")
    browser = TestClient(create_app(Parts(), Web(viewer_dir=built, token_file=tmp_path / "token")))

    asked = browser.get("/viewer", follow_redirects=False)
    browser.post("/sign-in", data={"token": "secret"})

    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in")
    assert browser.get("/viewer", follow_redirects=False).text == PAGE


def test_a_study_links_to_the_viewer_where_there_is_one(browser: TestClient) -> None:
    """One click opens the study on its report."""
    with_viewer = browser.get(f"/studies/{STUDY_UID}").text
    without = TestClient(create_app(Parts(), Web())).get(f"/studies/{STUDY_UID}").text

    assert (
        f"/viewer?StudyInstanceUIDs={STUDY_UID}&amp;initialSeriesInstanceUID=2.25." in with_viewer
    )
    assert "Open in viewer" not in without


def test_a_folder_without_a_viewer_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    """Said at the start, with what to do."""
    with pytest.raises(Misconfigured, match="lumbar-node viewer"):
        create_app(Parts(), Web(viewer_dir=tmp_path))
