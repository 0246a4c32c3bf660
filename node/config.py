"""One frozen configuration: defaults, then a TOML file, then the environment.

Environment variables are ``LUMBAR_`` plus the path with ``__`` between its parts, for example
``LUMBAR_LISTEN__PORT=11112``. Every mistake is reported at once, before anything starts.
The commented manual of all settings is ``deploy/node.toml``.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from node.errors import Misconfigured


def _ae_title(text: str) -> str:
    # PS3.5 6.2, VR AE: up to 16 characters of the default repertoire, no backslash or control.
    if not text.strip() or len(text) > 16 or "\\" in text or not text.isascii():
        raise ValueError("an AE title has 1 to 16 ASCII characters and no backslash")
    return text.strip()


def _address(text: str) -> str:
    if text != "localhost":
        ipaddress.ip_address(text)
    return text


AETitle = Annotated[str, AfterValidator(_ae_title)]
BindAddress = Annotated[str, AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(_Section):
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


class Complete(_Section):
    """When a study counts as complete (seconds since its last image)."""

    quiet_s: Seconds = 60.0
    incomplete_s: Seconds = 900.0
    forced_s: Seconds = 5400.0
    run_incomplete: bool = True


class Destination(_Section):
    """A DICOM peer that gets results."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
    host: str
    port: Port
    ae_title: AETitle
    timeout_s: Seconds = 30.0


class OrthancPeer(_Section):
    """An Orthanc whose plugin tells this node about stable studies; results go back by REST."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
    url: Annotated[str, Field(pattern=r"^https?://")]
    user: str = ""
    password_file: Path | None = None


class Deliver(_Section):
    """Retries of one delivery: delay doubles from first to last, until it is too old."""

    first_retry_s: Seconds = 5.0
    last_retry_s: Seconds = 3600.0
    give_up_after_s: Seconds = 7 * 24 * 3600.0


class Work(_Section):
    """The worker: how many studies and deliveries at once."""

    studies_at_once: Annotated[int, Field(ge=1, le=64)] = 1
    deliveries_at_once: Annotated[int, Field(ge=1, le=64)] = 4
    threads: Annotated[int, Field(ge=0)] = 0
    provider: Literal["auto", "cpu", "cuda"] = "auto"


class Web(_Section):
    """The review pages and the HTTP interface."""

    bind: BindAddress = "127.0.0.1"
    port: Port = 8080
    token_file: Path | None = None


class Report(_Section):
    """What the result objects look like."""

    sop_class: Literal["comprehensive3d", "comprehensive"] = "comprehensive3d"
    region_copy_under_num: bool = True
    groups: Literal["all", "abnormal"] = "all"
    overlays: bool = True
    capture_modality: Literal["OT", "MR"] = "OT"
    series_number: Annotated[int, Field(ge=1, le=99000)] = 9901
    institution: Annotated[str, Field(max_length=64)] = ""


class Config(BaseSettings):
    """Everything a site can set."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="LUMBAR_", env_nested_delimiter="__"
    )

    data_dir: Path = Path("var")
    models_dir: Path = Path(__file__).resolve().parent.parent / "models" / "artifacts"
    database_url: str = ""
    listen: Listen = Listen()
    complete: Complete = Complete()
    deliver: Deliver = Deliver()
    work: Work = Work()
    web: Web = Web()
    report: Report = Report()
    destinations: tuple[Destination, ...] = ()
    orthanc: tuple[OrthancPeer, ...] = ()

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic's hook
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @property
    def jobs_url(self) -> str:
        """SQLAlchemy URL of the job engine's database; SQLite in `data_dir` unless set."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve()}/jobs.sqlite"

    @property
    def index_url(self) -> str:
        """SQLAlchemy URL of the index; SQLite in `data_dir` unless a database is set."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve()}/index.sqlite"


def load(path: Path | None = None) -> Config:
    """Read the configuration from a TOML file (or none) and the environment.

    Raises
    ------
    Misconfigured
        With every mistake in one message, a line each.
    """
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{path} is not valid TOML: {error}") from error
    try:
        config = Config(**raw)
    except ValidationError as error:
        mistakes = [f"  {_where(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise Misconfigured(_message(path, mistakes)) from error
    mistakes = _contradictions(config)
    if mistakes:
        raise Misconfigured(_message(path, mistakes))
    return config


def _contradictions(config: Config) -> list[str]:
    """Settings that are each legal but cannot stand together."""
    names = [d.name for d in config.destinations] + [o.name for o in config.orthanc]
    found = [
        f"  destinations, orthanc: the name {name!r} is used more than once"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    times = config.complete
    if not times.quiet_s <= times.incomplete_s <= times.forced_s:
        found.append("  complete: quiet_s <= incomplete_s <= forced_s does not hold")
    if config.deliver.first_retry_s > config.deliver.last_retry_s:
        found.append("  deliver: first_retry_s is larger than last_retry_s")
    if (config.web.bind, config.web.port) == (config.listen.bind, config.listen.port):
        found.append("  web, listen: the same address and port")
    return found


def _message(path: Path | None, mistakes: list[str]) -> str:
    source = str(path) if path else "the environment"
    return "\n".join([f"{len(mistakes)} mistake(s) in the configuration ({source}):", *mistakes])


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
