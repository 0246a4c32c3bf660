"""The choice of series: a table with a row for each habit of scanners and sites."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from node.spine.anatomy import Role
from node.spine.facts import FrameFacts, SeriesFacts
from node.spine.series import choose
from tests.unit.series_habits import (
    ENHANCED,
    LEGACY,
    ax_t2,
    blocks,
    sag_t1,
    sag_t2,
    series,
    stack,
    turned,
)

T1, T2, AXIAL = Role.SAGITTAL_T1, Role.SAGITTAL_T2, Role.AXIAL_T2
ALL = {T1: "t1", T2: "t2", AXIAL: "ax"}
T1_PHYSICS: dict[str, Any] = {"echo_time": 11.0, "repetition_time": 600.0}
T2_PHYSICS: dict[str, Any] = {"echo_time": 105.0, "repetition_time": 3800.0}


@dataclass(frozen=True)
class Habit:
    """A study, the series UID chosen for each role, and words said about the others."""

    name: str
    study: list[SeriesFacts]
    chosen: dict[Role, str]
    others: dict[str, str] = field(default_factory=dict)
    says: dict[Role, str] = field(default_factory=dict)


def kind(*values: str) -> dict[str, Any]:
    return {"image_type": ("ORIGINAL", "PRIMARY", *values)}


def three_planes(count: int, **frame: Any) -> list[FrameFacts]:
    directions = ("sag", "cor", "ax")
    return [f for o in directions for f in stack(o, count, name=o, **frame)]


def multi_frame(facts: SeriesFacts) -> SeriesFacts:
    frames = [
        replace(f, sop_instance_uid=f"{facts.series_uid}.1", frame_number=i)
        for i, f in enumerate(facts.frames, start=1)
    ]
    return replace(facts, sop_class_uid=ENHANCED, frames=tuple(frames))


def later(facts: SeriesFacts, uid: str, acquired: str) -> SeriesFacts:
    frames = [
        replace(f, sop_instance_uid=f"{uid}.{i}", acquired=acquired, series_uid=uid)
        for i, f in enumerate(facts.frames)
    ]
    return replace(facts, series_uid=uid, frames=tuple(frames))


def dixon(uid: str, parts: Sequence[str], physics: dict[str, Any]) -> SeriesFacts:
    frames = [f for p in parts for f in stack(**physics, **kind("DIXON", p), name=p)]
    return series(uid, frames)


VENDORS = [
    Habit("three plain series, no text at all", [sag_t1(), sag_t2(), ax_t2()], ALL),
    Habit(
        "Siemens classic: three-plane localizer, TIRM beside T2",
        [
            series("loc", three_planes(5), scanning_sequence=("GR",)),
            sag_t1(description="t1_tse_sag"),
            series("t2", stack(**T2_PHYSICS, **kind("M", "ND", "NORM", "DIS2D"))),
            series(
                "tirm",
                stack(echo_time=56.0, repetition_time=4000.0, inversion_time=160.0),
                scanning_sequence=("SE", "IR"),
                description="t2_tirm_sag",
            ),
            ax_t2(description="t2_tse_tra_msma_5 STK"),
        ],
        ALL,
        {"loc": "localizer", "tirm": "t2 is the better sagittal T2 or STIR"},
    ),
    Habit(
        "Siemens XA: one enhanced multi-frame object for each series",
        [multi_frame(sag_t1()), multi_frame(sag_t2()), multi_frame(ax_t2())],
        ALL,
    ),
    Habit(
        "GE: OTHER, T1-FLAIR, spatial saturation, fat-suppressed T1 after contrast",
        [
            series(
                "t1",
                stack(echo_time=24.0, repetition_time=2400.0, inversion_time=860.0),
                scanning_sequence=("SE", "IR"),
                scan_options=("FAST_GEMS", "SAT_GEMS"),
            ),
            series(
                "t1fs",
                stack(**T1_PHYSICS),
                scan_options=("FAST_GEMS", "FS"),
                contrast_agent="Gadovist",
            ),
            sag_t2(scan_options=("FAST_GEMS", "SAT_GEMS")),
            ax_t2(scan_options=("FAST_GEMS",)),
        ],
        ALL,
        {"t1fs": "foraminal fat is dark"},
        {T1: "T1-FLAIR"},
    ),
    Habit(
        "GE: private image kinds (phase, three-plane) arrive as standard words",
        [
            series("phase", stack(**T2_PHYSICS, **kind("OTHER", "PHASE MAP"))),
            series("loc", stack(**T2_PHYSICS, **kind("OTHER", "LOCALIZER"))),
            sag_t2(),
        ],
        {T2: "t2"},
        {"phase": "phase image", "loc": "localizer"},
    ),
    Habit(
        "Philips: derived images mixed in, M_SE, private object",
        [
            series("t1", stack(**T1_PHYSICS, **kind("M_SE", "M", "SE"))),
            series(
                "t2",
                stack(**T2_PHYSICS, **kind("M_SE", "M", "SE"))
                + stack(count=3, name="d", image_type=("DERIVED", "SECONDARY", "MPR")),
            ),
            series("exam", [], sop_class_uid="1.3.46.670589.11.0.0.12.1"),
            ax_t2(),
        ],
        ALL,
        {"exam": "Philips private"},
        {T2: "3 left out: derived"},
    ),
    Habit(
        "Philips: SPAIR's inversion time does not make a T1 a STIR",
        [series("t1", stack(**T1_PHYSICS, inversion_time=120.0)), sag_t2()],
        {T1: "t1", T2: "t2"},
    ),
    Habit(
        "Canon: the same slices as classic and as enhanced objects",
        [sag_t2("classic"), multi_frame(later(sag_t2(), "enhanced", "20260101101010")), ax_t2()],
        {T2: "enhanced", AXIAL: "ax"},
        {"classic": "better sagittal T2 or STIR"},
    ),
    Habit(
        "Hitachi low field: FSE T2 at 0.3 T, coarse pixels, InversionTime 0 read as none",
        [
            series("t2", stack(count=9, step=6.5, pixel=1.33, size=256, **T2_PHYSICS)),
            series(
                "t1",
                stack(count=9, step=6.5, pixel=1.33, size=256, **T1_PHYSICS | {"echo_time": 25.0}),
            ),
        ],
        {T1: "t1", T2: "t2"},
    ),
    Habit(
        "anonymised: no modality, no echo time, text decides",
        [
            replace(
                s,
                modality="",
                description=d,
                frames=tuple(replace(f, echo_time=None, repetition_time=None) for f in s.frames),
            )
            for s, d in ((sag_t1(), "SAG T1"), (sag_t2(), "Sag T2 TSE"), (ax_t2(), "AX T2"))
        ],
        ALL,
        {},
        {T1: "from the text only"},
    ),
]

MORE_VENDORS = [
    Habit(
        "GE IDEAL: each Dixon part a series of its own, derived and primary",
        [
            series(
                name.lower(),
                stack(**T2_PHYSICS, image_type=("DERIVED", "PRIMARY", "DIXON", part)),
                description=f"{name}: Sag T2 IDEAL",
            )
            for name, part in (
                ("Water", "WATER"),
                ("Fat", "FAT"),
                ("InPhase", "IN_PHASE"),
                ("OutPhase", "OUT_PHASE"),
            )
        ],
        {T2: "inphase"},
        {"fat": "Dixon fat image", "outphase": "Dixon opposed phase", "water": "by plain"},
    ),
    Habit(
        "Philips mDIXON: all parts in one enhanced object, frames mixed",
        [multi_frame(dixon("t2", ("IP", "W", "F", "OP"), T2_PHYSICS)), sag_t1()],
        {T2: "t2", T1: "t1"},
        {},
        {T2: "Dixon in phase"},
    ),
    Habit(
        "Philips enhanced: an axial stack for each disc in one object",
        [multi_frame(series("ax", blocks((-10, 0, 8, 18, 35), **T2_PHYSICS))), sag_t2()],
        {T2: "t2", AXIAL: "ax"},
        {},
        {AXIAL: "25 slices in 5 stacks"},
    ),
    Habit(
        "an archive's legacy converted enhanced objects",
        [replace(multi_frame(s), sop_class_uid=LEGACY) for s in (sag_t1(), sag_t2(), ax_t2())],
        ALL,
    ),
    Habit(
        "Philips SURVEY: coarse gradient echo in three directions, five of each",
        [
            series(
                "survey",
                three_planes(5, echo_time=4.6, repetition_time=11.0),
                scanning_sequence=("GR",),
            ),
            sag_t2(),
        ],
        {T2: "t2"},
        {"survey": "localizer: three orientations"},
    ),
    Habit(
        "Siemens HASTE scout without a word in ImageType: too high to be the lumbar spine",
        [
            series(
                "scout",
                stack(count=7, step=8.0, pixel=1.4, echo_time=90.0, repetition_time=1800.0),
            ),
            sag_t2(),
        ],
        {T2: "t2"},
        {"scout": "536 mm from head to foot: a scout"},
    ),
    Habit(
        "Siemens: FS beside spatial saturation in ScanOptions is fat suppression",
        [sag_t2("fs", scan_options=("PFP", "SAT1", "FS")), sag_t2("t2", scan_options=("SAT1",))],
        {T2: "t2"},
        {"fs": "by plain"},
    ),
    Habit(
        "Siemens MYELO: thick slabs turned about the spine",
        [
            series("myelo", [f for i in range(12) for f in turned(15.0 * i)]),
            sag_t2(),
        ],
        {T2: "t2"},
        {"myelo": "1 sagittal slice, fewer than 5"},
    ),
    Habit(
        "SPACE, CUBE or VISTA alone: a 3-D T2 with a short repetition time is a T2",
        [
            series(
                "vista",
                stack(count=60, step=1.0, echo_time=130.0, repetition_time=1200.0),
                acquisition_type="3D",
            )
        ],
        {T2: "vista"},
        {},
        {T2: "60 slices, 1.0 mm apart"},
    ),
    Habit(
        "axial reformats of a 3-D T2 are not acquired slices",
        [
            sag_t2(),
            series("mpr", stack("ax", 40, **T2_PHYSICS, image_type=("DERIVED", "PRIMARY", "MPR"))),
        ],
        {T2: "t2"},
        {"mpr": "reformatted"},
    ),
    Habit(
        "balanced and spoiled gradient echo (FIESTA, TRUFI, MEDIC), 2-D or 3-D, fill no role",
        [
            sag_t2(),
            series(
                "fiesta",
                stack("ax", 60, step=1.0, echo_time=2.3, repetition_time=5.5),
                scanning_sequence=("GR",),
                acquisition_type="3D",
            ),
            series(
                "medic",
                stack("ax", 25, echo_time=17.0, repetition_time=700.0),
                scanning_sequence=("GR",),
                description="t2_me2d_tra_MEDIC",
            ),
        ],
        {T2: "t2"},
        {"fiesta": "bloom", "medic": "bloom"},
    ),
    Habit(
        "Philips GRASE is spin echo with gradient echoes between: its physics count",
        [sag_t2(scanning_sequence=("SE", "GR"))],
        {T2: "t2"},
    ),
    Habit(
        "axial T1, before and after contrast, fills no role",
        [
            sag_t2(),
            series("t1", stack("ax", 25, **T1_PHYSICS)),
            series("gd", stack("ax", 25, **T1_PHYSICS), contrast_agent="Dotarem"),
        ],
        {T2: "t2"},
        {"t1": "axial T1 fills no role", "gd": "axial T1 fills no role"},
    ),
]

CONTRASTS = [
    Habit(
        "STIR alone takes the T2 role",
        [
            series(
                "stir",
                stack(echo_time=60.0, repetition_time=4200.0, inversion_time=150.0),
                scanning_sequence=("IR",),
            )
        ],
        {T2: "stir"},
        {},
        {T2: "STIR by TE 60 ms"},
    ),
    Habit(
        "STIR without an inversion time, named STIR",
        [
            series(
                "stir",
                stack(echo_time=60.0, repetition_time=4200.0),
                scanning_sequence=("SE", "IR"),
                description="SAG STIR",
            )
        ],
        {T2: "stir"},
        {},
        {T2: "the text says STIR"},
    ),
    Habit(
        "axial STIR fills no role",
        [
            sag_t2(),
            series(
                "ax",
                stack("ax", 20, echo_time=60.0, repetition_time=4200.0, inversion_time=150.0),
                scanning_sequence=("SE", "IR"),
            ),
        ],
        {T2: "t2"},
        {"ax": "axial STIR fills no role"},
    ),
    Habit(
        "T2-FLAIR, proton density, gradient echo and echo planar are refused",
        [
            sag_t2(),
            series(
                "flair",
                stack(echo_time=110.0, repetition_time=9000.0, inversion_time=2500.0),
                scanning_sequence=("SE", "IR"),
            ),
            series("pd", stack(echo_time=15.0, repetition_time=2500.0)),
            series(
                "merge",
                stack("ax", 30, echo_time=18.0, repetition_time=600.0),
                scanning_sequence=("GR",),
            ),
            series("dwi", stack(**T2_PHYSICS), scanning_sequence=("SE", "EP")),
        ],
        {T2: "t2"},
        {
            "flair": "T2-FLAIR fills no role",
            "pd": "proton density fills no role",
            "merge": "axial gradient echo fills no role: bone blooms",
            "dwi": "echo planar",
        },
    ),
    Habit(
        "Dixon T2: in-phase and water are one candidate each, fat and opposed are refused",
        [dixon("t2", ("W", "F", "IP", "OP"), T2_PHYSICS), dixon("fat", ("FAT",), T2_PHYSICS)],
        {T2: "t2"},
        {"fat": "Dixon fat image"},
        {T2: "Dixon in phase"},
    ),
    Habit(
        "Dixon T2 water alone counts as fat-suppressed T2",
        [dixon("t2", ("WATER",), T2_PHYSICS)],
        {T2: "t2"},
        {},
        {T2: "fat suppressed"},
    ),
    Habit(
        "Dixon T1 water is fat-suppressed and refused, in-phase is a T1",
        [dixon("water", ("WATER",), T1_PHYSICS), dixon("t1", ("IN_PHASE",), T1_PHYSICS)],
        {T1: "t1"},
        {"water": "fat-suppressed T1"},
    ),
    Habit(
        "two echoes in one series: the long one is the T2",
        [
            series(
                "t2",
                stack(echo_time=14.0, repetition_time=2500.0, name="e1")
                + stack(echo_time=98.0, repetition_time=2500.0, name="e2"),
            )
        ],
        {T2: "t2"},
        {},
        {T2: "TE 98 ms"},
    ),
    Habit(
        "a multi-echo series is raw material for a map",
        [
            sag_t2(),
            series(
                "cpmg",
                [
                    f
                    for i in range(1, 9)
                    for f in stack(echo_time=12.0 * i, repetition_time=2000.0, name=str(i))
                ],
            ),
        ],
        {T2: "t2"},
        {"cpmg": "8 echoes"},
    ),
    Habit(
        "native T1 before post-contrast T1, by the header or by the text",
        [
            sag_t1(),
            sag_t1("agent", contrast_agent="Dotarem"),
            sag_t1("text", description="SAG T1 +C"),
        ],
        {T1: "t1"},
        {"agent": "by native", "text": "by native"},
    ),
    Habit(
        "a lone post-contrast T1 is used, and said",
        [sag_t1("t1", contrast_agent="Dotarem")],
        {T1: "t1"},
        {},
        {T1: "contrast agent given"},
    ),
    Habit(
        "without contrast is not post-contrast",
        [sag_t1("gd", description="T1 SAG GD"), sag_t1("t1", description="T1 SAG W/O CONTRAST")],
        {T1: "t1"},
        {"gd": "by native"},
    ),
    Habit(
        "plain T2 before fat-suppressed T2",
        [sag_t2("fs", scan_options=("FS",)), sag_t2("t2")],
        {T2: "t2"},
        {"fs": "by plain"},
    ),
    Habit(
        "3-D T2 with a short repetition time gives way to the 2-D T2",
        [
            series(
                "space",
                stack(count=60, step=1.0, echo_time=130.0, repetition_time=1200.0),
                acquisition_type="3D",
            ),
            sag_t2(),
        ],
        {T2: "t2"},
        {"space": "better sagittal T2 or STIR"},
    ),
    Habit(
        "a lying description: physics wins, the conflict is said",
        [sag_t1("t1", description="SAG T2"), sag_t2("t2", description="SAG T1")],
        {T1: "t1", T2: "t2"},
        {},
        {T1: "conflict: the header says T1, the text says T2"},
    ),
    Habit(
        "of two T2 the one in conflict with its text loses",
        [sag_t2("lies", description="T1 SAG"), sag_t2("t2")],
        {T2: "t2"},
        {"lies": "by contrast"},
    ),
]

REGIONS = [
    Habit(
        "a composite of the whole spine gives way to the lumbar station",
        [
            series("whole", stack(size=900, centre=(0, 0, 160), **T2_PHYSICS)),
            sag_t2(),
        ],
        {T2: "t2"},
        {"whole": "629 mm from head to foot: a scout, or the whole spine"},
    ),
    Habit(
        "a knee and a head, without a word that says so",
        [
            series("knee", stack(count=26, step=4.2, pixel=0.42, **T2_PHYSICS)),
            series("head", stack(count=27, step=5.5, pixel=0.62, **T1_PHYSICS)),
            sag_t2(),
        ],
        {T2: "t2"},
        {"knee": "not a spine", "head": "not a spine"},
    ),
    Habit(
        "a small field of view with slices from flank to flank: still a spine",
        [series("small", stack(count=23, step=4.2, pixel=0.42, **T2_PHYSICS))],
        {T2: "small"},
        {},
    ),
    Habit(
        "a wrist: too little for five levels",
        [series("wrist", stack(count=20, step=2.0, pixel=0.25, **T2_PHYSICS)), sag_t2()],
        {T2: "t2"},
        {"wrist": "96 mm from head to foot: too little"},
    ),
]

GEOMETRIES = [
    Habit(
        "a series for each disc, three slices in each",
        [
            sag_t2(),
            *(
                series(f"d{i}", stack("ax", 3, tilt=t, centre=(0, 0, 68 - 34 * i), **T2_PHYSICS))
                for i, t in enumerate((-10, 0, 8, 18, 35))
            ),
        ],
        {T2: "t2", AXIAL: "d0"},
        {},
        {AXIAL: "3 slices of series d4 where this one has none: covers 144 mm"},
    ),
    Habit(
        "a lone disc in three slices is too little",
        [sag_t2(), series("d0", stack("ax", 3, **T2_PHYSICS))],
        {T2: "t2"},
        {"d0": "3 axial slices, fewer than 5"},
    ),
    Habit(
        "the axial slices of a scout complete nothing",
        [
            sag_t2(),
            series("ax", stack("ax", 20, pixel=0.5, **T2_PHYSICS)),
            series("scout", stack("ax", 5, step=20.0, centre=(0, 0, 80), pixel=1.4, **T2_PHYSICS)),
        ],
        {T2: "t2", AXIAL: "ax"},
        {"scout": "better axial T2"},
    ),
    Habit(
        "axial: five oblique stacks, one for each disc, are one candidate",
        [sag_t2(), series("ax", blocks((-10, 0, 8, 18, 35), **T2_PHYSICS))],
        {T2: "t2", AXIAL: "ax"},
        {},
        {AXIAL: "25 slices in 5 stacks"},
    ),
    Habit(
        "axial: an L5/S1 stack tilted by 50 degrees stays axial beside the others",
        [series("ax", blocks((0, 5, 15, 25, 50), **T2_PHYSICS))],
        {AXIAL: "ax"},
        {},
        {AXIAL: "25 slices"},
    ),
    Habit(
        "axial: a lone steep stack needs the word axial",
        [
            series("steep", blocks((50,), 8, **T2_PHYSICS)),
            series("ax", blocks((50,), 8, **T2_PHYSICS), description="T2 AX L5-S1"),
        ],
        {AXIAL: "ax"},
        {"steep": "coronal"},
    ),
    Habit(
        "two axial blocks, upper and lower: the one that covers more, completed by the other",
        [
            sag_t2(),
            series("upper", blocks((0, 5), **T2_PHYSICS)),
            series("lower", stack("ax", 25, centre=(0, 0, -40), **T2_PHYSICS)),
        ],
        {T2: "t2", AXIAL: "lower"},
        {},
        {AXIAL: "10 slices of series upper where this one has none: covers 170 mm"},
    ),
    Habit(
        "two axial series of the same discs: one of them",
        [
            sag_t2(),
            series("ax", stack("ax", 35, **T2_PHYSICS)),
            series("same", blocks((0, 5, 5, 8, 20), **T2_PHYSICS)),
        ],
        {T2: "t2", AXIAL: "ax"},
        {"same": "ax is the better axial T2"},
    ),
    Habit(
        "a disc's block scanned again as a series of its own fills the hole",
        [
            sag_t2(),
            series(
                "ax",
                [
                    f
                    for f in blocks((0, 5, 5, 8, 20), **T2_PHYSICS)
                    if "b2" not in f.sop_instance_uid
                ],
            ),
            series("l34", stack("ax", 5, centre=(0, 0, 0), **T2_PHYSICS)),
        ],
        {T2: "t2", AXIAL: "ax"},
        {},
        {AXIAL: "5 slices of series l34 where this one has none"},
    ),
    Habit(
        "a lower block in another frame of reference, or fat-suppressed, completes nothing",
        [
            sag_t2(),
            series("ax", stack("ax", 25, centre=(0, 0, 40), **T2_PHYSICS)),
            series(
                "space",
                stack("ax", 20, centre=(0, 0, -60), **T2_PHYSICS),
                frame_of_reference_uid="x",
            ),
            series("fs", stack("ax", 20, centre=(0, 0, -60), **T2_PHYSICS), scan_options=("FS",)),
        ],
        {T2: "t2", AXIAL: "ax"},
        {"space": "by coverage", "fs": "by coverage"},
    ),
    Habit(
        "axial outside the sagittal images loses to one inside",
        [
            sag_t2(),
            series("neck", stack("ax", 40, centre=(0, 0, 400), pixel=0.4, **T2_PHYSICS)),
            series("ax", stack("ax", 20, **T2_PHYSICS)),
        ],
        {T2: "t2", AXIAL: "ax"},
        {"neck": "by coverage"},
    ),
    Habit(
        "sagittal and axial in one series fill two roles",
        [series("both", stack(**T2_PHYSICS) + stack("ax", 25, **T2_PHYSICS))],
        {T2: "both", AXIAL: "both"},
    ),
    Habit(
        "a whole spine in two stations: the caudal station is used",
        [
            series(
                "t2",
                stack(centre=(0, 0, 250), name="up", **T2_PHYSICS)
                + stack(centre=(0, 0, 0), name="low", **T2_PHYSICS),
            )
        ],
        {T2: "t2"},
        {},
        {T2: "15 slices"},
    ),
    Habit(
        "a cervical and a lumbar series: the caudal one is used",
        [
            series("neck", stack(centre=(0, 0, 400), pixel=0.5, **T2_PHYSICS)),
            sag_t2(),
        ],
        {T2: "t2"},
        {"neck": "by coverage"},
    ),
    Habit(
        "sagittal slices in another direction are left out",
        [series("t2", [*stack(**T2_PHYSICS), *stack("turned", 2, name="x", **T2_PHYSICS)])],
        {T2: "t2"},
        {},
        {T2: "2 left out: another direction"},
    ),
    Habit(
        "a repeat after motion: the later one is used",
        [
            later(sag_t2(), "first", "20260101100000"),
            later(sag_t2(), "again", "20260101101500.5"),
        ],
        {T2: "again"},
        {"first": "by latest"},
    ),
    Habit(
        "two acquisitions of every position in one series: the later one is kept",
        [
            series(
                "t2",
                stack(acquisition_number=1, name="a", **T2_PHYSICS)
                + stack(acquisition_number=2, name="b", **T2_PHYSICS),
            )
        ],
        {T2: "t2"},
        {},
        {T2: "15 left out: repeated position"},
    ),
    Habit(
        "four slices are too few",
        [sag_t2(), series("few", stack(count=4, **T1_PHYSICS))],
        {T2: "t2"},
        {"few": "4 sagittal slices, fewer than 5"},
    ),
    Habit(
        "coronal fills no role",
        [sag_t2(), series("cor", stack("cor", **T2_PHYSICS))],
        {T2: "t2"},
        {"cor": "coronal"},
    ),
    Habit(
        "images without a plane are left out, the rest is used",
        [
            series(
                "t2",
                stack(**T2_PHYSICS)
                + [FrameFacts(f"bad.{i}", problem="PixelSpacing is missing") for i in range(2)],
            )
        ],
        {T2: "t2"},
        {},
        {T2: "2 left out: PixelSpacing is missing"},
    ),
    Habit(
        "a header that names another body part, in a study that nowhere says lumbar",
        [sag_t2("head", body_part="BRAIN"), sag_t2("t2")],
        {T2: "t2"},
        {"head": "the header says BRAIN"},
    ),
    Habit(
        "a cervical series is not lumbar because its name ends in L SPINE",
        [sag_t2("neck", study_description="MRI CERVICAL SPINE"), sag_t2("t2")],
        {T2: "t2"},
        {"neck": "the header says CERV"},
    ),
    Habit(
        "physics that fit no contrast are told",
        [sag_t2(), series("odd", stack(echo_time=90.0, repetition_time=700.0))],
        {T2: "t2"},
        {"odd": "weighting unknown: echo and repetition time fit no contrast"},
    ),
    Habit(
        "a wrong body part in a study that says lumbar is not held against it",
        [sag_t2("t2", body_part="HEAD", study_description="MRI LUMBAR SPINE")],
        {T2: "t2"},
    ),
    Habit(
        "CT, PET and a report beside the MR",
        [
            series("ct", stack("ax", 40), modality="CT", sop_class_uid="1.2.840.10008.5.1.4.1.1.2"),
            series("sr", [], modality="SR", sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34"),
            sag_t2(),
        ],
        {T2: "t2"},
        {"ct": "modality CT is not MR", "sr": "modality SR is not MR"},
    ),
]


@pytest.mark.parametrize(
    "habit", VENDORS + MORE_VENDORS + CONTRASTS + REGIONS + GEOMETRIES, ids=lambda h: h.name
)
def test_every_habit_gets_the_right_series(habit: Habit) -> None:
    """The right series is chosen, and every other one is told why not."""
    choice = choose(habit.study)
    assert {role: c.series_uid for role, c in choice.chosen.items()} == habit.chosen
    used = {f.series_uid for c in choice.chosen.values() for f in c.frames}
    unused = {s.series_uid for s in habit.study} - used
    assert set(choice.others) == unused
    for uid, words in habit.others.items():
        assert words in choice.others[uid]
    for role, words in habit.says.items():
        assert any(words in reason for reason in choice.chosen[role].reasons)
