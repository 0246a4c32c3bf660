"""Settings of the peers that are spoken to over HTTP in the standard's own way: PS3.18."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from node.config.fields import PeerName, Seconds, Section


class WebPeer(Section):
    """What every such peer has: an address, and what it asks for at the door."""

    name: PeerName
    url: Annotated[str, Field(pattern=r"^https?://")]
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


class DicomwebPeer(WebPeer):
    """An archive that speaks DICOMweb: studies are retrieved from it, results stored in it."""

    send_results: bool = False
    proof: Literal["auto", "status"] = "auto"


class WorklistPeer(WebPeer):
    """A workflow manager with a UPS-RS worklist whose items this node performs."""

    codes: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[^^]+\^[^^]+$")], ...], Field(min_length=1)
    ]
    source: PeerName | None = None
    poll_s: Seconds = 30.0


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
