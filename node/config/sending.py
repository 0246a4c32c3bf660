"""Settings of the way out: the peers that get results, retries, and what results look like."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from node.config.fields import AETitle, PeerName, Port, Seconds, Section


class Destination(Section):
    """A DICOM peer that gets results."""

    name: PeerName
    host: str
    port: Port
    ae_title: AETitle
    timeout_s: Seconds = 30.0
    tls: bool = False
    tls_name: str = ""
    proof: Literal["auto", "query", "status"] = "auto"


class OrthancPeer(Section):
    """An Orthanc whose plugin tells this node about stable studies; results go back to it."""

    name: PeerName
    url: Annotated[str, Field(pattern=r"^https?://")]
    user: str = ""
    password_file: Path | None = None
    pull: Literal["study", "series"] = "study"
    push: Literal["rest", "dicom"] = "rest"


class Deliver(Section):
    """Retries of one delivery: delay doubles from first to last, until it is too old; its proof."""

    first_retry_s: Seconds = 5.0
    last_retry_s: Seconds = 3600.0
    give_up_after_s: Seconds = 7 * 24 * 3600.0
    proof_within_s: Seconds = 3600.0

    @model_validator(mode="after")
    def _delays_grow(self) -> Self:
        if self.first_retry_s > self.last_retry_s:
            raise ValueError("first_retry_s is larger than last_retry_s")
        return self


class Report(Section):
    """What the result objects look like."""

    sop_class: Literal["comprehensive3d", "comprehensive"] = "comprehensive3d"
    region_copy_under_num: bool = True
    groups: Literal["all", "abnormal"] = "all"
    overlays: bool = True
    capture_modality: Literal["OT", "MR"] = "OT"
    series_number: Annotated[int, Field(ge=1, le=99000)] = 9901
    institution: Annotated[str, Field(max_length=64)] = ""
    key_objects: bool = False
    pdf: bool = False
    fhir: Literal["off", "r4", "r5"] = "off"
