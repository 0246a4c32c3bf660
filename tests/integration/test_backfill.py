"""Archives that are walked through: a folder tree, a real Orthanc, and its DICOMweb plugin."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from node.app import Node
from node.backfill.archives import FOLDER, Collection, Wanted, archive_of
from node.backfill.run import Backfill
from node.config import Config, DicomwebPeer, Listen, OrthancPeer, Source
from node.errors import Misconfigured
from node.storage.ledger import Entry, Ledger
from tests import builders
from tests.orthanc_server import DICOMWEB_PLUGIN, WatchedOrthanc

#: Study -> its date and description.
STUDIES = {
    "1": ("20250101", "MRI L-Spine"),
    "2": ("20260301", "MRI Lumbar"),
    "3": ("20270101", "MRI Knee"),
}


def images(study: str) -> list[bytes]:
    day, words = STUDIES[study]
    made = builders.mr_study(study, slices=1, size=16)
    changes = {"StudyDate": day, "StudyDescription": words, "PatientID": study}
    for image in (found := list(made)):
        for keyword, value in changes.items():
            setattr(image, keyword, value)
    return [builders.part10(image) for image in found]


def uids(*studies: str) -> set[str]:
    return {builders.uid("study", study) for study in studies}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedOrthanc]:
    """One Orthanc with all studies, and a CT that nobody wants."""
    folder = tmp_path_factory.mktemp("orthanc")
    with WatchedOrthanc(folder, plugins=[DICOMWEB_PLUGIN]) as server:
        for part10 in [image for study in STUDIES for image in images(study)]:
            server.upload(part10)
        server.upload(builders.part10(builders.ct_image("4")))
        yield server


@pytest.fixture
def node(orthanc: WatchedOrthanc, tmp_path: Path) -> Iterator[Node]:
    made = Node(
        Config(
            data_dir=tmp_path / "data",
            listen=Listen(min_free_mb=1),
            orthanc=(OrthancPeer(name="main", url=orthanc.url),),
            dicomweb=(DicomwebPeer(name="web", url=f"{orthanc.url}/dicom-web"),),
        )
    )
    yield made
    made.stop()


@pytest.fixture(params=["folder", "orthanc:main", "dicomweb:web"])
def archive(request: pytest.FixtureRequest, node: Node, tmp_path: Path) -> Collection:
    if request.param != "folder":
        return archive_of(request.param, node.peers)
    flat, deep = tmp_path / "tree", tmp_path / "tree" / "deep" / "er"
    deep.mkdir(parents=True)
    for number, part10 in enumerate(image for study in STUDIES for image in images(study)):
        ((flat, deep)[number % 2] / f"{number}").write_bytes(part10)
    (flat / "DICOMDIR").write_bytes(bytes(500))
    (flat / "notes.txt").write_text("no image")
    (deep / "ct.dcm").write_bytes(builders.part10(builders.ct_image("4")))
    (deep / "round").symlink_to(flat)
    return archive_of(str(flat), node.peers)


def walk(archive: Collection, node: Node, wanted: Wanted = Wanted()) -> Backfill:  # noqa: B008
    """A walk whose studies end as soon as they are handed in."""

    def end(study_uid: str) -> None:
        node.index.set_state(study_uid, "rejected", ["no lumbar spine"])

    made = Backfill(
        archive,
        Ledger(node.config.database, archive.place, wanted.to_json()),
        node.index,
        at_once=2,
        hand_in=end,
        findings_of=node.findings,
        has_space=lambda: True,
        has_worker=lambda: True,
    )
    list(made.listed(wanted))
    return made


def ended(made: Backfill) -> list[Entry]:
    return [entry for entry in made.run() if entry is not None]


def test_every_mr_study_is_brought_in_once(
    archive: Collection, node: Node, orthanc: WatchedOrthanc
) -> None:
    """All images, by the one way in, under the name of the walk; the second walk skips them."""
    assert {e.study_uid for e in ended(walk(archive, node))} == uids(*STUDIES)
    rows = [row for uid in uids(*STUDIES) for row in node.index.instances(uid)]
    assert len(rows) == 9
    assert {row.source for row in rows} == {archive.source}
    assert all(node.archive.holds(row.sha256) for row in rows)

    asked = len(orthanc.fetched)
    assert {e.state for e in ended(walk(archive, node))} == {"known"}
    assert len(orthanc.fetched) == asked


def test_days_and_description_choose_studies(archive: Collection, node: Node) -> None:
    """Every kind of archive is asked the same and answers the same."""
    for wanted, studies in [
        (Wanted(since=date(2026, 3, 1)), ["2", "3"]),
        (Wanted(until=date(2025, 6, 1)), ["1"]),
        (Wanted(date(2025, 1, 1), date(2026, 3, 1), "*lumbar*"), ["2"]),
        (Wanted(description="*kn?e"), ["3"]),
    ]:
        assert {e.study_uid for e in ended(walk(archive, node, wanted))} == uids(*studies)


def test_what_was_fetched_before_a_kill_is_not_fetched_again(
    node: Node, orthanc: WatchedOrthanc
) -> None:
    """A study whose images came only in part goes on with the images that are missing."""
    archive = archive_of("orthanc:main", node.peers)
    made = walk(archive, node, Wanted(description="*kn?e"))
    first = made.ledger.next()
    assert first is not None
    made.ledger.set(Entry(first.name, "fetching", builders.uid("study", "3")))
    node.intake.receive(images("3")[0], archive.source)
    before = len(orthanc.fetched)

    (entry,) = ended(walk(archive, node, Wanted(description="*kn?e")))

    assert entry == Entry(
        first.name, "not_assessable", builders.uid("study", "3"), "no lumbar spine"
    )
    assert len(orthanc.fetched) == before + 2


def test_a_file_that_cannot_be_trusted_is_set_aside_and_the_rest_goes_on(
    node: Node, tmp_path: Path
) -> None:
    """A file cut off in its pixels is shown in the quarantine; a study without any has its end."""
    tree = tmp_path / "tree"
    tree.mkdir()
    whole, cut, _ = images("1")
    (tree / "whole.dcm").write_bytes(whole)
    (tree / "cut.dcm").write_bytes(cut[:-100])
    (tree / "alone.dcm").write_bytes(images("2")[0][:-100])
    archive = archive_of(str(tree), node.peers)

    states = {e.study_uid: e.state for e in ended(walk(archive, node))}

    assert set(states.values()) == {"not_assessable"}
    assert len(node.index.instances(*uids("1"))) == 1
    assert node.index.study(*uids("2")) is None
    assert len(list(node.quarantine.entries())) == 2


def test_an_archive_that_is_away_is_waited_for(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that comes back is gone on with; meanwhile a person reads why it waits."""
    monkeypatch.setattr("node.backfill.run.POLL_S", 0.01)
    monkeypatch.setattr("node.backfill.run.FIRST_WAIT_S", 0.02)
    tree, gone = tmp_path / "tree", tmp_path / "gone"
    builders.write_all(builders.mr_study(slices=1, size=16), tree)
    made = walk(archive_of(str(tree), node.peers), node)
    tree.rename(gone)
    found = made.run()
    for _ in range(20):  # far more often than an archive that answers is asked
        assert next(found) is None
        assert "cannot be read" in made.said
    gone.rename(tree)

    assert [e.state for e in found if e is not None] == ["not_assessable"]
    assert made.said == ""


