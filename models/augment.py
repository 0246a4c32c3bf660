"""What scanners and patients do to an image, and more, at random.

The phantom is one painter's idea of a spine. Geometry and brightness are pushed well beyond it so
that a network has to rely on anatomy rather than on the painter's habits.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

#: How far a batch's images are moved, in half image widths; and the share of images that lose
#: edges of their field of view.
SHIFT, FIELD_CUT = 0.16, 0.4


@dataclass(frozen=True)
class Warp:
    """A rotation, zoom and shift for each image of a batch.

    Attributes
    ----------
    matrix : (N, 2, 2)
        From output to input, in units of half an output image.
    shift : (N, 2)
        ``(x, y)``, in the same units.
    """

    matrix: Tensor
    shift: Tensor

    @classmethod
    def random(
        cls, count: int, *, degrees: float, zoom: tuple[float, float], shift: float
    ) -> "Warp":
        """Draw ``count`` warps; ``shift`` is the largest, in half image widths."""
        angle = (torch.rand(count) * 2 - 1) * math.radians(degrees)
        low, high = math.log(zoom[0]), math.log(zoom[1])
        scale = torch.exp(-(torch.rand(count) * (high - low) + low))
        cos, sin = angle.cos() * scale, angle.sin() * scale
        matrix = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        return cls(matrix, (torch.rand(count, 2) * 2 - 1) * shift)

    def images(self, x: Tensor, size: int) -> Tensor:
        """(N, C, H, W) -> (N, C, size, size), a pixel staying as large as it was."""
        ratio = size / x.shape[-1]
        theta = torch.cat([self.matrix * ratio, self.shift[:, :, None] * ratio], dim=2)
        where = F.affine_grid(theta, [len(x), x.shape[1], size, size], align_corners=False)
        return F.grid_sample(x, where, padding_mode="zeros", align_corners=False)

    def points(self, at: Tensor, size: int) -> Tensor:
        """Carry points (N, P, 2) ``(column, row)`` of an image of the same size along."""
        unit = (2 * at + 1) / size - 1
        moved = torch.einsum("nij,npj->npi", torch.inverse(self.matrix), unit - self.shift[:, None])
        return ((moved + 1) * size - 1) / 2


def looks(x: Tensor, *, invert: float = 0.0) -> Tensor:
    """Change the brightness of images (N, C, H, W): gamma, coil, contrast, blur, noise."""
    count = len(x)
    gamma = torch.exp((torch.rand(count, 1, 1, 1) * 2 - 1) * 0.4)
    x = x.clamp(min=0).pow(gamma)
    coil = F.interpolate(
        torch.randn(count, 1, 4, 4), x.shape[-2:], mode="bicubic", align_corners=True
    )
    x = x * torch.exp(coil * 0.25 * torch.rand(count, 1, 1, 1) * 2)
    negative = (torch.rand(count, 1, 1, 1) < invert) & (x > 0.05)
    x = torch.where(negative, (1.1 - x).clamp(min=0.05), x)
    soft = F.avg_pool2d(x, 3, 1, 1)
    blur = torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < 0.4)
    x = x + blur * (soft - x)
    return x + torch.randn_like(x) * 0.08 * torch.rand(count, 1, 1, 1)


def field_of_view(x: Tensor, chance: float) -> tuple[Tensor, Tensor]:
    """Keep a random window of some images (N, C, H, W); return them and its masks (N, H, W).

    Most windows lose up to a quarter at an edge, less at the bottom: without the sacrum the levels
    have no names. Some keep half of the height, as small fields and cut images do: there a network
    has to learn to be unsure.
    """
    count, _, rows, columns = x.shape
    most = torch.tensor([0.22, 0.10, 0.25, 0.25]).repeat(count, 1)  # top, bottom, left, right
    most[torch.rand(count) < 0.3] = torch.tensor([0.5, 0.35, 0.3, 0.3])
    cut = torch.rand(count, 4) * most * (torch.rand(count, 1) < chance)
    r = torch.arange(rows)[None, :] / rows
    c = torch.arange(columns)[None, :] / columns
    keep_r = (r >= cut[:, :1]) & (r < 1 - cut[:, 1:2])
    keep_c = (c >= cut[:, 2:3]) & (c < 1 - cut[:, 3:])
    mask = keep_r[:, :, None] & keep_c[:, None, :]
    return x * mask[:, None], mask
