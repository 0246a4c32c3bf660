"""The load of a bench: MR images of 256 x 256, each an instance of its own, in one folder."""

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

SIZE = 256
_ROOT = "1.2.826.0.1.3680043.10.1653"


def write(folder: Path, count: int) -> list[Path]:
    """Write ``count`` images of one series; return their files in order."""
    folder.mkdir(parents=True, exist_ok=True)
    image = _image()
    paths = []
    for number in range(1, count + 1):
        image.InstanceNumber = number
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{_ROOT}.3.{number}"
        image.ImagePositionPatient = [0, 0, float(number)]
        path = folder / f"{number:05}.dcm"
        image.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _image() -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = MRImageStorage
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.PatientName, image.PatientID = "Bench^Ingest", "BENCH"
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{_ROOT}.1", f"{_ROOT}.2"
    image.StudyDate, image.StudyTime, image.StudyID = "20260101", "120000", "1"
    image.AccessionNumber, image.ReferringPhysicianName = "", ""
    image.Modality, image.SeriesNumber, image.Manufacturer = "MR", 1, "BENCH"
    image.SeriesDescription, image.ProtocolName = "T2 sag", "T2 sag"
    image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    image.ScanningSequence, image.SequenceVariant = "SE", "SK"
    image.MRAcquisitionType, image.EchoTime, image.RepetitionTime = "2D", 100.0, 3000.0
    image.SliceThickness, image.PixelSpacing = 4.0, [1.0, 1.0]
    image.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    image.FrameOfReferenceUID = f"{_ROOT}.4"
    image.Rows = image.Columns = SIZE
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    noise = np.random.default_rng(0).integers(0, 4096, (SIZE, SIZE), dtype=np.uint16)
    image.PixelData = noise.tobytes()
    return image
