"""Settings of the machine itself: the worker and the web pages."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from node.config.fields import BindAddress, Port, Seconds, Section


class Work(Section):
    """The worker: how many studies and deliveries at once."""

    studies_at_once: Annotated[int, Field(ge=1, le=64)] = 1
    deliveries_at_once: Annotated[int, Field(ge=1, le=64)] = 4
    threads: Annotated[int, Field(ge=0)] = 0
    lease_s: Seconds = 5.0
    provider: Literal["auto", "cpu", "cuda"] = "auto"


class Web(Section):
    """The review pages and the HTTP interface."""

    bind: BindAddress = "127.0.0.1"
    port: Port = 8080
    url: Annotated[str, Field(pattern=r"^(https?://[^\s?#]+)?$")] = ""
    token_file: Path | None = None
    viewer_dir: Path | None = None

    @property
    def address(self) -> str:
        """Where people reach the pages, without a slash at the end."""
        return self.url.rstrip("/") or f"http://{self.bind}:{self.port}"


class Retention(Section):
    """How long images and results stay after the proof that every result is delivered."""

    images_h: Annotated[float, Field(ge=0)] = 24.0
    results_days: Annotated[float, Field(ge=0)] = 0.0
    jobs_days: Annotated[float, Field(ge=0)] = 30.0
    status_is_proof: bool = True

    @property
    def proofs(self) -> frozenset[str]:
        """What counts as a proof of delivery."""
        return frozenset({"commitment", "query"} | ({"status"} if self.status_is_proof else set()))
