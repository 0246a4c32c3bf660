"""Levels, conditions, sides, grades and series roles, by the names of the RSNA 2024 tables.

Source: RSNA 2024 Lumbar Spine Degenerative Classification, ``train.csv`` and
``train_series_descriptions.csv``.
"""

from enum import StrEnum


class Level(StrEnum):
    """An intervertebral disc level, cranial to caudal."""

    L1_L2 = "l1_l2"
    L2_L3 = "l2_l3"
    L3_L4 = "l3_l4"
    L4_L5 = "l4_l5"
    L5_S1 = "l5_s1"

    @property
    def label(self) -> str:
        """The level as a radiologist writes it, ``L4/L5``."""
        return self.value.upper().replace("_", "/")


class Side(StrEnum):
    """A side of the patient, never of the image."""

    LEFT = "left"
    RIGHT = "right"


class Condition(StrEnum):
    """One of the five conditions graded at every level."""

    SPINAL_CANAL_STENOSIS = "spinal_canal_stenosis"
    LEFT_NEURAL_FORAMINAL_NARROWING = "left_neural_foraminal_narrowing"
    RIGHT_NEURAL_FORAMINAL_NARROWING = "right_neural_foraminal_narrowing"
    LEFT_SUBARTICULAR_STENOSIS = "left_subarticular_stenosis"
    RIGHT_SUBARTICULAR_STENOSIS = "right_subarticular_stenosis"

    @property
    def group(self) -> "ConditionGroup":
        """The condition without its side: one set of models each."""
        return ConditionGroup(self.value.removeprefix("left_").removeprefix("right_"))

    @property
    def side(self) -> Side | None:
        """The patient's side, or None for the canal."""
        head = self.value.split("_", 1)[0]
        return {"left": Side.LEFT, "right": Side.RIGHT}.get(head)

    @property
    def label(self) -> str:
        """The condition as words, ``Left subarticular stenosis``."""
        return self.value.replace("_", " ").capitalize()


class ConditionGroup(StrEnum):
    """A condition without its side; stages 1 to 3 have one model for each."""

    CANAL = "spinal_canal_stenosis"
    FORAMINAL = "neural_foraminal_narrowing"
    SUBARTICULAR = "subarticular_stenosis"

    @property
    def short(self) -> str:
        """The name in model folders: ``canal``, ``foraminal``, ``subarticular``."""
        return self.name.lower()

    def condition(self, side: Side | None) -> Condition:
        """Return the condition of this group on ``side`` (None for the canal)."""
        return Condition(f"{side.value}_{self.value}" if side else self.value)

    @property
    def sides(self) -> tuple[Side | None, ...]:
        """``(None,)`` for the canal, ``(LEFT, RIGHT)`` for the other two."""
        return (None,) if self is ConditionGroup.CANAL else (Side.LEFT, Side.RIGHT)


class Grade(StrEnum):
    """Severity; the first class is one class of the data and is never split."""

    NORMAL_MILD = "normal_mild"
    MODERATE = "moderate"
    SEVERE = "severe"

    @property
    def label(self) -> str:
        """The grade as words, ``Normal/Mild``."""
        return "Normal/Mild" if self is Grade.NORMAL_MILD else self.value.capitalize()


class Role(StrEnum):
    """What a series is used for."""

    SAGITTAL_T1 = "sagittal_t1"
    SAGITTAL_T2 = "sagittal_t2"
    AXIAL_T2 = "axial_t2"

    @property
    def label(self) -> str:
        """The role as words; the sagittal T2 role also takes STIR."""
        return {
            "sagittal_t1": "sagittal T1",
            "sagittal_t2": "sagittal T2 or STIR",
            "axial_t2": "axial T2",
        }[self.value]


LEVELS: tuple[Level, ...] = tuple(Level)
GRADES: tuple[Grade, ...] = tuple(Grade)

ROLE_OF: dict[ConditionGroup, Role] = {
    ConditionGroup.CANAL: Role.SAGITTAL_T2,
    ConditionGroup.FORAMINAL: Role.SAGITTAL_T1,
    ConditionGroup.SUBARTICULAR: Role.AXIAL_T2,
}

FindingKey = tuple[Condition, Level]

#: All 25, in the order in which every table, page and report lists them.
ALL_FINDINGS: tuple[FindingKey, ...] = tuple((c, lv) for c in Condition for lv in LEVELS)
