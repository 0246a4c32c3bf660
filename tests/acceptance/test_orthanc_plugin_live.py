"""The plugin and the Lua script inside a real Orthanc, our own web interface at the other end."""

import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from playwright.sync_api import expect

from node.config import OrthancPeer, Web
from node.dicom import orthanc as client
from node.errors import NotAssessable
from node.loopback import free_port
from node.web.app import create_app
from tests import builders
from tests.ohif_page import ARTEFACTS, browser
from tests.orthanc_server import OrthancServer
from tests.waiting import wait_for

FOLDER = Path(__file__).resolve().parents[2] / "orthanc"
QUIET_S = 4.0  # longer than StableAge and Orthanc's own look around, once a second
TOKEN = "a secret of the house"  # noqa: S105


class Recorder:
    """The node's parts as far as Orthanc talks to them: triggers are written down."""

    def __init__(self) -> None:
        self.triggers: list[tuple[str, str]] = []
        self.refusal = ""

    def orthanc_trigger(self, peer: str, orthanc_id: str) -> None:
        if peer != "pacs":
            raise KeyError(peer)
        self.triggers.append((peer, orthanc_id))
        if self.refusal:
            raise NotAssessable(self.refusal)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"Orthanc has no business with {name}")


class NodeServer:
    """Our web interface on a port that stays the same while it comes and goes."""

    def __init__(self, parts: Recorder, web: Web) -> None:
        self._app = create_app(parts, web)
        self.port = free_port()
        self._server: uvicorn.Server | None = None

    def start(self) -> None:
        options = uvicorn.Config(self._app, port=self.port, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(options)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_for(lambda: self._server and self._server.started, what="the web interface")

    def stop(self) -> None:
        if self._server:
            self._server.should_exit = True
            self._thread.join(timeout=10)
            self._server = None


@pytest.fixture
def parts() -> Recorder:
    return Recorder()


@pytest.fixture
def node(parts: Recorder, tmp_path: Path) -> Iterator[NodeServer]:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    server = NodeServer(parts, Web(token_file=token))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def lumbar(node: NodeServer, tmp_path: Path) -> Mapping[str, Any]:
    """Orthanc's configuration, but for the script."""
    return {
        "Lumbar": {
            "NodeUrl": f"http://127.0.0.1:{node.port}",
            "Peer": "pacs",
            "TokenFile": str(tmp_path / "token"),
            "RetrySeconds": 1,
        },
        "UserMetadata": {"lumbar-state": 4200},
    }


@pytest.fixture
def pacs(lumbar: Mapping[str, Any], tmp_path: Path) -> Iterator[OrthancServer]:
    server = OrthancServer(
        tmp_path / "pacs", stable_age=1, python_script=FOLDER / "plugin.py", settings=lumbar
    )
    with server:
        yield server


def store(pacs: OrthancServer, folder: Path) -> None:
    """C-STORE a study of three series into Orthanc, as a scanner does."""
    builders.write_all(builders.mr_study(slices=3), folder)
    command = ["/usr/bin/storescu", "+sd", "127.0.0.1", str(pacs.dicom_port), str(folder)]
    subprocess.run(command, check=True, timeout=60, env={"TCP_NODELAY": "1"})


def peer(pacs: OrthancServer) -> OrthancPeer:
    return OrthancPeer(name="pacs", url=pacs.url)


def state(pacs: OrthancServer, study: str) -> str:
    answer = requests.get(f"{pacs.url}/studies/{study}/metadata/lumbar-state", timeout=10)
    return answer.text if answer.ok else ""


def no_more(parts: Recorder, count: int) -> None:
    """Fail as soon as one trigger too many arrives, for as long as one could."""
    with pytest.raises(AssertionError, match="waited"):
        wait_for(lambda: len(parts.triggers) > count, seconds=QUIET_S)


def test_a_study_goes_to_the_node_and_results_come_back_without_a_loop(
    pacs: OrthancServer, parts: Recorder, tmp_path: Path
) -> None:
    """C-STORE in, one trigger, every image byte for byte, the result in the same study, silence."""
    store(pacs, tmp_path / "study")
    wait_for(lambda: parts.triggers, what="the trigger")
    ((_, study),) = parts.triggers
    assert [study] == pacs.get("/studies")
    wait_for(lambda: state(pacs, study) == "sent", what="the state")

    images: list[bytes] = []
    assert client.pull(peer(pacs), study, images.append).images == 9
    assert sorted(images) == sorted(pacs.files().values())

    result = tmp_path / "capture.dcm"
    result.write_bytes(builders.part10(builders.capture()))
    assert client.push(peer(pacs), [result]) == 1
    client.note(peer(pacs), builders.uid("study", "1"), "done")

    assert pacs.get("/studies") == [study]
    assert pacs.get("/statistics")["CountInstances"] == 10
    no_more(parts, 1)
    assert state(pacs, study) == "done"
    # Our own result is not fetched as if it were an image of the patient.
    assert client.pull(peer(pacs), study, images.append).images == 9


def test_orthanc_killed_while_the_node_is_down_still_tells(
    pacs: OrthancServer, node: NodeServer, parts: Recorder, tmp_path: Path
) -> None:
    """The study waits in Orthanc's database, with the reason, through ``kill -9`` and a restart."""
    node.stop()
    store(pacs, tmp_path / "study")
    (study,) = pacs.get("/studies")
    wait_for(lambda: state(pacs, study).startswith("queued: "), what="the queue")
    assert "does not answer" in state(pacs, study)

    pacs.kill()
    pacs.start()
    node.start()

    wait_for(lambda: parts.triggers == [("pacs", study)], what="the trigger")
    wait_for(lambda: state(pacs, study) == "sent", what="the state")
    no_more(parts, 1)


def test_orthanc_killed_before_the_study_was_stable_still_tells(
    lumbar: Mapping[str, Any], parts: Recorder, tmp_path: Path
) -> None:
    """Orthanc forgets which studies were not yet stable; the plugin finds them in its log."""
    script = FOLDER / "plugin.py"
    pacs = OrthancServer(tmp_path / "pacs", stable_age=60, python_script=script, settings=lumbar)
    with pacs:
        wait_for(lambda: "stable MR studies are told" in pacs.log, what="the plugin")
        store(pacs, tmp_path / "study")
        assert parts.triggers == []
        pacs.kill()
        pacs.start()

        wait_for(lambda: parts.triggers, what="the trigger")
        assert [("pacs", *pacs.get("/studies"))] == parts.triggers


def test_a_refusal_is_shown_and_a_person_may_ask_again(
    pacs: OrthancServer, parts: Recorder, tmp_path: Path
) -> None:
    """The node's reason stands in the study; ``POST /lumbar/studies/{id}`` tells once more."""
    parts.refusal = "study is not of the lumbar spine"
    store(pacs, tmp_path / "study")
    wait_for(lambda: parts.triggers, what="the trigger")
    (study,) = pacs.get("/studies")
    rejected = f"rejected: {parts.refusal}"
    wait_for(lambda: state(pacs, study) == rejected, what="the reason")

    parts.refusal = ""
    asked = requests.post(f"{pacs.url}/lumbar/studies/{study}", timeout=10)

    assert asked.json()["mr_images"] == 9
    wait_for(lambda: len(parts.triggers) == 2, what="the second trigger")
    wait_for(lambda: state(pacs, study) == "sent", what="the state")
    unknown = "0" * 8 + ("-" + "0" * 8) * 4
    assert requests.post(f"{pacs.url}/lumbar/studies/{unknown}", timeout=10).status_code == 404


def test_the_button_in_orthanc_explorer(
    pacs: OrthancServer, parts: Recorder, tmp_path: Path
) -> None:
    """A person presses it, the node is told again, and the page follows the state to its end."""
    store(pacs, tmp_path / "study")
    wait_for(lambda: parts.triggers, what="the trigger")
    ((_, study),) = parts.triggers
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1300, "height": 800})
        page.goto(f"{pacs.url}/app/explorer.html#study?uuid={study}")
        state_on_page = page.locator("#lumbar-state")
        expect(state_on_page).to_have_text("sent", timeout=60_000)

        page.get_by_text("AI: lumbar stenosis").click()
        wait_for(lambda: parts.triggers == [("pacs", study)] * 2, what="the second trigger")
        review = "http://127.0.0.1:8080/studies/1.2.3"
        client.note(peer(pacs), builders.uid("study", "1"), "done: <b>all</b>", review)

        expect(state_on_page).to_have_text("done: <b>all</b> · Review", timeout=60_000)
        assert page.get_by_role("link", name="Review").get_attribute("href") == review
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTEFACTS / "orthanc-explorer.png")


