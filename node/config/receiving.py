"""Settings of the way in: who may send, and when a study is complete."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from node.config.fields import AETitle, BindAddress, Port, Seconds, Section


class Listen(Section):
    """The DICOM listener (C-STORE and C-ECHO)."""

    bind: BindAddress = "127.0.0.1"
    port: Port = 11112
    ae_title: AETitle = "LUMBAR"
    require_called_ae: bool = True
    calling_ae: tuple[AETitle, ...] = ()
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 10
    network_timeout_s: Seconds = 60.0
    min_free_mb: Annotated[int, Field(ge=0)] = 2048
    max_object_mb: Annotated[int, Field(ge=1)] = 512
    accept_and_ignore: bool = True


class Complete(Section):
    """When a study counts as complete (seconds since its last image)."""

    quiet_s: Seconds = 60.0
    incomplete_s: Seconds = 900.0
    forced_s: Seconds = 5400.0
    run_incomplete: bool = True

    @model_validator(mode="after")
    def _times_grow(self) -> Self:
        if not self.quiet_s <= self.incomplete_s <= self.forced_s:
            raise ValueError("quiet_s <= incomplete_s <= forced_s does not hold")
        return self
