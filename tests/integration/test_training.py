"""From phantoms to a shipped file: a few steps of every stage, export, parity, card, hash."""

import tomllib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from models.augment import Warp, field_of_view, looks
from models.batches import Crops, crop_batch, point_batch, series_batch, slice_target
from models.card import STATEMENT
from models.data import Case, build, load
from models.export import PARITY, check_parity, export, split
from models.metrics import auc, quadratic_kappa
from models.networks import Grader, PointFinder, SliceFinder
from models.train import Settings, network, save, train
from node.inference.runtime import verify
from node.spine.anatomy import ConditionGroup

NAMES = ("instance_canal", "coordinate_subarticular", "severity_foraminal")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a training study and one for calibration."""
    folder = tmp_path_factory.mktemp("work")
    build(folder, "train", 1)
    build(folder, "validation", 1)
    return folder


@pytest.fixture(scope="module")
def cases(work: Path) -> list[Case]:
    """The training study, all its arrays."""
    files = sorted((work / "cases" / "train").glob("*.npz"))
    with np.load(files[0]) as arrays:
        keys = list(arrays)
    return load(files, keys)


@pytest.mark.parametrize("name", NAMES)
def test_train_export_verify(work: Path, tmp_path: Path, name: str) -> None:
    """Three steps, then a file the node accepts, that answers like torch at other lengths."""
    files = {p: sorted((work / "cases" / p).glob("*.npz")) for p in ("train", "validation")}
    settings = Settings(minutes=5, steps=3, series=1, slices=4, crops=8)
    trained = train(*split(name), files["train"], files["validation"], settings=settings)
    assert trained.log["steps"] == 3
    save(trained, work / "models" / name, settings)
    folder = export(name, work, tmp_path, "0.0.1")
    assert verify(folder)[0] == "0.0.1"
    exported = (folder / "model.onnx").read_bytes()
    assert check_parity(trained.network, exported, *split(name)) < PARITY
    card = tomllib.loads((folder / "card.toml").read_text("utf-8"))
    assert card["statement"] == STATEMENT
    assert card["training"]["studies"] == 1
    metadata = ort.InferenceSession(exported).get_modelmeta().custom_metadata_map
    assert metadata["use"].startswith("research only")


@pytest.mark.parametrize("group", list(ConditionGroup))
def test_batches_have_targets_that_are_distributions(
    cases: list[Case], group: ConditionGroup
) -> None:
    """Whatever the augmentation does, every target sums to one and has the network's shape."""
    rng = np.random.default_rng(0)
    series = series_batch(cases, group, rng, 2)
    for target in series.targets:
        assert torch.allclose(target.sum(dim=0), torch.ones(target.shape[1]), atol=1e-5)
    points = point_batch(cases, group, rng, 6)
    net = network("coordinate", group)
    assert isinstance(net, PointFinder)
    assert net.log_maps(points.images).shape == points.targets.shape
    assert torch.allclose(points.targets.sum(dim=2), torch.ones_like(points.counts), atol=1e-4)
    batch = crop_batch(Crops.of(cases, group), rng, 4)
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


def test_metrics_on_known_answers() -> None:
    """Perfect agreement is 1, chance is 0, a reversed score is 0."""
    truth = np.array([0, 1, 2, 0, 1, 2])
    assert quadratic_kappa(truth, truth) == 1
    assert quadratic_kappa(truth, np.zeros(6, dtype=int)) == 0
    assert auc(truth >= 1, truth.astype(float)) == 1
    assert auc(truth >= 1, -truth.astype(float)) == 0
