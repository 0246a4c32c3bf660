"""Settings of the way out: the peers that get results, retries, and what results look like."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

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


class OrthancPeer(Section):
    """An Orthanc whose plugin tells this node about stable studies; results go back to it."""

    name: PeerName
    url: Annotated[str, Field(pattern=r"^https?://")]
    user: str = ""
    password_file: Path | None = None
    pull: Literal["study", "series"] = "study"
    push: Literal["rest", "dicom"] = "rest"


class DicomwebPeer(Section):
    """An archive that speaks DICOMweb: studies are retrieved from it, results stored in it."""

    name: PeerName
    url: Annotated[str, Field(pattern=r"^https?://")]
    send_results: bool = False
    timeout_s: Seconds = 60.0
    token_file: Path | None = None
    user: str = ""
    password_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _secrets_belong_together(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file are needed together")
        if self.token_file and self.password_file:
            raise ValueError("token_file and password_file exclude each other")
        has_secret = self.token_file or self.password_file or self.certificate_file
        if has_secret and not self.url.startswith("https://") and not _is_local(self.url):
            raise ValueError("a secret goes over https only, or to this machine")
        return self


class Deliver(Section):
    """Retries of one delivery: delay doubles from first to last, until it is too old."""

    first_retry_s: Seconds = 5.0
    last_retry_s: Seconds = 3600.0
    give_up_after_s: Seconds = 7 * 24 * 3600.0

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


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
