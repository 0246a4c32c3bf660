"""Settings of the way in: who may send, and when a study is complete."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from node.config.fields import (
    AETitle,
    BindAddress,
    Counter,
    DestinationName,
    DicomAddress,
    Network,
    Port,
    Seconds,
    Section,
    SourceName,
)

#: Sources of this kind (``backfill:folder``, ``backfill:orthanc:NAME``...) were walked through.
BACKFILL = "backfill"
NEVER_S = 1e9


class Listen(Section):
    """The DICOM listener (C-STORE and C-ECHO)."""

    bind: BindAddress = "127.0.0.1"
    port: Port = 11112
    ae_title: AETitle = "LUMBAR"
    require_called_ae: bool = True
    calling_ae: tuple[AETitle, ...] = ()
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 10
    max_per_address: Annotated[int, Field(ge=0)] = 0
    max_per_minute: Annotated[int, Field(ge=0)] = 0
    network_timeout_s: Seconds = 60.0
    min_free_mb: Annotated[int, Field(ge=0)] = 2048
    max_object_mb: Annotated[int, Field(ge=1)] = 512
    accept_and_ignore: bool = True
    processes: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = "auto"


class Complete(Section):
    """When a study counts as complete (seconds since its last image)."""

    proven_s: Annotated[float, Field(ge=0)] = 1.0
    quiet_s: Seconds = 60.0
    incomplete_s: Seconds = 900.0
    forced_s: Seconds = 5400.0
    run_incomplete: bool = True

    @model_validator(mode="after")
    def _times_grow(self) -> Self:
        if not self.quiet_s <= self.incomplete_s <= self.forced_s:
            raise ValueError("quiet_s <= incomplete_s <= forced_s does not hold")
        return self


class Source(Section):
    """What holds for studies of one sender.

    It is named by its calling AE title, as ``orthanc:NAME``, ``dicomweb:NAME`` or
    ``stow:ADDRESS``, as ``backfill`` for everything that `lumbar-node backfill` brings in, or
    ``*`` for anybody else.
    """

    ae_title: SourceName
    addresses: tuple[Network, ...] = ()
    ignore: bool = False
    priority: Literal["stat", "routine", "backfill"] | None = None
    destinations: tuple[DestinationName, ...] | None = None
    ask: Counter | None = None
    commit_to: DicomAddress | None = None
    proven_s: Annotated[float | None, Field(ge=0)] = None
    quiet_s: Seconds | None = None
    incomplete_s: Seconds | None = None
    forced_s: Seconds | None = None
    run_incomplete: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _backfill_comes_last(cls, values: Any) -> Any:
        """Back-fill waits behind everybody, and is complete when it says so, not by proof."""
        if isinstance(values, dict) and values.get("ae_title") == BACKFILL:
            return {"priority": "backfill", "proven_s": NEVER_S, **values}
        return values

    def times(self, usual: Complete) -> Complete:
        """Return the usual rules of completeness with this sender's own in their place.

        Raises
        ------
        ValueError
            When the two together do not make sense.
        """
        own = {
            name: value
            for name in Complete.model_fields
            if (value := getattr(self, name)) is not None
        }
        return Complete(**(usual.model_dump() | own))


def source_of(name: str, sources: Sequence[Source]) -> Source:
    """Return the rule for a sender: its own, else that of ``*``, else one without any wishes.

    Back-fill is asked for by a person, so what holds for anybody else is not meant for it.
    """
    rules = {source.ae_title: source for source in sources}
    if name.startswith(f"{BACKFILL}:"):
        return rules.get(BACKFILL) or Source(ae_title=BACKFILL)
    return rules.get(name) or rules.get("*") or Source(ae_title="*")
