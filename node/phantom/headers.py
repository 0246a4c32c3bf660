"""DICOM headers of phantom series: legal MR Image Storage, with the habits of three vendors.

Attributes follow PS3.3 A.4 (MR Image IOD) with its Type 1 and 2 attributes. UIDs are below 2.25
(PS3.5 B.2) and derived from the seed, so the same seed gives the same bytes.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, RLELossless

from node.phantom.options import StudyOptions, Vendor
from node.phantom.protocol import Scan
from node.spine.anatomy import Role
from node.spine.volume import Slice, Volume

_IMPLEMENTATION = UID("2.25.199450163417223110325419843286512374112")

_PLAIN: dict[str, dict[str, str]] = {
    "siemens": {
        "sagittal_t1": "t1_tse_sag",
        "sagittal_t2": "t2_tse_sag",
        "stir": "t2_tirm_sag",
        "axial_t2": "t2_tse_tra",
    },
    "ge": {
        "sagittal_t1": "SAG T1 FSE",
        "sagittal_t2": "SAG T2 FRFSE",
        "stir": "SAG STIR",
        "axial_t2": "AX T2 FSE",
    },
    "philips": {
        "sagittal_t1": "T1W_TSE_SAG",
        "sagittal_t2": "T2W_TSE_SAG",
        "stir": "STIR_SAG",
        "axial_t2": "T2W_TSE_AX",
    },
}
_MISLEADING = ("LSPINE", "Survey", "MOBI routine", "t2_tse_tra", "SAG T1 FSE", "Sag", "scan 4")
_MAKER = {
    "siemens": ("SIEMENS", "Phantom MAGNETOM"),
    "ge": ("GE MEDICAL SYSTEMS", "Phantom Signa"),
    "philips": ("Philips Medical Systems", "Phantom Ingenia"),
}
_IMAGE_TYPE = {
    "siemens": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    "ge": ["ORIGINAL", "PRIMARY", "OTHER"],
    "philips": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"],
}
_SCAN_OPTIONS = {
    "siemens": ["PFP", "SAT1"],
    "ge": ["SAT_GEMS", "NPW", "TRF_GEMS", "FILTERED_GEMS"],
    "philips": ["FC", "REG_SAT"],
}


def derived_uid(*parts: object) -> str:
    """Return a UID below 2.25 that depends on nothing but ``parts``."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big') >> 1}"


@dataclass(frozen=True)
class Identity:
    """The names of one study: UIDs and vendor habits, all from the seed and the options."""

    seed: int
    options: StudyOptions

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID; options that change pixels or headers change it too."""
        return self._uid("study")

    @property
    def vendor(self) -> Vendor:
        """The scanner whose habits the headers have."""
        names: tuple[Vendor, ...] = ("siemens", "ge", "philips")
        return self.options.vendor or names[int(self._rng(1).choice(3, p=(0.45, 0.3, 0.25)))]

    def series_uid(self, role: Role, copy: int) -> str:
        """SeriesInstanceUID of a role's first (0) or a further series."""
        return self._uid("series", role, *_further(copy))

    def instance_uid(self, role: Role, copy: int, k: int) -> str:
        """SOPInstanceUID of the k-th slice, in the order of `node.phantom.protocol.Scan`."""
        return self._uid("instance", role, k, *_further(copy))

    def frame_uid(self, role: Role, copy: int) -> str:
        """FrameOfReferenceUID: one for the study, or, as after anonymisation, one for a series."""
        same = self.options.same_frame_of_reference
        same = bool(self._rng(2).random() < 0.6) if same is None else same
        return self._uid("frame") if same else self._uid("frame", role, *_further(copy))

    @property
    def has_spacing(self) -> bool:
        """Whether SliceThickness and SpacingBetweenSlices are filled."""
        given = self.options.spacing_attributes
        return bool(self._rng(3).random() < 0.85) if given is None else given

    def description(self, scan: Scan, copy: int) -> str:
        """SeriesDescription: telling, blank or misleading."""
        rng = self._rng(10 + 10 * copy + list(Role).index(scan.role))
        kind = self.options.descriptions
        if kind is None:
            kind = ("plain", "blank", "misleading")[int(rng.choice(3, p=(0.7, 0.2, 0.1)))]
        if kind == "blank":
            return ""
        if kind == "misleading":
            return str(rng.choice(_MISLEADING))
        stir = scan.role is Role.SAGITTAL_T2 and scan.weighting.inversion is not None
        return _PLAIN[self.vendor]["stir" if stir else scan.role.value]

    def _uid(self, *parts: object) -> str:
        o = self.options
        wishes = (o.balanced, sorted(o.severities.items()), o.stir, o.axial, o.coverage or "full")
        made = "lumbar-node phantom 1" if o.variety == "plain" else "lumbar-node phantom 2"
        if o.scanners == "other":
            made = f"{made}, other scanners"
        return derived_uid(made, self.seed, wishes, *parts)

    def _rng(self, k: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 1000 + k])


def build_datasets(identity: Identity, volume: Volume, scan: Scan, copy: int = 0) -> list[Dataset]:
    """Return one data set a slice, in the volume's order.

    Parameters
    ----------
    identity : Identity
    volume : Volume
        The images.
    scan : Scan
        How they were made.
    copy : int
        Which series of its role it is, from 0.
    """
    count = len(volume.slices)
    numbers = range(scan.first_number, scan.first_number + count)
    if scan.reversed_numbers:
        numbers = numbers[::-1]
    return [
        _dataset(identity, volume, (scan, copy), s, n)
        for s, n in zip(volume.slices, numbers, strict=True)
    ]


