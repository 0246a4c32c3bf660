"""Headers and pixels of real files on disk: odd, damaged, enhanced, and from real scanners."""

import struct
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)

from node.dicom.reading.reader import facts, grouped, instance_facts, load_volume, read_header
from node.errors import InvalidInstance, NotAssessable
from node.spine.anatomy import Role
from node.spine.facts import SeriesFacts
from node.spine.series import Candidate, SeriesChoice, choose
from tests.builders import ct_image, mr_image, mr_study, part10, uid, write_all

DELIMITER = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def _facts(paths: list[Path]) -> tuple[SeriesFacts, ...]:
    return facts((path, read_header(path)) for path in paths)


def _choice(paths: list[Path]) -> SeriesChoice:
    return choose(_facts(paths))


def _files(paths: list[Path]) -> dict[str, Path]:
    return {read_header(path).SOPInstanceUID: path for path in paths}


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def enhanced(count: int = 7, sop_class: str = EnhancedMRImageStorage) -> FileDataset:
    """A multi-frame sagittal T2 whose frames are stored in a scrambled order."""
    image = mr_image(size=32)
    for keyword in (
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
        "EchoTime",
        "RepetitionTime",
        "ScanningSequence",
        "ScanOptions",
    ):
        delattr(image, keyword)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class
    image.NumberOfFrames = count
    image.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])],
            PixelMeasuresSequence=[_item(PixelSpacing=[8.0, 5.0])],
        )
    ]
    order = [(3 * i) % count for i in range(count)]
    image.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[5.0 * at, -10.0, 20.0])],
            FrameContentSequence=[_item(FrameAcquisitionDateTime=f"2026010112000{at}")],
            PixelValueTransformationSequence=[
                _item(RescaleSlope=2.0, RescaleIntercept=float(at), RescaleType="US")
            ],
        )
        for at in order
    ]
    frames = [np.full((32, 32), 100 * at, "<u2") for at in order]
    image.PixelData = np.stack(frames).tobytes()
    return image


def _add_enhanced_contrast(image: FileDataset) -> None:
    image.EchoPulseSequence, image.EchoPlanarPulseSequence = "SPIN", "NO"
    shared = image.SharedFunctionalGroupsSequence[0]
    shared.MRTimingAndRelatedParametersSequence = [_item(RepetitionTime=3200.0)]
    for frame in image.PerFrameFunctionalGroupsSequence:
        frame.MREchoSequence = [_item(EffectiveEchoTime=104.0)]
        frame.MRImageFrameTypeSequence = [
            _item(
                FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"], ComplexImageComponent="MAGNITUDE"
            )
        ]


def test_three_roles_from_classic_files(tmp_path: Path) -> None:
    """Plain files in any order give the three roles and volumes ordered by geometry."""
    paths = write_all(list(mr_study())[::-1], tmp_path)
    choice = _choice(paths)
    assert set(choice.chosen) == set(Role)
    for role, candidate in choice.chosen.items():
        volume = load_volume(role, candidate, _files(paths))
        assert len(volume.slices) == 5
        assert (np.diff(volume.positions()) > 0).all()
        assert volume.frame_of_reference_uid == uid("frame of reference", "1")


def test_an_enhanced_object_gives_a_volume(tmp_path: Path) -> None:
    """Planes, contrast and rescale come from the functional groups, frames keep their numbers."""
    image = enhanced()
    _add_enhanced_contrast(image)
    paths = write_all([image], tmp_path)
    (series,) = _facts(paths)
    assert series.scanning_sequence == ("SE",)
    assert {(f.echo_time, f.repetition_time) for f in series.frames} == {(104.0, 3200.0)}
    candidate = choose([series]).chosen[Role.SAGITTAL_T2]
    volume = load_volume(Role.SAGITTAL_T2, candidate, _files(paths))
    assert [s.plane.origin[0] for s in volume.slices] == [5.0 * at for at in range(7)]
    assert [float(s.pixels[0, 0]) for s in volume.slices] == [201.0 * at for at in range(7)]
    assert [s.frame_number for s in volume.slices] == [1, 6, 4, 2, 7, 5, 3]
    assert volume.slices[0].plane.row_spacing == 8.0


def test_a_legacy_converted_object_keeps_classic_attributes(tmp_path: Path) -> None:
    """Echo and repetition time are found among the unassigned attributes."""
    image = enhanced(sop_class=LegacyConvertedEnhancedMRImageStorage)
    image.SharedFunctionalGroupsSequence[0].UnassignedSharedConvertedAttributesSequence = [
        _item(RepetitionTime=4000.0, ScanningSequence=["SE", "IR"], ScanOptions="FS")
    ]
    for frame in image.PerFrameFunctionalGroupsSequence:
        frame.UnassignedPerFrameConvertedAttributesSequence = [
            _item(EchoTime=50.0, InversionTime=150.0)
        ]
    (series,) = _facts(write_all([image], tmp_path))
    assert series.scan_options == ("FS",)
    candidate = choose([series]).chosen[Role.SAGITTAL_T2]
    assert any("STIR by TE 50 ms" in reason for reason in candidate.reasons)


