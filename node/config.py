"""One frozen configuration: defaults, then a TOML file, then the environment.

Environment variables are ``LUMBAR_`` plus the path with ``__`` between its parts, for example
``LUMBAR_LISTEN__PORT=11112``. Every mistake is reported at once, before anything starts.
The commented manual of all settings is ``deploy/node.toml``.
"""

import difflib
import ipaddress
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from node.errors import Misconfigured


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


PREFIX = "LUMBAR_"

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

    @model_validator(mode="after")
    def _times_grow(self) -> Self:
        if not self.quiet_s <= self.incomplete_s <= self.forced_s:
            raise ValueError("quiet_s <= incomplete_s <= forced_s does not hold")
        return self


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

    @model_validator(mode="after")
    def _delays_grow(self) -> Self:
        if self.first_retry_s > self.last_retry_s:
            raise ValueError("first_retry_s is larger than last_retry_s")
        return self


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
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        validate_default=True,  # a setting may clash with the default of another
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

    @field_validator("web")
    @classmethod
    def _ports_differ(cls, web: Web, info: ValidationInfo) -> Web:
        listen = info.data.get("listen")
        if listen and web.port == listen.port and _overlap(web.bind, listen.bind):
            raise ValueError("the same address and port as listen")
        return web

    @field_validator("destinations", "orthanc")
    @classmethod
    def _names_differ(
        cls, peers: tuple[Destination | OrthancPeer, ...], info: ValidationInfo
    ) -> tuple[Destination | OrthancPeer, ...]:
        names = [peer.name for peer in (*info.data.get("destinations", ()), *peers)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name {', '.join(map(repr, twice))} is used more than once")
        return peers

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
    mistakes = [f"  {line}" for line in _misspelt_variables()]
    try:
        config = Config(**raw)
    except ValidationError as error:
        mistakes += [f"  {_where(e['loc'])}: {_plain(e['msg'])}" for e in error.errors()]
        raise Misconfigured(_message(path, mistakes)) from error
    except SettingsError as error:
        found = _variables_that_are_no_json() or [str(error)]
        mistakes += [f"  {line}" for line in found]
        raise Misconfigured(_message(path, mistakes)) from error
    if mistakes:
        raise Misconfigured(_message(path, mistakes))
    return config


def _overlap(one: str, other: str) -> bool:
    """Tell whether two bind addresses can claim the same port."""
    wild, local = {"0.0.0.0", "::"}, {"localhost", "127.0.0.1", "::1"}  # noqa: S104 - compared
    return one == other or {one, other} <= local or bool({one, other} & wild)


def _misspelt_variables() -> list[str]:
    """Find variables that nearly name a setting; Kubernetes sets others of our prefix."""
    found = []
    for variable in sorted(os.environ):
        name = variable.removeprefix(PREFIX).split("__")[0].lower()
        if not variable.startswith(PREFIX) or name in Config.model_fields:
            continue
        meant = difflib.get_close_matches(name, Config.model_fields, n=1, cutoff=0.85)
        if meant:
            found.append(f"{variable}: not a setting; {PREFIX}{meant[0].upper()} is")
    return found


def _variables_that_are_no_json() -> list[str]:
    """Find the variables of sections and lists whose value is not JSON."""
    found = []
    for name, setting in Config.model_fields.items():
        text = os.environ.get(f"{PREFIX}{name.upper()}")
        if text is None or setting.annotation in (str, Path):
            continue
        try:
            json.loads(text)
        except ValueError as error:
            found.append(f"{PREFIX}{name.upper()}: not valid JSON: {error}")
    return found


def _message(path: Path | None, mistakes: list[str]) -> str:
    source = str(path) if path else "the environment"
    count = f"{len(mistakes)} mistake{'s' * (len(mistakes) != 1)}"
    return "\n".join([f"{count} in the configuration ({source}):", *mistakes])


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
