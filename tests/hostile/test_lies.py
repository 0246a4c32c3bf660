"""Headers that lie: an image is left out, or the value is taken for absent; nothing falls over."""

from pathlib import Path

import pytest

from node import analysis
from node.config import Config, Report
from node.errors import MixedPatients, NotAssessable
from node.inference.runtime import ModelStore
from tests.builders import mr_image, mr_study, part10
from tests.hostile.lies import TABLE, Lie, lies, study, told

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store() -> ModelStore:
    """The shipped models."""
    return ModelStore(Config().models_dir, "cpu", 1)


def _write(files: list[bytes], folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number:02}.dcm" for number in range(len(files))]
    for path, contents in zip(paths, files, strict=True):
        path.write_bytes(contents)
    return paths


@pytest.mark.parametrize("lie", list(lies()), ids=lambda lie: lie.name)
def test_each_lie_meets_its_fate(lie: Lie, tmp_path: Path) -> None:
    """An image without sound geometry, or that is no MR slice, is not used; the rest is."""
    images = [told(lie, part10(mr_image(number=number, size=16))) for number in range(1, 6)]
    (taken,) = analysis.read(_write(images, tmp_path / "in"))
    assert not taken.unreadable
    try:
        choice = analysis.choose(taken)
    except NotAssessable as refusal:
        assert lie.fate == "left out", refusal
        return
    volumes, left_out = analysis.load(taken, choice)
    assert len(left_out) == (5 if lie.fate == "left out" else 0)
    assert sum(len(volume.slices) for volume in volumes.values()) == 5 - len(left_out)


def test_results_are_made_of_headers_that_lie(tmp_path: Path, store: ModelStore) -> None:
    """Objects and pages are built from a study in which everything that is told is wrong."""
    for number in range(max(len(values) for _, _, values in TABLE)):
        values = tuple(
            (keyword, found[number % len(found)])
            for fate, keyword, found in TABLE
            if fate == "used"
        )
        everything = Lie(f"all lies {number}", values, "used")
        paths = _write(study(everything, everything.name), tmp_path / str(number))
        (taken,) = analysis.read(paths)
        folder = tmp_path / f"out{number}"
        findings = analysis.analyse(taken, store, folder, settings=Report())
        assert len(findings.findings) == 25
        assert (folder / "sr.dcm").stat().st_size > 10_000
    assert {p.name.rstrip("0123456789") for p in tmp_path.iterdir()} == {"", "out"}


@pytest.mark.parametrize(
    ("keyword", "first", "second", "is_one"),
    [
        ("PatientID", "A1", "A2", False),
        ("PatientID", "A1", "", True),
        ("PatientName", "Roe^Jane", "Poe^Jane", False),
        ("PatientName", "Roe^Jane", "ROE^JANE^^^", True),
        ("PatientName", "Roe^Jane", "Roe Jane", True),
    ],
)
def test_two_patients_in_one_study_get_nothing(
    keyword: str, first: str, second: str, *, is_one: bool
) -> None:
    """A result could be attached to the wrong patient; spelling alone is no contradiction."""
    images = list(mr_study())
    for number, image in enumerate(images):
        setattr(image, keyword, second if number == 7 else first)
    if is_one:
        analysis.require_one_patient(images)
        return
    with pytest.raises(MixedPatients, match=f"2 different values of {keyword}") as caught:
        analysis.require_one_patient(images)
    assert first not in str(caught.value).replace(keyword, "")
