"""Train one model of the pipeline: settings on top, one plain loop, bounded by the clock."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn

from models import metrics
from models.batches.crops import CropBatch, Crops, crop_batch, middle
from models.batches.points import PointBatch, point_batch
from models.batches.series import SeriesBatch, series_batch
from models.data import Case, load
from models.networks import Grader, PointFinder, SliceFinder
from node.inference.instance import places
from node.spine.anatomy import LEVELS, ConditionGroup

#: What an error costs in RSNA 2024, for each grade.
COMPETITION = (1.0, 2.0, 4.0)

#: The arrays of a case that each stage needs.
ARRAYS = {
    "instance": ["images", "mm", "spacing", "distance"],
    "coordinate": ["images", "distance", "points"],
    "severity": ["crops", "grade", "severity"],
}


@dataclass(frozen=True)
class Settings:
    """How one model is trained."""

    minutes: float = 6.0
    steps: int = 1_000_000  # whichever of the two ends first
    rate: float = 2e-3
    decay: float = 1e-2
    series: int = 3  # stage 1: series a step
    slices: int = 12  # stage 2: slices a step
    crops: int = 48  # stage 3: crops a step
    weighted: bool = False  # stage 3: the competition's weights of the grades
    pretrained: bool = False  # stage 3: begin with a network that knows photographs
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A network and how it came about."""

    network: nn.Module
    log: dict[str, Any]


def network(stage: str, group: ConditionGroup, *, pretrained: bool = False) -> nn.Module:
    """Return the untrained network of a stage."""
    if stage == "instance":
        return SliceFinder(len(places(group)))
    if stage == "coordinate":
        return PointFinder(2 if group is ConditionGroup.SUBARTICULAR else len(LEVELS) + 1)
    return Grader(pretrained=pretrained)


def train(
    stage: str,
    group: ConditionGroup,
    files: Sequence[Path],
    validation: Sequence[Path],
    *,
    settings: Settings,
    weights: Path | None = None,
) -> Trained:
    """Train one model on the cases in ``files``; ``validation`` only calibrates stage 3.

    ``weights`` of an earlier training are the start, where given.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    cases = load(files, ARRAYS[stage])
    net = network(stage, group, pretrained=settings.pretrained)
    if weights is not None:
        net.load_state_dict(torch.load(weights, weights_only=True))
    # A quarter faster on a processor. (torch's types do not know the argument.)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss_of = _loss(net, cases, group, rng, settings)
    optimiser = torch.optim.AdamW(net.parameters(), settings.rate, weight_decay=settings.decay)
    losses: list[float] = []
    start = time.monotonic()
    with Progress() as progress:
        bar = progress.add_task(f"{stage}_{group.short}", total=1.0)
        done = 0.0
        while done < 1.0:
            for part in optimiser.param_groups:
                part["lr"] = settings.rate * _schedule(done)
            loss = loss_of()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            losses.append(loss.item())
            minutes = (time.monotonic() - start) / 60
            done = max(minutes / settings.minutes, len(losses) / settings.steps)
            recent = np.mean(losses[-50:])
            progress.update(bar, completed=done, description=f"{stage}_{group.short} {recent:.3f}")
    net.eval()
    calibration: dict[str, object] = {}
    if isinstance(net, Grader) and validation:
        calibration = calibrate(net, load(validation, ARRAYS[stage]))
    tenth = max(1, len(losses) // 10)
    curve = [round(float(np.mean(losses[i : i + tenth])), 4) for i in range(0, len(losses), tenth)]
    return Trained(
        net,
        {
            "minutes": round((time.monotonic() - start) / 60, 2),
            "steps": len(losses),
            "series": len(files),
            "parameters": sum(p.numel() for p in net.parameters()),
            "loss": curve,
            "calibration": calibration,
        },
    )


def save(trained: Trained, folder: Path, settings: Settings) -> None:
    """Write ``weights.pt`` and ``training.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(trained.network.state_dict(), folder / "weights.pt")
    text = json.dumps({**trained.log, "settings": asdict(settings)}, indent=1)
    (folder / "training.json").write_text(text, "utf-8")


def _schedule(done: float) -> float:
    """Rise over the first 4 %, then fall along a half cosine."""
    return min(done / 0.04 + 0.02, 1.0) * 0.5 * (1 + float(np.cos(np.pi * min(done, 1.0))))


def _loss(
    net: nn.Module,
    cases: Sequence[Case],
    group: ConditionGroup,
    rng: np.random.Generator,
    settings: Settings,
) -> Callable[[], Tensor]:
    """Return a function that draws a batch and returns its loss."""
    if isinstance(net, SliceFinder):
        return lambda: _slice_loss(net, series_batch(cases, rng, settings.series))
    if isinstance(net, PointFinder):
        return lambda: _point_loss(net, point_batch(cases, group, rng, settings.slices))
    if not isinstance(net, Grader):
        raise TypeError(f"no loss for {type(net).__name__}")
    crops = Crops.of(cases)
    weight = torch.tensor(COMPETITION if settings.weighted else (1.0, 1.0, 1.0))
    return lambda: _grade_loss(net, crop_batch(crops, rng, settings.crops), weight)


def _slice_loss(net: SliceFinder, batch: SeriesBatch) -> Tensor:
    lengths = [len(mm) for mm in batch.millimetres]
    features = torch.split(net.encode(batch.images), lengths)
    losses = [
        -(target * net.compare(f, mm).log_softmax(dim=0)).sum() / target.sum().clamp(min=1)
        for f, mm, target in zip(features, batch.millimetres, batch.targets, strict=True)
    ]
    return torch.stack(losses).mean()


def _point_loss(net: PointFinder, batch: PointBatch) -> Tensor:
    each = -(batch.targets * net.log_maps(batch.images)).sum(dim=2)
    return (each * batch.counts).sum() / batch.counts.sum().clamp(min=1)


def _grade_loss(net: Grader, batch: CropBatch, weight: Tensor) -> Tensor:
    logits, severity = net.judge(batch.crops)
    graded = nn.functional.cross_entropy(logits, batch.grade, weight, label_smoothing=0.02)
    known = ~batch.severity.isnan()
    return graded + 4 * ((severity - batch.severity)[known] ** 2).sum() / len(known)


@torch.no_grad()
def calibrate(net: Grader, cases: Sequence[Case]) -> dict[str, object]:
    """Set the temperature that gives the least log loss on unseen studies.

    Returns
    -------
    dict
        What the card says of it: the temperature, and the reliability before and after.
    """
    crops = Crops.of(cases)
    grade = torch.from_numpy(crops.grade).long()
    logits = torch.cat([net.judge(part)[0] for part in torch.split(middle(crops.images), 64)])
    temperatures = torch.exp(torch.linspace(-1.0, 1.6, 53))
    losses = [nn.functional.cross_entropy(logits / t, grade) for t in temperatures]
    before = metrics.reliability(crops.grade, logits.softmax(dim=1).double().numpy())
    net.temperature.fill_(temperatures[int(torch.stack(losses).argmin())])
    after = metrics.reliability(
        crops.grade, (logits / net.temperature).softmax(dim=1).double().numpy()
    )
    return {
        "crops": len(grade),
        "temperature": round(net.temperature.item(), 3),
        "ece_uncalibrated": metrics.ece(before),
        "ece": metrics.ece(after),
        "reliability": after,
    }
