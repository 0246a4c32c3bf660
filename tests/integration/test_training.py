"""From phantoms to a shipped file: a few steps of every stage, export, parity, card, hash."""

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from models.augment import Warp, field_of_view, looks
from models.batches import points
from models.batches.crops import Crops, crop_batch
from models.batches.points import point_batch
from models.batches.series import series_batch, slice_target
from models.card import BEGUN_WITH_PHOTOGRAPHS, STATEMENTS, write_metrics
from models.data import Case, case_files, load, prepare_all, source_of
from models.evaluate import measure
from models.export import PARITY, check_parity, export, split
from models.networks import Grader, PointFinder, SliceFinder
from models.page import STAGES, write_page
from models.phantom_set import write_set
from models.summary import summarise
from models.train import Settings, network, save, train
from node.config import Config
from node.inference.runtime import verify
from node.phantom import StudyOptions
from node.spine.anatomy import ConditionGroup

ARTIFACTS = Path(Config.model_fields["models_dir"].default)
NAMES = ("instance_canal", "coordinate_subarticular", "severity_foraminal")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is trained on and one for calibration, in the layout of the download."""
    folder = tmp_path_factory.mktemp("data")
    for seed in (0, 11):  # the hash of their ids puts them into these parts
        write_set(folder, StudyOptions(), first=seed, count=1, processes=1)
    return folder


@pytest.fixture(scope="module")
def work(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with both studies' cases."""
    folder = tmp_path_factory.mktemp("work")
    assert prepare_all(data, folder, 1)["cases written"] >= 6
    return folder


def test_training_needs_no_more_than_a_case_for_each_series(work: Path) -> None:
    """Every group has cases in both parts; what is prepared says what it was made of."""
    for group in ConditionGroup:
        assert len(case_files(work, "train", group)) >= 1
        assert len(case_files(work, "validation", group)) >= 1
    assert source_of(work) == "phantoms"


@pytest.fixture(scope="module")
def cases(work: Path) -> dict[ConditionGroup, list[Case]]:
    """The cases of the training study, all their arrays."""
    found = {}
    for group in ConditionGroup:
        files = case_files(work, "train", group)
        with np.load(files[0]) as arrays:
            found[group] = load(files, list(arrays))
    return found


@pytest.mark.parametrize(
    ("name", "pretrained"), [*((name, False) for name in NAMES), ("severity_canal", True)]
)
def test_train_export_verify(work: Path, tmp_path: Path, name: str, *, pretrained: bool) -> None:
    """Three steps, then a file the node accepts, that answers like torch at other lengths."""
    stage, group = split(name)
    files, calibration = (case_files(work, part, group) for part in ("train", "validation"))
    few = {"steps": 3, "series": 1, "slices": 4, "crops": 8}
    settings = Settings(minutes=5, **few, weighted=True, pretrained=pretrained)
    trained = train(stage, group, files, calibration, settings=settings)
    assert trained.log["steps"] == 3
    trained.log["data"] = source_of(work)
    save(trained, work / "models" / name, settings)
    folder = export(name, work, tmp_path, "0.0.1", half=True)
    assert verify(folder)[0] == "0.0.1"
    exported = (folder / "model.onnx").read_bytes()
    assert check_parity(trained.network, exported, stage, group) < PARITY
    card = tomllib.loads((folder / "card.toml").read_text("utf-8"))
    begun = BEGUN_WITH_PHOTOGRAPHS if pretrained else ""
    assert card["statement"] == begun + STATEMENTS["phantoms"]
    assert card["training"]["series"] == len(files)
    metadata = ort.InferenceSession(exported).get_modelmeta().custom_metadata_map
    assert metadata["use"] == card["statement"]
    halved = (folder / "model.fp16.onnx").read_bytes()
    assert len(halved) < 0.65 * len(exported)
    assert card["half"]["sha256"] == hashlib.sha256(halved).hexdigest()
    assert check_parity(trained.network, halved, stage, group) < 0.05
    if stage == "severity":
        known = card["training"]["calibration"]
        assert known["crops"] == sum(b["count"] for b in known["reliability"])
        assert isinstance(trained.network, Grader)
        assert known["temperature"] == pytest.approx(float(trained.network.temperature), abs=1e-3)


@pytest.mark.parametrize("group", list(ConditionGroup))
def test_batches_have_targets_that_are_distributions(
    cases: dict[ConditionGroup, list[Case]], group: ConditionGroup
) -> None:
    """Whatever the augmentation does, every target sums to one and has the network's shape."""
    rng = np.random.default_rng(0)
    series = series_batch(cases[group], rng, 2)
    for target in series.targets:
        assert torch.allclose(target.sum(dim=0), torch.ones(target.shape[1]), atol=1e-5)
    points = point_batch(cases[group], group, rng, 6)
    net = network("coordinate", group)
    assert isinstance(net, PointFinder)
    assert net.log_maps(points.images).shape == points.targets.shape
    assert torch.allclose(points.targets.sum(dim=2), torch.ones_like(points.counts), atol=1e-4)
    batch = crop_batch(Crops.of(cases[group]), rng, 4)
    assert batch.crops.shape == (4, 3, 96, 96)


