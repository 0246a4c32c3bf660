"""Reading the configuration: a TOML file, then the environment; every mistake at once."""

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from node.config.receiving import Complete, Listen, Source
from node.config.running import Retention, Web, Work
from node.config.sending import Deliver, Destination, OrthancPeer, Report
from node.config.storing import Storage
from node.config.trust import Audit, Quarantine, Tls
from node.config.web_peers import DicomwebPeer, WebPeer, WorklistPeer
from node.errors import Misconfigured

PREFIX = "LUMBAR_"


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
    models_dir: Path = Path(__file__).resolve().parents[2] / "models" / "artifacts"
    database_url: str = ""
    storage: Storage = Storage()
    listen: Listen = Listen()
    complete: Complete = Complete()
    sources: tuple[Source, ...] = ()
    deliver: Deliver = Deliver()
    work: Work = Work()
    retention: Retention = Retention()
    web: Web = Web()
    report: Report = Report()
    tls: Tls = Tls()
    audit: Audit = Audit()
    quarantine: Quarantine = Quarantine()
    destinations: tuple[Destination, ...] = ()
    orthanc: tuple[OrthancPeer, ...] = ()
    dicomweb: tuple[DicomwebPeer, ...] = ()
    worklist: tuple[WorklistPeer, ...] = ()

    @field_validator("web")
    @classmethod
    def _ports_differ(cls, web: Web, info: ValidationInfo) -> Web:
        listen = info.data.get("listen")
        if listen and web.port == listen.port and _overlap(web.bind, listen.bind):
            raise ValueError("the same address and port as listen")
        return web

    @field_validator("sources")
    @classmethod
    def _sources_fit(cls, sources: tuple[Source, ...], info: ValidationInfo) -> tuple[Source, ...]:
        names = [source.ae_title for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} has more than one rule")
        for source in sources:
            try:
                source.times(info.data.get("complete", Complete()))
            except ValidationError as error:
                raise ValueError(
                    f"{source.ae_title!r}: {_plain(error.errors()[0]['msg'])}"
                ) from error
        return sources

    @field_validator("destinations", "orthanc", "dicomweb", "worklist")
    @classmethod
    def _names_differ(
        cls, peers: tuple[Destination | OrthancPeer | WebPeer, ...], info: ValidationInfo
    ) -> tuple[Destination | OrthancPeer | WebPeer, ...]:
        names = [peer.name for peer in (*info.data.get("destinations", ()), *peers)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name {', '.join(map(repr, twice))} is used more than once")
        return peers

    @field_validator("worklist")
    @classmethod
    def _inputs_can_be_fetched(
        cls, peers: tuple[WorklistPeer, ...], info: ValidationInfo
    ) -> tuple[WorklistPeer, ...]:
        known = {peer.name for peer in info.data.get("dicomweb", ())}
        for peer in peers:
            if peer.source is not None and peer.source not in known:
                raise ValueError(f"source {peer.source!r} is no [[dicomweb]] peer")
        if peers and not known:
            raise ValueError("images are fetched from a [[dicomweb]] peer: configure one")
        return peers

    @field_validator("dicomweb")
    @classmethod
    def _asked_are_there(
        cls, peers: tuple[DicomwebPeer, ...], info: ValidationInfo
    ) -> tuple[DicomwebPeer, ...]:
        asked = {s.ask.removeprefix("dicomweb:") for s in info.data.get("sources", ()) if s.ask}
        missing = sorted(n for n in asked - {p.name for p in peers} if "@" not in n)
        if missing:
            raise ValueError(f"sources ask {', '.join(map(repr, missing))}, which is not here")
        return peers

    @field_validator("destinations")
    @classmethod
    def _tls_is_set_up(
        cls, peers: tuple[Destination, ...], info: ValidationInfo
    ) -> tuple[Destination, ...]:
        tls = info.data.get("tls")
        secured = [peer.name for peer in peers if peer.tls]
        if secured and tls is not None and tls.ca_file is None:
            raise ValueError(f"{', '.join(secured)}: tls needs [tls] ca_file, to know the peer by")
        return peers

    @model_validator(mode="after")
    def _destinations_are_there(self) -> Self:
        known = {peer.name for peer in self.destinations}
        known |= {f"orthanc:{peer.name}" for peer in self.orthanc}
        known |= {f"dicomweb:{peer.name}" for peer in self.dicomweb}
        wanted = {name for source in self.sources for name in source.destinations or ()}
        if missing := sorted(wanted - known):
            raise ValueError(f"sources name {', '.join(map(repr, missing))}, which is not here")
        return self

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
    def database(self) -> str:
        """SQLAlchemy URL of index and jobs; SQLite in `data_dir` unless a database is set."""
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
