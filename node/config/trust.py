"""Settings of trust: DICOM over TLS, what is recorded, what is set aside."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from node.config.fields import Section


class Tls(Section):
    """DICOM over TLS, both ways: one certificate for what we receive and what we send."""

    listen: bool = False
    certificate_file: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    require_client_certificate: bool = True

    @model_validator(mode="after")
    def _files_belong_together(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file are needed together")
        if self.listen and self.certificate_file is None:
            raise ValueError("listen over TLS needs certificate_file and key_file")
        if self.listen and self.require_client_certificate and self.ca_file is None:
            raise ValueError("require_client_certificate needs ca_file, to check them against")
        return self


class Quarantine(Section):
    """Where instances go that arrived and were refused."""

    max_mb: Annotated[int, Field(ge=0)] = 1024


class Audit(Section):
    """The audit trail (PS3.15 A.5): a file a day, and a syslog collector over TLS."""

    keep_days: Annotated[int, Field(ge=1)] = 180
    syslog_host: str = ""
    syslog_port: Annotated[int, Field(ge=1, le=65535)] = 6514
    syslog_ca_file: Path | None = None

    @model_validator(mode="after")
    def _collector_is_verified(self) -> Self:
        if self.syslog_host and self.syslog_ca_file is None:
            raise ValueError("syslog_host needs syslog_ca_file, to know the collector by")
        return self