def test_a_philips_private_position_is_ignored(tmp_path: Path) -> None:
    """(2005,140F) holds another position in every frame; it is not the image's."""
    image = enhanced()
    _add_enhanced_contrast(image)
    for frame in image.PerFrameFunctionalGroupsSequence:
        block = frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", [_item(ImagePositionPatient=[9.0, 9.0, 9.0])])
    (series,) = _facts(write_all([image], tmp_path))
    assert {f.plane.origin[2] for f in series.frames if f.plane} == {20.0}


def test_ge_private_statements_become_image_types(tmp_path: Path) -> None:
    """GE says phase image and three-plane localizer in private elements only."""
    image = mr_image(ImageType=["ORIGINAL", "PRIMARY", "OTHER"])
    image.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 1)
    image.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x17, "SS", 256)
    (series,) = _facts(write_all([image], tmp_path))
    assert series.frames[0].image_type[2:] == ("OTHER", "PHASE MAP", "LOCALIZER")


def test_a_single_frame_enhanced_object_without_groups_is_classic(tmp_path: Path) -> None:
    """RSNA data has the enhanced class only in the file meta information, and no Modality."""
    images = [mr_image(number=n, Modality=None) for n in range(1, 7)]
    for image in images:
        image.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
        del image.SOPClassUID
    paths = []
    for n, image in enumerate(images):
        paths.append(tmp_path / f"{n}.dcm")
        image.save_as(paths[-1], enforce_file_format=False)
    assert set(_choice(paths).chosen) == {Role.SAGITTAL_T2}


def test_a_multi_frame_without_groups_has_no_plane(tmp_path: Path) -> None:
    """Several frames and one position cannot be a stack."""
    image = mr_image(size=8, NumberOfFrames=5)
    image.PixelData = image.PixelData * 5
    (series,) = _facts(write_all([image], tmp_path))
    assert series.frames[0].problem == "a multi-frame object without functional groups"


RUBBISH = [
    ("ImageOrientationPatient", b"1\\0\\0\\0\\1 ", "5 values instead of 6"),
    ("ImageOrientationPatient", b"", "ImageOrientationPatient is missing"),
    ("ImageOrientationPatient", b"1\\0\\0\\1\\0\\0 ", "not two orthogonal"),
    ("ImagePositionPatient", b"0\\0\\NaN ", "ImagePositionPatient holds values"),
    ("ImagePositionPatient", b"0\\0\\1e999 ", "ImagePositionPatient holds values"),
    ("ImagePositionPatient", b"0\\0\\left", "ImagePositionPatient is missing"),
    ("PixelSpacing", b"0\\0 ", "PixelSpacing is not positive"),
    ("PixelSpacing", b"1 ", "PixelSpacing has 1 values"),
    ("EchoTime", b"NaN ", ""),
    ("EchoTime", b"long", ""),
    ("RepetitionTime", b"1\\2\\3 ", ""),
    ("SeriesNumber", b"99999999999999999999", ""),
    ("ImageType", b"\\\\\\", ""),
    ("SeriesDescription", b"\xff\xfe\x1b$B~~", ""),
]


@pytest.mark.parametrize(("keyword", "raw", "problem"), RUBBISH)
def test_rubbish_costs_the_value_not_the_program(
    keyword: str, raw: bytes, problem: str, tmp_path: Path
) -> None:
    """A value nobody can read leaves the frame without it, and says so where it matters."""
    image = mr_image()
    tag, vr = image[keyword].tag, image[keyword].VR
    old = part10(image)
    at = old.index(struct.pack("<HH", tag.group, tag.element) + vr.encode())
    length = int.from_bytes(old[at + 6 : at + 8], "little")
    raw += b" " * (len(raw) % 2)
    new = old[: at + 6] + struct.pack("<H", len(raw)) + raw + old[at + 8 + length :]
    path = tmp_path / "1.dcm"
    path.write_bytes(new)
    (series,) = _facts([path])
    (frame,) = series.frames
    assert problem in frame.problem
    assert (frame.plane is None) == bool(problem)
    with pytest.raises(NotAssessable):
        choose([series])


