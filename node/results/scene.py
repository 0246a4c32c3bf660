"""What the pages show of a study: which slices, where the levels are, what the footer says."""

from collections.abc import Iterable, Mapping

import numpy as np
from pydicom.dataset import Dataset

from node.results import wording
from node.results.attributes import number
from node.results.canvas import FAINT, MARGIN, PAGE, WARNING, Canvas
from node.results.identity import MODEL_NAME
from node.results.view import View, view, whole
from node.spine.anatomy import GRADES, ConditionGroup, Grade, Level, Role
from node.spine.findings import Finding, ModelUse, StudyFindings
from node.spine.geometry import Vector
from node.spine.volume import Slice, Volume

Source = tuple[str, int | None]

HEADER = 64
FOOTER = 28
LOCATOR_RIM_MM = 55.0


class Scene:
    """One study, ready to be drawn."""

    def __init__(
        self,
        findings: StudyFindings,
        volumes: Mapping[Role, Volume],
        headers: Mapping[str, Dataset],
    ) -> None:
        self.findings = findings
        self.volumes = volumes
        self._headers = headers

    def at(self, level: Level, group: ConditionGroup) -> tuple[Finding, ...]:
        """Return a level's findings of a group: the canal's one, or left and right."""
        return tuple(self.findings.finding(group.condition(side), level) for side in group.sides)

    def slice_of(self, finding: Finding) -> tuple[Volume, Slice] | None:
        """Return a finding's key slice with its volume, or None when there is none to show."""
        for volume in self.volumes.values():
            for shown in volume.slices:
                if (shown.sop_instance_uid, shown.frame_number) == (
                    finding.sop_instance_uid,
                    finding.frame_number,
                ):
                    return volume, shown
        return None

    def level_points(self) -> dict[Level, Vector]:
        """Return a patient point (mm LPS) for each level that has one; the canal's if it can."""
        points: dict[Level, Vector] = {}
        for level in Level:
            found = [f for f in self.findings.findings if f.level is level and f.is_assessed]
            places = [np.array(f.patient_mm) for f in found if f.patient_mm is not None]
            if places:
                is_canal = found[0].condition.group is ConditionGroup.CANAL
                points[level] = places[0] if is_canal else np.mean(places, axis=0)
        return points

    def sagittal(self, near: Vector | None) -> tuple[Volume, Slice] | None:
        """Return the sagittal slice through a point, or the middle one; T2 before T1."""
        volume = self.volumes.get(Role.SAGITTAL_T2) or self.volumes.get(Role.SAGITTAL_T1)
        if volume is None:
            return None
        if near is None:
            return volume, volume.slices[len(volume.slices) // 2]
        return volume, min(volume.slices, key=lambda s: abs(s.plane.distance(near)))

    def worst(self, level: Level) -> Grade | None:
        """Return the most severe grade of a level, or None when nothing was assessed."""
        found = {f.grade for f in self.findings.findings if f.level is level}
        return next((g for g in reversed(GRADES) if g in found), None)

    def locator(self, level: Level | None, size: tuple[int, int]) -> View | None:
        """Return the sagittal picture on which the levels are shown, cropped to the spine."""
        points = self.level_points()
        middle = np.mean(list(points.values()), axis=0) if points else None
        found = self.sagittal(points.get(level, middle) if level else middle)
        if found is None:
            return None
        volume, shown = found
        full = whole(volume, shown, size)
        if middle is None or len(points) < 2:
            return full
        rows = [full.place(p)[1] for p in points.values()]
        height = (max(rows) - min(rows)) * full.plane.row_spacing + 2 * LOCATOR_RIM_MM
        mm = min(full.plane.row_spacing, height / size[1])
        return view(volume, shown, centre=middle, mm=mm, size=size)

    def where(self, shown: Slice) -> str:
        """Return how a reader finds a slice again: ``Se 4 Im 12``."""
        header = self._headers[shown.sop_instance_uid]
        image = shown.frame_number or number(header, "InstanceNumber")
        return f"Se {number(header, 'SeriesNumber')} Im {image}"

    def frame(self, canvas: Canvas, title: str) -> None:
        """Draw what every page has: title, disclaimer, and the models behind it."""
        canvas.text((MARGIN, HEADER / 2), title, 44, anchor="lm", bold=True)
        canvas.draw.rounded_rectangle(
            (PAGE - MARGIN - 640, 12, PAGE - MARGIN, HEADER - 10), 6, outline=WARNING, width=2
        )
        canvas.text(
            (PAGE - MARGIN - 320, HEADER / 2 + 1),
            wording.DISCLAIMER,
            23,
            WARNING,
            anchor="mm",
            width=620,
        )
        canvas.text(
            (MARGIN, PAGE - FOOTER / 2),
            self._software(),
            17,
            FAINT,
            anchor="lm",
            width=PAGE - 2 * MARGIN,
        )

    def _software(self) -> str:
        node = f"{MODEL_NAME} {self.findings.node_version}"
        return f"{node} · {models_line(self.findings.models)}"


def models_line(models: Iterable[ModelUse]) -> str:
    """Return the models and versions in few words: what a stage's models share is said once."""
    stages: dict[tuple[str, str], list[str]] = {}
    for model in models:
        stage, _, group = model.name.partition("_")
        stages.setdefault((stage, model.version), []).append(group)
    if not stages:
        return "no model ran"
    everything = sorted(g.short for g in ConditionGroup)
    parts = [
        f"{stage} {version}" + ("" if sorted(g) == everything else f" ({', '.join(g)})")
        for (stage, version), g in stages.items()
    ]
    return "models: " + ", ".join(parts)