def _further(copy: int) -> tuple[int, ...]:
    return (copy,) if copy else ()


def _dataset(
    identity: Identity, volume: Volume, scanned: tuple[Scan, int], image: Slice, number: int
) -> Dataset:
    scan, copy = scanned
    ds = Dataset()
    _patient_and_study(ds, identity)
    _series(ds, identity, volume, scan, copy)
    _acquisition(ds, identity, scan)
    _plane(ds, image, number)
    _pixels(ds, image)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = _IMPLEMENTATION
    ds.file_meta.ImplementationVersionName = "LUMBARPHANTOM"
    if identity.options.transfer_syntax == "rle":
        ds.compress(RLELossless, generate_instance_uid=False)
    return ds


def _patient_and_study(ds: Dataset, identity: Identity) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName = "PHANTOM^LUMBAR"
    ds.PatientID = f"PHANTOM-{identity.seed}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Synthetic image, no patient"
    ds.StudyInstanceUID = identity.study_uid
    ds.StudyDate = "20240601"
    ds.StudyTime = "090000"
    ds.StudyID = str(identity.seed % 10**9)
    ds.StudyDescription = "MR LUMBAR SPINE PHANTOM"
    ds.AccessionNumber = f"PH{identity.seed % 10**12}"
    ds.ReferringPhysicianName = ""


def _series(ds: Dataset, identity: Identity, volume: Volume, scan: Scan, copy: int) -> None:
    order = list(Role).index(scan.role) + copy
    maker, model = _MAKER[identity.vendor]
    ds.Modality = "MR"
    ds.SeriesInstanceUID = volume.series_uid
    ds.SeriesNumber = order + 2
    ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20240601"
    ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = f"09{5 * order + 5:02d}00"
    ds.SeriesDescription = identity.description(scan, copy)
    ds.BodyPartExamined = "LSPINE"
    ds.PatientPosition = "HFS"
    ds.FrameOfReferenceUID = volume.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = maker
    ds.ManufacturerModelName = model
    ds.SoftwareVersions = "lumbar-node phantom"


def _acquisition(ds: Dataset, identity: Identity, scan: Scan) -> None:
    """General Image and MR Image modules (PS3.3 C.8.3.1)."""
    weighting, vendor = scan.weighting, identity.vendor
    inverted = weighting.inversion is not None
    ds.ImageType = list(_IMAGE_TYPE[vendor])
    ds.ScanningSequence = ["SE", "IR"] if inverted else "SE"
    ds.SequenceVariant = ["SK", "SP", "OSP"] if vendor == "siemens" else "SK"
    ds.ScanOptions = [*_SCAN_OPTIONS[vendor], *(["FS"] if weighting.suppression else [])]
    ds.MRAcquisitionType = "2D"
    if vendor == "siemens":
        ds.SequenceName = "*tir2d1_15" if inverted else "*tse2d1_15"
    elif vendor == "ge":
        ds.SequenceName = "fse" if not inverted else "fseir"
    ds.RepetitionTime = f"{weighting.repetition:g}"
    ds.EchoTime = f"{weighting.echo:g}"
    if weighting.inversion is not None:
        ds.InversionTime = f"{weighting.inversion:g}"
    ds.EchoTrainLength = 4 if scan.role is Role.SAGITTAL_T1 else 15
    ds.NumberOfAverages = "2"
    ds.MagneticFieldStrength = f"{scan.strength:g}"
    ds.ImagingFrequency = f"{42.58 * scan.strength:.2f}"
    ds.ImagedNucleus = "1H"
    ds.FlipAngle = "150"
    ds.SliceThickness = f"{scan.thickness:g}" if identity.has_spacing else ""
    if identity.has_spacing:
        ds.SpacingBetweenSlices = f"{scan.pitch:g}"


def _plane(ds: Dataset, image: Slice, number: int) -> None:
    plane = image.plane
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = image.sop_instance_uid
    ds.InstanceNumber = number
    ds.AcquisitionNumber = 1
    ds.ImagePositionPatient = [_ds(v) for v in plane.origin]
    ds.ImageOrientationPatient = [_ds(v) for v in (*plane.along_row, *plane.along_column)]
    ds.PixelSpacing = [_ds(plane.row_spacing), _ds(plane.column_spacing)]
    ds.SliceLocation = _ds(float(plane.origin @ plane.normal))
    ds.PatientOrientation = [_toward(plane.along_row), _toward(plane.along_column)]


def _pixels(ds: Dataset, image: Slice) -> None:
    pixels = image.pixels.astype("<u2")
    low, high = np.percentile(pixels[::2, ::2], (2, 99.5))
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.WindowCenter = _ds(float(low + high) / 2)
    ds.WindowWidth = _ds(max(1.0, float(high - low)))
    ds.PixelData = pixels.tobytes()


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2)."""
    return f"{value:.8f}"[:16] if abs(value) < 1000 else f"{value:.6f}"[:16]


def _toward(direction: np.ndarray) -> str:
    """The patient direction an image axis points to, most important letter first (C.7.6.1.1.1)."""
    letters = [
        (abs(v), pair[0] if v > 0 else pair[1])
        for v, pair in zip(direction, ("LR", "PA", "HF"), strict=True)
        if abs(v) > 0.02
    ]
    return "".join(letter for _, letter in sorted(letters, reverse=True))
