"""Two releases of the models side by side: what was begun is finished by the one that began it."""

import os
import re
import shutil
import signal
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.uid import Comprehensive3DSRStorage

from node.dicom.receiver import Receiver
from node.phantom import PhantomStudy, make_study
from tests.node_process import NodeProcess, storescu
from tests.waiting import wait_for

MODELS = Path(__file__).parents[2] / "models" / "artifacts"
OLD = {tomllib.loads(c.read_text("utf-8"))["version"] for c in MODELS.glob("*/card.toml")}
NEW = {"9.0.0"}
#: A worker that stands still is not to count as dead, as it would not on a busy host.
PATIENT = "[work]\nlease_s = 60.0\n"

Start = Callable[..., NodeProcess]


@pytest.fixture
def start(tmp_path: Path, receiver: Receiver) -> Iterator[Start]:
    """Start commands of one node, a process each; the new release's models are elsewhere."""
    newer = tmp_path / "models"
    shutil.copytree(MODELS, newer)
    for card in newer.glob("*/card.toml"):
        told = re.sub(r'^version = ".*"$', f'version = "{min(NEW)}"', card.read_text(), flags=re.M)
        card.write_text(told)
    with ExitStack() as stack:

        def started(name: str, *commands: str, models: Path = MODELS) -> NodeProcess:
            process = NodeProcess(
                tmp_path / name,
                [("pacs", receiver.ae_title, receiver.port)],
                extra=PATIENT,
                commands=commands,
                before={one: ["env", f"LUMBAR_MODELS_DIR={models}"] for one in commands},
                data=tmp_path / "data",
            )
            return stack.enter_context(process)

        yield started


def versions(front: NodeProcess, study: PhantomStudy) -> set[str]:
    """Return the versions of the models that the findings of a study come from."""
    answer = requests.get(f"{front.url}/studies/{study.study_uid}/findings.json", timeout=20)
    told: dict[str, Any] = answer.json()
    return {model["version"] for model in told["models"]}


def test_old_and_new_workers_on_one_queue(start: Start, receiver: Receiver, tmp_path: Path) -> None:
    """An upgrade, a roll-back, and an upgrade that cuts the old release off in the middle."""
    front, old = start("front", "listen", "web"), start("old", "work")
    studies = [make_study(seed) for seed in (7, 8, 9)]
    for number, study in enumerate(studies):
        study.write(tmp_path / str(number))
    finished, upgraded, cut_off = studies

    def begun(number: int) -> None:
        storescu(front.dicom_port, tmp_path / str(number))
        front.wait_until(studies[number].study_uid, "running", seconds=180)

    def upgrade() -> NodeProcess:
        os.kill(old.pid("work"), signal.SIGSTOP)  # in the middle of a study, however fast it is
        new = start("new", "work", models=tmp_path / "models")
        wait_for(lambda: "node started" in new.log, seconds=120, what="the new worker")
        return new

    begun(0)
    new = upgrade()
    os.kill(old.pid("work"), signal.SIGCONT)
    front.wait_until(finished.study_uid, "done", seconds=180)
    assert versions(front, finished) == OLD

    begun(1)
    front.wait_until(upgraded.study_uid, "done", seconds=180)
    assert versions(front, upgraded) == NEW
    new.stop()

    begun(2)  # rolled back: nothing waits for a release that is gone
    new = upgrade()
    old.kill()
    front.wait_until(cut_off.study_uid, "done", seconds=180)
    assert versions(front, cut_off) == NEW

    reports = [pydicom.dcmread(path, force=True) for path in receiver.files()]
    of_study = [
        str(o.StudyInstanceUID) for o in reports if o.SOPClassUID == Comprehensive3DSRStorage
    ]
    assert sorted(of_study) == sorted(study.study_uid for study in studies)
