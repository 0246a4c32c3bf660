"""The three networks, one for each stage. All of them take brightness and nothing else.

Whatever makes an image comparable to another (local contrast, crop statistics) happens inside the
network, so that it is part of the exported file and cannot differ between training and service.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its name in the torch world

from models.pretrained import CHANNELS, stem_and_stages


def local_contrast(x: Tensor, width: int) -> Tensor:
    """Add a second channel, the first one relative to its surroundings: (N,1,H,W) -> (N,2,H,W)."""
    mean = _box(x, width)
    spread = (_box(x * x, width) - mean * mean).clamp(min=0).sqrt()
    return torch.cat([x, (x - mean) / (spread + 0.05)], dim=1)


def _box(x: Tensor, width: int) -> Tensor:
    """Mean over a square, as two passes: 2 * width instead of width ** 2 operations a pixel."""
    half = width // 2
    x = F.avg_pool2d(x, (width, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, width), 1, (0, half), count_include_pad=False)


def block(inward: int, outward: int, stride: int = 1) -> nn.Sequential:
    """Convolution 3 x 3, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outward),
        nn.ReLU(inplace=True),
    )


class SliceFinder(nn.Module):
    """Stage 1: one series of S slices -> logits (S + 1, places); the last row is "absent".

    Every slice is encoded alone; convolutions over the slices in geometric order then compare it
    with its neighbours. The number of slices is free.
    """

    def __init__(self, places: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            block(2, 16, 2), block(16, 32, 2), block(32, 48, 2), block(48, 64), block(64, 64, 2)
        )
        self.slice = nn.Sequential(nn.Linear(129, 64), nn.ReLU())
        self.over_slices = nn.ModuleList([nn.Conv1d(64, 64, 5, padding=2) for _ in range(3)])
        self.present = nn.Linear(64, places)
        self.absent = nn.Linear(64, places)

    def encode(self, images: Tensor) -> Tensor:
        """(S, 1, H/2, W/2) -> (S, 128)."""
        x = self.encoder(local_contrast(images, 15))
        return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)

    def compare(self, features: Tensor, millimetres: Tensor) -> Tensor:
        """(S, 128) and (S, 1) -> (S + 1, places)."""
        x = self.slice(torch.cat([features, millimetres], dim=1))
        x = x.T[None]  # (1, 64, S)
        for layer in self.over_slices:
            x = x + F.relu(layer(x))
        x = x[0].T  # (S, 64)
        return torch.cat([self.present(x), self.absent(x.mean(dim=0, keepdim=True))], dim=0)

    def forward(self, images: Tensor, millimetres: Tensor) -> Tensor:
        """(S, 1, H, W) and (S, 1) -> (S + 1, places)."""
        # A level is not a small thing: half the resolution shows it.
        return self.compare(self.encode(F.avg_pool2d(images, 2)), millimetres)


class PointFinder(nn.Module):
    """Stage 2: slices (N, 1, H, W) -> log-probability maps, one for each head, at half resolution.

    A U-Net shared by all heads. Each head's map together with its "not in this slice" cell sums to
    one, so a head can say that it sees nothing.
    """

    widths = (16, 24, 40, 64, 96)

    def __init__(self, heads: int) -> None:
        super().__init__()
        w = self.widths
        self.stem = block(2, w[0], 2)
        self.down = nn.ModuleList(
            [nn.Sequential(block(a, b, 2), block(b, b)) for a, b in pairwise(w)]
        )
        self.up = nn.ModuleList([block(a + b, a) for a, b in zip(w[-2::-1], w[:0:-1], strict=True)])
        self.maps = nn.Conv2d(w[0], heads, 1)
        self.none = nn.Linear(w[-1], heads)

    def log_maps(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, heads, H/2 * W/2 + 1) log-probabilities; the last cell is "none"."""
        x = self.stem(local_contrast(images, 25))
        skips = []
        for layer in self.down:
            skips.append(x)
            x = layer(x)
        none = self.none(x.mean(dim=(2, 3)))
        for layer, skip in zip(self.up, reversed(skips), strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = layer(torch.cat([skip, x], dim=1))
        logits = torch.cat([self.maps(x).flatten(2), none[:, :, None]], dim=2)
        return F.log_softmax(logits, dim=2)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, heads, H/2, W/2) probabilities; what is missing to 1 is "none"."""
        rows, columns = images.shape[2] // 2, images.shape[3] // 2
        maps = self.log_maps(images)[:, :, :-1].exp()
        return maps.reshape(*maps.shape[:2], rows, columns)


class Residual(nn.Module):
    """Two convolutions and a shortcut, halving the resolution."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.first = block(inward, outward, 2)
        self.second = nn.Sequential(
            nn.Conv2d(outward, outward, 3, 1, 1, bias=False), nn.BatchNorm2d(outward)
        )
        self.shortcut = nn.Conv2d(inward, outward, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inward, H, W) -> (N, outward, H/2, W/2)."""
        return F.relu(self.second(self.first(x)) + self.shortcut(F.avg_pool2d(x, 2)))


class Grader(nn.Module):
    """Stage 3: crops (N, 3, 96, 96) of neighbouring slices -> probabilities (N, 3) of grades.

    ``pretrained``: instead of small stages of its own, those of a network that knows photographs.
    """

    temperature: Tensor

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        if pretrained:
            channels, (self.stem, self.stages) = CHANNELS, stem_and_stages()
        else:
            channels, self.stem = 96, block(3, 24, 2)
            self.stages = nn.Sequential(Residual(24, 32), Residual(32, 64), Residual(64, 96))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels * 9, 4))
        self.register_buffer("temperature", torch.ones(()))

    def judge(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> logits of the grades (N, 3), and a severity of 0 to 1 (N,).

        The severity only helps training: it says how far inside its grade a crop lies.
        """
        mean = crops.mean(dim=(1, 2, 3), keepdim=True)
        spread = (crops - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        x = self.stages(self.stem((crops - mean) / (spread + 0.02)))
        # Coarse position is kept: the point is in the middle, and where fat is missing matters.
        answer: Tensor = self.head(F.avg_pool2d(x, 2))
        return answer[:, :3], answer[:, 3].sigmoid()

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3) calibrated probabilities."""
        return (self.judge(crops)[0] / self.temperature).softmax(dim=1)