@pytest.mark.parametrize("tenth", range(10))
def test_a_cut_off_file_is_refused_in_one_line(tenth: int, tmp_path: Path) -> None:
    """Wherever it is cut, the line names the file."""
    whole = part10(mr_image())
    path = tmp_path / "cut.dcm"
    path.write_bytes(whole[: len(whole) * tenth // 10])
    with pytest.raises(InvalidInstance) as refusal:
        read_header(path)
    assert str(refusal.value).startswith("cut.dcm: ")
    assert "\n" not in str(refusal.value)


def test_a_cut_off_compressed_file_is_refused(tmp_path: Path) -> None:
    """A fragment that claims more bytes than there are means lost pixels."""
    image = mr_image()
    image.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    whole = part10(image)
    path = tmp_path / "cut.dcm"
    path.write_bytes(whole[:-40])
    with pytest.raises(InvalidInstance, match=r"cut.dcm: cut off: \d+ bytes of the pixels"):
        read_header(path)


def test_a_lost_sequence_delimiter_costs_nothing(tmp_path: Path) -> None:
    """All fragments are there, only the closing delimiter is not: the image is read."""
    images = [mr_image(number=n) for n in range(1, 6)]
    for image in images:
        image.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    paths = write_all(images, tmp_path)
    whole = load_volume(Role.SAGITTAL_T2, _choice(paths).chosen[Role.SAGITTAL_T2], _files(paths))
    for path in paths:
        assert path.read_bytes().endswith(DELIMITER)
        path.write_bytes(path.read_bytes().removesuffix(DELIMITER))
    cut = load_volume(Role.SAGITTAL_T2, _choice(paths).chosen[Role.SAGITTAL_T2], _files(paths))
    for a, b in zip(whole.slices, cut.slices, strict=True):
        assert (a.pixels == b.pixels).all()


def test_what_is_not_dicom_is_refused(tmp_path: Path) -> None:
    """A text file, an empty file, a missing file and a deflated file each get one line."""
    (tmp_path / "text").write_text("row,col\n" * 50)
    (tmp_path / "empty").touch()
    deflated = mr_image()
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.save_as(tmp_path / "deflated", enforce_file_format=True)
    for name, said in [
        ("text", "not a DICOM file"),
        ("empty", "not a DICOM file"),
        ("missing", "No such file"),
        ("deflated", "deflated transfer syntax is not accepted"),
    ]:
        with pytest.raises(InvalidInstance, match=f"^{name}: .*{said}"):
            read_header(tmp_path / name)


def test_missing_uids_are_named(tmp_path: Path) -> None:
    """Without its three UIDs an image belongs nowhere."""
    image = mr_image(SeriesInstanceUID=None)
    paths = write_all([image], tmp_path)
    with pytest.raises(InvalidInstance, match=r"000\.dcm: SeriesInstanceUID is missing"):
        read_header(paths[0])


def test_corrupt_pixels_name_file_and_syntax(tmp_path: Path) -> None:
    """A codestream of noise is refused, with the name of the syntax."""
    images = [mr_image(number=n) for n in range(1, 6)]
    for image in images:
        image.compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
    paths = write_all(images, tmp_path)
    candidate = _choice(paths).chosen[Role.SAGITTAL_T2]
    files = _files(paths)
    raw = bytearray(paths[2].read_bytes())
    start = raw.index(b"\xff\xd8\xff\xf7")
    raw[start : start + 20] = bytes(20)
    paths[2].write_bytes(bytes(raw))
    with pytest.raises(InvalidInstance, match=r"002\.dcm: the pixels \(JPEG-LS Lossless"):
        load_volume(Role.SAGITTAL_T2, candidate, files)


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    """An image that was chosen and is gone stops the volume."""
    paths = write_all(list(mr_study()), tmp_path)
    candidate = _choice(paths).chosen[Role.AXIAL_T2]
    with pytest.raises(InvalidInstance, match="is missing"):
        load_volume(Role.AXIAL_T2, candidate, {})


def test_monochrome1_is_inverted_and_rescale_applied(tmp_path: Path) -> None:
    """Large is bright, and all slices of a series keep one scale."""
    plain = [mr_image(number=n) for n in range(1, 6)]
    scaled = [
        mr_image(
            number=n,
            PhotometricInterpretation="MONOCHROME1",
            RescaleSlope="2",
            RescaleIntercept="-5",
        )
        for n in range(1, 6)
    ]
    volumes = []
    for name, images in (("plain", plain), ("scaled", scaled)):
        paths = write_all(images, tmp_path / name)
        candidate = _choice(paths).chosen[Role.SAGITTAL_T2]
        volumes.append(load_volume(Role.SAGITTAL_T2, candidate, _files(paths)))
    brightest = max(float(s.pixels.max()) for s in volumes[0].slices)
    for a, b in zip(volumes[0].slices, volumes[1].slices, strict=True):
        assert b.pixels == pytest.approx(2 * (brightest - a.pixels))
        assert b.pixels.min() >= 0


def test_the_same_image_twice_counts_once(tmp_path: Path) -> None:
    """A copy of a file in the folder is not another slice."""
    paths = write_all([*mr_study(), *mr_study()], tmp_path)
    assert sum(len(s.frames) for s in _facts(paths)) == 15


@settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=6)), max_size=5))
def test_damaged_bytes_never_crash(tmp_path: Path, damage: list[tuple[int, bytes]]) -> None:
    """Whatever bytes of an enhanced file are changed, it is read or refused, in one line."""
    image = enhanced()
    _add_enhanced_contrast(image)
    raw = bytearray(part10(image))
    headers = len(raw) - len(image.PixelData)
    for at, new in damage:
        raw[at % headers : at % headers + len(new)] = new
    path = tmp_path / "damaged.dcm"
    path.write_bytes(bytes(raw))
    try:
        header = read_header(path)
        choice = choose(facts([(path, header)]))
        for role, candidate in choice.chosen.items():
            load_volume(role, candidate, {f.sop_instance_uid: path for f in candidate.frames})
    except (InvalidInstance, NotAssessable) as refusal:
        assert "\n" not in str(refusal)


