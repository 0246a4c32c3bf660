"""What the headers of a series say, without DICOM types: the input of the series rules.

``node.dicom.reading.reader`` fills these. Enhanced MR attributes are told in the terms of classic
MR (``EchoPulseSequence SPIN`` as ``SE``), so that the rules need one vocabulary.
"""

from dataclasses import dataclass

from node.spine.geometry import Plane

#: MR, Enhanced MR and Legacy Converted Enhanced MR Image Storage (PS3.4 B.5).
MR_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.4",
        "1.2.840.10008.5.1.4.1.1.4.1",
        "1.2.840.10008.5.1.4.1.1.4.4",
    }
)

#: Manufacturer and ManufacturerModelName of everything this node makes (SR-06, SC-11).
OWN_MANUFACTURER = "lumbar-node project"
OWN_MODEL = "lumbar-node"


@dataclass(frozen=True)
class FrameFacts:
    """One image: a classic instance, or one frame of a multi-frame instance.

    Attributes
    ----------
    sop_instance_uid : str
    frame_number : int or None
        1-based, only for an enhanced multi-frame object.
    plane : Plane or None
        None when the header's geometry cannot be used; `problem` then says why.
    problem : str
    image_type : tuple of str
        ImageType or FrameType, upper case; a vendor's private statement of the same is appended
        in standard words (``LOCALIZER``, ``PHASE MAP``), and so is what another attribute says
        of the same (``SECONDARY CAPTURE``).
    echo_time, repetition_time, inversion_time : float or None
        ms; None when absent or not a positive number.
    acquisition_number, temporal_position : int or None
    acquired : str
        ``YYYYMMDDHHMMSS.FFFFFF`` as far as known; compares as text.
    series_uid : str
        Of the series it came in.
    """

    sop_instance_uid: str
    frame_number: int | None = None
    plane: Plane | None = None
    problem: str = ""
    image_type: tuple[str, ...] = ()
    echo_time: float | None = None
    repetition_time: float | None = None
    inversion_time: float | None = None
    acquisition_number: int | None = None
    temporal_position: int | None = None
    acquired: str = ""
    series_uid: str = ""


@dataclass(frozen=True)
class SeriesFacts:
    """One series: what all its images share, and the images.

    Attributes
    ----------
    series_uid, study_uid, sop_class_uid, modality : str
    frames : tuple of FrameFacts
        In any order.
    number : int or None
        SeriesNumber, to name the series to people.
    description, protocol, body_part, study_description : str
        Text a person or a preset wrote; never trusted alone.
    scanning_sequence : tuple of str
        ``SE``, ``GR``, ``IR``, ``EP``, ``RM`` (PS3.3 C.8.3.1).
    sequence_name : str
    scan_options : tuple of str
        An enhanced object's fat suppression is told as ``FS``.
    acquisition_type : str
        ``2D`` or ``3D``.
    contrast_agent : str
    manufacturer, model : str
    frame_of_reference_uid : str
    """

    series_uid: str
    study_uid: str
    sop_class_uid: str
    modality: str
    frames: tuple[FrameFacts, ...]
    number: int | None = None
    description: str = ""
    protocol: str = ""
    body_part: str = ""
    study_description: str = ""
    scanning_sequence: tuple[str, ...] = ()
    sequence_name: str = ""
    scan_options: tuple[str, ...] = ()
    acquisition_type: str = ""
    contrast_agent: str = ""
    manufacturer: str = ""
    model: str = ""
    frame_of_reference_uid: str = ""

    @property
    def text(self) -> str:
        """Description and protocol as upper-case words, separators made spaces."""
        words = f"{self.description} {self.protocol}".upper()
        return "".join(c if c.isalnum() or c in "+*" else " " for c in words)

    @property
    def is_mr(self) -> bool:
        """MR by Modality, or by SOP class where an anonymiser removed the Modality."""
        return self.modality == "MR" or (not self.modality and self.sop_class_uid in MR_CLASSES)