def test_a_study_that_only_its_archive_knows_ends_as_failed(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is gone while the archive answers is not waited for without end."""
    monkeypatch.setattr("node.backfill.run.POLL_S", 0.01)
    monkeypatch.setattr("node.backfill.run.FIRST_WAIT_S", 0.01)
    tree = tmp_path / "tree"
    paths = builders.write_all(builders.mr_study(slices=1, size=16), tree)
    made = walk(archive_of(str(tree), node.peers), node)
    paths[0].unlink()

    (entry,) = ended(made)

    assert entry.state == "failed"
    assert entry.reason == "a file of study … cannot be read: No such file or directory"


def test_an_archive_that_is_none_is_refused(node: Node, tmp_path: Path) -> None:
    """A misspelt name is told at once, and how an archive is named."""
    with pytest.raises(Misconfigured, match="'nobody' is not in the configuration"):
        archive_of("orthanc:nobody", node.peers)
    with pytest.raises(Misconfigured, match="orthanc:NAME"):
        archive_of(str(tmp_path / "missing"), node.peers)


def test_results_go_where_the_rule_for_backfill_says(node: Node) -> None:
    """Without a rule as for live studies of the peer; with one where it says, or nowhere."""
    walked = "backfill:orthanc:main"
    assert list(node.peers.destinations_of(walked)) == ["orthanc:main"]
    assert list(node.peers.destinations_of(FOLDER)) == []

    for names in ((), ("dicomweb:web",)):
        rule = Source(ae_title="backfill", destinations=names)
        ruled = node.config.model_copy(update={"sources": (rule,)})
        assert replace(node.peers, config=ruled).destinations_of(walked) == names
        assert rule.priority == "backfill"
