"""A study sent to a real Orthanc comes back to it as results, with no human hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from node.phantom import PhantomStudy
from tests.node_process import NodeProcess, storescu
from tests.orthanc_server import OrthancServer, WatchedOrthanc
from tests.waiting import wait_for

FOLDER = Path(__file__).resolve().parents[2] / "orthanc"
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(params=["plugin.py", "lumbar.lua"])
def orthanc_with_trigger(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[OrthancServer, NodeProcess]]:
    """An Orthanc with one of the two scripts, and a node that knows it."""
    node = NodeProcess(tmp_path / "node", quiet_s=600, incomplete_s=600)
    section = {"NodeUrl": node.url, "Peer": "main", "RetrySeconds": 1}
    script = FOLDER / request.param
    orthanc = OrthancServer(
        tmp_path / "orthanc",
        stable_age=1,
        python_script=script if script.suffix == ".py" else None,
        lua_scripts=[script] if script.suffix == ".lua" else [],
        settings={"Lumbar": section},
    )
    with node.config.open("a") as config:
        config.write(f'[[orthanc]]\nname = "main"\nurl = "{orthanc.url}"\n')
    with orthanc, node:
        yield orthanc, node


def objects_of_class(orthanc: OrthancServer, sop_class: str) -> list[str]:
    """Orthanc's identifiers of the instances of one SOP class."""
    found = []
    for instance in orthanc.get("/instances"):
        url = f"{orthanc.url}/instances/{instance}/metadata/SopClassUid"
        if requests.get(url, timeout=10).text == sop_class:
            found.append(instance)
    return found


def state(orthanc: OrthancServer, study: str) -> str:
    """What a person reads in Orthanc about the study."""
    answer = requests.get(f"{orthanc.url}/studies/{study}/metadata/4200", timeout=10)
    return answer.text if answer.ok else ""


def test_results_come_back_into_the_same_study(
    orthanc_with_trigger: tuple[OrthancServer, NodeProcess],
    phantom: PhantomStudy,
    phantom_folder: Path,
) -> None:
    """Stable in Orthanc, pulled, analysed without a second quiet time, pushed back, and no loop."""
    orthanc, node = orthanc_with_trigger

    storescu(orthanc.dicom_port, phantom_folder, called="ORTHANC")
    told = node.wait_until(phantom.study_uid, "done", seconds=120)

    assert told["source"] == "orthanc:main"
    assert len(orthanc.get("/studies")) == 1
    assert len(objects_of_class(orthanc, REPORT)) == 1
    (study,) = orthanc.get("/studies")
    wait_for(lambda: state(orthanc, study).startswith("done"), seconds=10)

    # Our results made the study stable again; nothing new may come of it.
    count = len(orthanc.get("/instances"))
    with pytest.raises(AssertionError):
        wait_for(lambda: len(orthanc.get("/instances")) != count, seconds=5, every=0.5)
    assert node.study(phantom.study_uid)["job_id"] == told["job_id"]


def test_both_sides_may_die_in_the_middle(
    tmp_path: Path, phantom: PhantomStudy, phantom_folder: Path
) -> None:
    """The node is away, then killed while it fetches; then Orthanc is: nothing is lost or twice."""
    node = NodeProcess(tmp_path / "node", quiet_s=600, incomplete_s=600)
    section = {"NodeUrl": node.url, "Peer": "main", "RetrySeconds": 1}
    orthanc = WatchedOrthanc(
        tmp_path / "orthanc",
        file_s=0.1,
        stable_age=1,
        python_script=FOLDER / "plugin.py",
        settings={"Lumbar": section},
    )
    with node.config.open("a") as config:
        config.write(f'[[orthanc]]\nname = "main"\nurl = "{orthanc.url}"\n')

    def has_images(count: int) -> bool:
        return int(node.study(phantom.study_uid).get("instances", 0)) >= count

    with orthanc:
        storescu(orthanc.dicom_port, phantom_folder, called="ORTHANC")
        (study,) = wait_for(lambda: orthanc.get("/studies"))
        images = orthanc.get("/statistics")["CountInstances"]
        wait_for(lambda: state(orthanc, study).startswith("queued: "), what="the plugin's retry")
        with node:
            wait_for(lambda: has_images(images // 4), seconds=60, what="the first images")
            node.kill()
            node.start()
            wait_for(lambda: has_images(images // 2), seconds=60, what="half of the images")
            orthanc.kill()
            orthanc.start()
            node.wait_until(phantom.study_uid, "done", seconds=120)

            assert len(objects_of_class(orthanc, REPORT)) == 1
            # One that was on its way at each death may have been fetched again.
            assert images <= len(orthanc.fetched) <= images + 2
            wait_for(lambda: state(orthanc, study).startswith("done"), what="the state")
            review = requests.get(f"{orthanc.url}/studies/{study}/metadata/4202", timeout=10).text
            assert requests.get(review, timeout=10).ok