def test_a_ct_is_refused(tmp_path: Path) -> None:
    """The modality gate works on headers read from disk."""
    with pytest.raises(NotAssessable, match="modality CT"):
        _choice(write_all([ct_image()], tmp_path))


@pytest.mark.parametrize("path", get_testdata_files("*.dcm"), ids=lambda p: Path(p).name)
def test_pydicoms_own_files_never_crash(path: str) -> None:
    """Every file of pydicom's collection is read or refused, and none makes a lumbar study."""
    try:
        header = read_header(Path(path))
    except InvalidInstance as refusal:
        assert "\n" not in str(refusal)
        return
    with pytest.raises(NotAssessable):
        choose(facts([(Path(path), header)]))


def test_no_installed_study_is_taken_for_a_lumbar_spine() -> None:
    """Every DICOM file of the installed packages, put together as studies: each is refused."""
    packages = [Path(str(files(name))) for name in ("pydicom", "pynetdicom", "highdicom")]
    studies: dict[str, list[SeriesFacts]] = {}
    for path in sorted(p for package in packages for p in package.rglob("*.dcm")):
        with suppress(InvalidInstance):
            one = instance_facts(read_header(path))
            studies.setdefault(one.study_uid, []).append(one)
    assert sum(one.is_mr for study in studies.values() for one in study) >= 10
    for study in studies.values():
        with pytest.raises(NotAssessable):
            choose(grouped(study))


def test_the_real_study_gives_all_three_roles(shared_data: Path) -> None:
    """Thirteen, ten and nine slices, some missing, in the right roles."""
    paths = sorted((shared_data / "real-study").rglob("*.dcm"))
    choice = _choice(paths)
    volumes = {r: load_volume(r, c, _files(paths)) for r, c in choice.chosen.items()}
    counts = {role.value: len(volume.slices) for role, volume in volumes.items()}
    assert counts == {"sagittal_t1": 13, "sagittal_t2": 10, "axial_t2": 9}
    assert not choice.others


def test_every_real_sagittal_gets_its_role(shared_data: Path) -> None:
    """Thirteen T2 and one STIR take the T2 role, two T1 the T1 role."""
    roles = []
    for folder in sorted(p for p in (shared_data / "real-sagittal").iterdir() if p.is_dir()):
        paths = sorted(folder.glob("*.dcm"))
        choice = _choice(paths)
        (role,) = choice.chosen
        volume = load_volume(role, choice.chosen[role], _files(paths))
        assert len(volume.slices) == len(paths)
        roles.append(role)
    assert roles.count(Role.SAGITTAL_T1) == 2
    assert roles.count(Role.SAGITTAL_T2) == 14


def test_real_single_files(shared_data: Path) -> None:
    """One slice is too few, a CT is no MR; a lost delimiter does not change the picture."""
    folder = shared_data / "dicom"
    with pytest.raises(NotAssessable, match="modality CT"):
        _choice([folder / "GH1308.dcm"])
    with pytest.raises(NotAssessable, match="1 sagittal slice, fewer than 5"):
        _choice([folder / "ISO_IR13.dcm"])
    pictures = []
    for name in ("GH1339.dcm", "GH1339_fixed_delimiter.dcm"):
        (series,) = _facts([folder / name])
        lone = Candidate(series.series_uid, Role.AXIAL_T2, 0.0, (), series.frames)
        volume = load_volume(Role.AXIAL_T2, lone, _files([folder / name]))
        pictures.append(volume.slices[0].pixels)
    assert (pictures[0] == pictures[1]).all()
    # dcmdjpeg decodes the same; the header's LargestImagePixelValue says 1146.
    assert pictures[0].max() == 819