def test_the_lua_script_triggers_once_and_ignores_results(
    lumbar: Mapping[str, Any], parts: Recorder, tmp_path: Path
) -> None:
    """The same trigger and the same guard, in an Orthanc without Python."""
    with OrthancServer(
        tmp_path / "pacs", stable_age=1, lua_scripts=[FOLDER / "lumbar.lua"], settings=lumbar
    ) as pacs:
        store(pacs, tmp_path / "study")
        wait_for(lambda: parts.triggers, what="the trigger")
        (study,) = pacs.get("/studies")
        assert parts.triggers == [("pacs", study)]
        wait_for(lambda: state(pacs, study) == "sent", what="the state")

        pacs.upload(builders.part10(builders.capture()))

        no_more(parts, 1)


def test_the_lua_script_tells_later_of_what_it_could_not(
    lumbar: Mapping[str, Any], node: NodeServer, parts: Recorder, tmp_path: Path
) -> None:
    """A silent node is told of the study when the next one becomes stable."""
    node.stop()
    with OrthancServer(
        tmp_path / "pacs", stable_age=1, lua_scripts=[FOLDER / "lumbar.lua"], settings=lumbar
    ) as pacs:
        first = pacs.upload(builders.part10(builders.mr_image("first")))
        wait_for(lambda: state(pacs, first).startswith("queued: "), what="the queue")

        node.start()
        second = pacs.upload(builders.part10(builders.mr_image("second")))

        both = {("pacs", first), ("pacs", second)}
        wait_for(lambda: set(parts.triggers) == both, what="both triggers")
