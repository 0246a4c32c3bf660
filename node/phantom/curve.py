"""The curve of the spine, and coordinates that follow it.

Spine coordinates ``(s, v, u)`` in mm: ``s`` runs along the posterior wall of the vertebral bodies
to the feet (0 is the middle of the disc L1/L2), ``v`` to the back at right angles to it, ``u`` to
the patient's left. Anatomical coordinates ``(x, y, z)`` are LPS of a patient lying straight.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Curve:
    """A smooth curve with a frame at every point.

    Parameters
    ----------
    s : (n,) float64
        Regular places along the curve, mm; includes 0.
    tilt : (n,) float64
        Angle of the tangent in the sagittal plane, radians: 0 straight down, positive to the back.
    lean : (n,) float64
        Slope dx/ds of the tangent: scoliosis.
    twist : (n,) float64
        Rotation of the vertebrae about the curve, radians.
    """

    def __init__(self, s: Vector, tilt: Vector, lean: Vector, twist: Vector) -> None:
        self.s, self.tilt, self.lean, self.twist = s, tilt, lean, twist
        step = float(s[1] - s[0])
        tangent = np.stack([lean, np.sin(tilt), -np.cos(tilt)], axis=1)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        steps = 0.5 * step * (tangent[1:] + tangent[:-1])
        path = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
        self.path: Vector = path - path[int(np.argmin(np.abs(s)))]
        self.tangent: Vector = tangent
        self.bend: Vector = np.gradient(tilt, step)
        self._table = np.column_stack(
            [self.path, np.cos(tilt), np.sin(tilt), lean, twist, self.bend]
        )

    def frame(self, s: float) -> tuple[Vector, Vector, Vector, Vector]:
        """Return the curve's point, tangent, backward and leftward unit vectors at ``s``."""
        point = np.array([np.interp(s, self.s, self.path[:, k]) for k in range(3)])
        tilt, lean, twist = (
            float(np.interp(s, self.s, a)) for a in (self.tilt, self.lean, self.twist)
        )
        back = np.array([0.0, np.cos(tilt), np.sin(tilt)])
        left = np.array([1.0, -lean * np.sin(tilt), lean * np.cos(tilt)])
        left /= np.linalg.norm(left)
        c, d = np.cos(twist), np.sin(twist)
        tangent = np.array([lean, np.sin(tilt), -np.cos(tilt)])
        return point, tangent / np.linalg.norm(tangent), c * back - d * left, c * left + d * back

    def to_anatomy(self, s: float, v: float, u: float) -> Vector:
        """Return the anatomical point (mm) of spine coordinates."""
        point, _, back, left = self.frame(s)
        return np.asarray(point + v * back + u * left)

    def from_anatomy(self, points: Vector) -> Vector:
        """Return spine coordinates (..., 3) as (s, v, u) of anatomical points (..., 3)."""
        flat = points.reshape(-1, 3)
        s = np.interp(-flat[:, 2], -self.path[:, 2], self.s)
        for _ in range(5):
            row = self._rows(s)
            d = flat - row[:, :3]
            ahead = d[:, 0] * row[:, 5] + d[:, 1] * row[:, 4] - d[:, 2] * row[:, 3]
            behind = d[:, 1] * row[:, 3] + d[:, 2] * row[:, 4]
            slope = np.clip(1 - row[:, 7] * behind, 0.35, 2.5)
            s = np.clip(s + np.clip(ahead / slope, -40, 40), self.s[0], self.s[-1])
        row = self._rows(s)
        d, lean = flat - row[:, :3], row[:, 5]
        v = d[:, 1] * row[:, 3] + d[:, 2] * row[:, 4]
        u = d[:, 0] - lean * (row[:, 4] * d[:, 1] - row[:, 3] * d[:, 2])
        u /= np.sqrt(1 + lean**2)
        c, k = np.cos(row[:, 6]), np.sin(row[:, 6])
        return np.stack([s, c * v - k * u, c * u + k * v], axis=-1).reshape(points.shape)

    def _rows(self, s: Vector) -> Vector:
        """Interpolate the table of path, cos and sin of tilt, lean, twist and bend."""
        at = (s - self.s[0]) / (self.s[1] - self.s[0])
        low = np.minimum(at.astype(int), len(self.s) - 2)
        part = (at - low)[:, None]
        return np.asarray(self._table[low] * (1 - part) + self._table[low + 1] * part)
