"""What may be asked of a phantom study; everything left out is drawn as real studies are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from node.spine.anatomy import FindingKey, Role

Vendor = Literal["siemens", "ge", "philips"]
Descriptions = Literal["plain", "blank", "misleading"]
Variety = Literal["plain", "wide"]
Scanners = Literal["usual", "other"]
Coverage = Literal["full", "sacrum_cut", "top_cut", "off_centre", "small_field"]


@dataclass(frozen=True)
class StudyOptions:
    """Wishes for one study; None leaves a choice to chance.

    Attributes
    ----------
    variety : "plain" or "wide"
        ``plain`` is quick to paint: for tests and the demonstration. ``wide``, which the shipped
        models were trained on, varies patients and scanners as far as real ones vary, and makes
        second axial series.
    scanners : "usual" or "other"
        ``other`` (wide) has field strengths, echo times, resolutions and brightness that the usual
        ones never have: to test what was trained on those.
    balanced : bool
        As many of each grade instead of real prevalence (for training).
    severities : mapping of FindingKey to float
        Severity 0 to 1 of chosen findings; the others are drawn.
    roles : tuple of Role
        The series to make.
    stir : bool or None
        Whether the sagittal T2 series is a STIR.
    axial : "groups", "stack" or None
        One small oblique stack for each disc, or one stack through everything.
    reversed_sagittal, reversed_axial : bool or None
        InstanceNumber runs against the usual direction (left to right, feet to head).
    same_frame_of_reference : bool or None
    spacing_attributes : bool or None
        Whether SliceThickness and SpacingBetweenSlices are filled.
    descriptions : "plain", "blank", "misleading" or None
    vendor : "siemens", "ge", "philips" or None
    coverage : str or None
        ``full`` shows all five levels and the sacrum; ``sacrum_cut`` ends just below L5/S1,
        ``top_cut`` (wide) begins just above L1/L2; ``off_centre`` and ``small_field`` are harder
        sagittal fields of view. The plain variety's chance is always full.
    transfer_syntax : "explicit" or "rle"
    """

    variety: Variety = "plain"
    scanners: Scanners = "usual"
    balanced: bool = False
    severities: Mapping[FindingKey, float] = field(default_factory=dict)
    roles: tuple[Role, ...] = tuple(Role)
    stir: bool | None = None
    axial: Literal["groups", "stack"] | None = None
    reversed_sagittal: bool | None = None
    reversed_axial: bool | None = None
    same_frame_of_reference: bool | None = None
    spacing_attributes: bool | None = None
    descriptions: Descriptions | None = None
    vendor: Vendor | None = None
    coverage: Coverage | None = None
    transfer_syntax: Literal["explicit", "rle"] = "explicit"
