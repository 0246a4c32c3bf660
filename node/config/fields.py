"""The kinds of values that settings have, and what each of them refuses."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ae_title(text: str) -> str:
    # PS3.5 6.2, VR AE: up to 16 characters of the default repertoire, no backslash or control.
    if not text.strip() or len(text) > 16 or "\\" in text or not text.isascii():
        raise ValueError("an AE title has 1 to 16 ASCII characters and no backslash")
    if not text.isprintable():
        raise ValueError("an AE title has no control characters")
    return text.strip()


def _address(text: str) -> str:
    if text != "localhost":
        ipaddress.ip_address(text)
    return text


def _source(text: str) -> str:
    others = r"\*|(orthanc|dicomweb):[a-z0-9_-]{1,32}|stow:[0-9a-f.:]+"
    return text if re.fullmatch(others, text) else _ae_title(text)


def _dicom_address(text: str) -> str:
    title, at, address = text.partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and host and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r} is not AE@HOST:PORT, for example PACS@10.0.0.5:104")
    return f"{_ae_title(title)}@{host}:{port}"


def _counter(text: str) -> str:
    return text if re.fullmatch(r"dicomweb:[a-z0-9_-]{1,32}", text) else _dicom_address(text)


def _network(text: str) -> str:
    ipaddress.ip_network(text)  # strict: 10.0.0.5/24 is more likely a mistake than a network
    return text


AETitle = Annotated[str, AfterValidator(_ae_title)]
SourceName = Annotated[str, AfterValidator(_source)]
DicomAddress = Annotated[str, AfterValidator(_dicom_address)]
Counter = Annotated[str, AfterValidator(_counter)]
Network = Annotated[str, AfterValidator(_network)]
BindAddress = Annotated[str, AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
PeerName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
DestinationName = Annotated[str, Field(pattern=r"^((orthanc|dicomweb):)?[a-z0-9_-]{1,32}$")]


class Section(BaseModel):
    """A section of the file: frozen, and without unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