def test_warp_carries_points_along_with_the_image() -> None:
    """A bright dot is where `points` says it went."""
    torch.manual_seed(3)
    images = torch.zeros(8, 1, 96, 96)
    at = torch.randint(30, 66, (8, 1, 2))
    for k in range(8):
        column, row = at[k, 0]
        images[k, 0, row - 1 : row + 2, column - 1 : column + 2] = 1
    warp = Warp.random(8, degrees=15, zoom=(0.8, 1.25), shift=0.1)
    warped, moved = warp.images(images, 96), warp.points(at.float(), 96)
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    for k in range(8):
        mass = warped[k, 0] / warped[k, 0].sum()
        centre = torch.stack([(mass * columns).sum(), (mass * rows).sum()])
        assert torch.allclose(centre, moved[k, 0], atol=0.3)


def test_looks_and_cuts_stay_finite() -> None:
    """Brightness changes and cut fields give numbers, and the mask tells what was cut."""
    x, mask = field_of_view(looks(torch.rand(16, 1, 64, 64), invert=0.5), chance=1.0)
    assert torch.isfinite(x).all()
    assert (x[~mask[:, None]] == 0).all()


@pytest.mark.parametrize("group", ConditionGroup)
def test_nothing_is_to_be_found_head_down(
    cases: dict[ConditionGroup, list[Case]], group: ConditionGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a target is known at all, it says "none"."""
    monkeypatch.setattr(points, "UPSIDE_DOWN", 1.0)
    batch = point_batch(cases[group], group, np.random.default_rng(5), 16)
    assert (batch.counts > 0).any()
    assert (batch.targets[..., -1][batch.counts > 0] == 1).all()


def test_slice_target_says_absent_when_no_slice_is_near() -> None:
    """A level 30 mm beyond the series is absent; one on a slice is that slice."""
    distance = np.array([[30.0, 4.5], [34.5, 0.0], [39.0, -4.5]])
    target = slice_target(distance, 4.5)
    assert target[3, 0] == 1
    assert target[:, 1].argmax() == 1


def test_networks_take_any_length() -> None:
    """One slice or forty, one crop or many."""
    finder, grader = SliceFinder(10).eval(), Grader().eval()
    for length in (1, 40):
        assert finder(torch.rand(length, 1, 64, 64), torch.zeros(length, 1)).shape == (
            length + 1,
            10,
        )
        probabilities = grader(torch.rand(length, 3, 96, 96))
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(length), atol=1e-5)


@pytest.mark.parametrize("group", list(ConditionGroup))
def test_what_nobody_labelled_is_not_taken_for_absent(
    cases: dict[ConditionGroup, list[Case]], group: ConditionGroup
) -> None:
    """A place without a label has no target in stage 1 and no say in stage 2."""
    case = dict(cases[group][0])
    unlabelled = np.arange(case["distance"].shape[1]) % 5 == 2  # L3/L4, on each side
    case["distance"] = np.where(unlabelled, np.nan, case["distance"])
    case["points"] = np.where(unlabelled[:, None], np.nan, case["points"])
    rng = np.random.default_rng(0)
    for target in series_batch([case], rng, 4).targets:
        assert torch.equal(target.sum(dim=0) == 0, torch.from_numpy(unlabelled))
    points = point_batch([case], group, rng, 12)
    if group is not ConditionGroup.SUBARTICULAR:
        assert (points.counts[:, 2] == 0).all()
        assert (points.counts[:, 5] == 0).all()  # "any level" is not known either
    assert torch.isfinite(points.targets).all()


def test_evaluation_of_the_shipped_models(data: Path, tmp_path: Path) -> None:
    """Every labelled finding is measured by stage and as a whole; JSON, page and cards follow."""
    records, _ = measure(data, ARTIFACTS, part="all", processes=1)
    result = summarise(records)
    assert result["studies"] == 2
    assert result["findings"] == len(records) > 40
    for stage in STAGES:
        for group in ConditionGroup:
            assert result[stage][group.short]
    whole = result["end_to_end"]["canal"]
    assert whole["in_plane_median_mm"]["model"] < whole["in_space_median_mm"]["model"] + 1e-9
    assert whole["mae"]["low"] <= whole["mae"]["model"] <= whole["mae"]["high"]
    parts = [result["competition"][k]["model"] for k in ("canal", "foraminal", "subarticular")]
    parts.append(result["competition"]["any_severe"]["model"])
    assert result["competition"]["score"]["model"] == pytest.approx(np.mean(parts), abs=1e-4)
    kept = json.loads(json.dumps(result, allow_nan=False))
    write_page(tmp_path / "page.html", data, records, kept, ["a fact"])
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("data:image/png") >= 2
    card = tmp_path / "severity_canal" / "card.toml"
    card.parent.mkdir()
    card.write_text((ARTIFACTS / "severity_canal" / "card.toml").read_text("utf-8"), "utf-8")
    write_metrics(card, kept)
    write_metrics(card, kept)
    facts = tomllib.loads(card.read_text("utf-8"))
    assert facts["metrics"]["unseen_studies"] == 2
    assert facts["metrics"]["end_to_end"]["mae"]["model"] == whole["mae"]["model"]
