"""The configurations of deploy/compose.yaml, with real processes in place of its containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests import builders
from tests.node_process import NodeProcess
from tests.orthanc_server import OrthancServer
from tests.unit.test_deployment import DEPLOY, json_with_comments
from tests.waiting import wait_for

LOGIN = ("lumbar", "a password of the house")


class ComposedOrthanc(OrthancServer):
    """Orthanc as compose.yaml configures it, but for folders and ports."""

    def get(self, path: str) -> object:
        answer = requests.get(f"{self.url}{path}", auth=LOGIN, timeout=20)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[tuple[ComposedOrthanc, NodeProcess]]:
    """Both services; names of hosts and places of secrets are those of this machine."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "orthanc-password").write_text(LOGIN[1])
    (secrets / "token").write_text("a token of the house")
    node = NodeProcess(tmp_path / "node")
    settings = json_with_comments(DEPLOY / "compose" / "orthanc.json")
    for key in ("StorageDirectory", "IndexDirectory", "HttpPort", "DicomPort", "PythonScript"):
        del settings[key]
    settings["Lumbar"] |= {"NodeUrl": node.url, "TokenFile": str(secrets / "token")}
    orthanc = ComposedOrthanc(
        tmp_path / "orthanc",
        python_script=DEPLOY.parent / "orthanc" / "plugin.py",
        environment={"ORTHANC_PASSWORD": LOGIN[1]},
        settings=settings,
    )
    text = (DEPLOY / "compose" / "node.toml").read_text("utf-8")
    text = text.replace("http://orthanc:8042", orthanc.url).replace("/run/secrets", str(secrets))
    ours = node.config.read_text("utf-8").partition("[web]")[0]
    node.config.write_text(ours + text.replace("[web]\n", f"[web]\nport = {node.web_port}\n"))
    with node, orthanc:
        yield orthanc, node


def test_orthanc_and_node_work_together_as_composed(
    composed: tuple[ComposedOrthanc, NodeProcess],
) -> None:
    """Who presses the button learns what became of the study: passwords, token and names fit."""
    orthanc, node = composed
    for image in builders.mr_study(slices=2):
        part10 = builders.part10(image)
        stored = requests.post(f"{orthanc.url}/instances", data=part10, auth=LOGIN, timeout=20)
    study = stored.json()["ParentStudy"]
    assert requests.get(f"{orthanc.url}/studies", timeout=20).status_code == 401
    trigger = f"{node.url}/api/orthanc/orthanc/studies/{study}"
    assert requests.post(trigger, timeout=20).status_code == 401

    asked = requests.post(f"{orthanc.url}/lumbar/studies/{study}", auth=LOGIN, timeout=20)
    assert asked.json()["state"] == "queued"

    def told() -> object:
        return orthanc.get(f"/lumbar/studies/{study}")

    ended = wait_for(
        lambda: (t := told()) and t["state"].split(":")[0] in {"done", "rejected", "failed"} and t,  # type: ignore[index]
        seconds=60,
        what="the end of the study",
    )
    uid = builders.uid("study", "1")
    assert ended["review"] == f"http://127.0.0.1:8080/studies/{uid}"  # type: ignore[index]
    assert node.study(uid)["source"] == "orthanc:orthanc"
