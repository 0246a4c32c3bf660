"""What a stranger could reach or read: addresses, certificates and files with secrets."""

import ipaddress
import socket
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from node.config import Config, Listen, Source
from node.dicom.upper_layer import tls
from node.errors import LumbarError

_SOON = timedelta(days=30)


class Finding(NamedTuple):
    """What was found; a warning lets the node run."""

    is_ok: bool
    what: str
    found: str
    is_warning: bool = False


def look(config: Config) -> Iterator[Finding]:
    """Look at everything that decides who may enter and who may read."""
    yield _dicom(config)
    yield _web(config)
    if config.tls.certificate_file:
        yield _tried("TLS certificate", partial(_certificate, config))
    for name, path in _secrets(config):
        yield _readable_by_others(name, path)
    if config.audit.syslog_host:
        yield _tried("syslog collector", partial(_collector, config))


def _dicom(config: Config) -> Finding:
    what, listen = "who may send", config.listen
    guards = [
        *(["TLS with certificates"] if _knows_certificates(config) else []),
        *(["TLS"] if config.tls.listen and not _knows_certificates(config) else []),
        *_lists(listen, config.sources),
    ]
    if _is_loopback(listen.bind):
        return Finding(True, what, "this machine only (listen.bind)")
    if not guards:
        return Finding(
            True,
            what,
            f"anybody who reaches {listen.bind}:{listen.port}, unencrypted: set tls.listen, or "
            "list the senders in listen.calling_ae and their addresses in [[sources]]",
            is_warning=True,
        )
    if not config.tls.listen:
        found = f"{', '.join(guards)}; unencrypted: for a network that is trusted (tls.listen)"
        return Finding(True, what, found, is_warning=True)
    return Finding(True, what, ", ".join(guards))


def _knows_certificates(config: Config) -> bool:
    return config.tls.listen and config.tls.require_client_certificate


def _lists(listen: Listen, sources: tuple[Source, ...]) -> list[str]:
    addresses = [source.ae_title for source in sources if source.addresses]
    return [
        *(["listed AE titles"] if listen.calling_ae else []),
        *(["addresses of " + ", ".join(addresses)] if addresses else []),
    ]


def _web(config: Config) -> Finding:
    what, web = "who may see the pages", config.web
    if _is_loopback(web.bind):
        return Finding(True, what, "this machine only (web.bind)")
    if web.token_file is None:
        found = f"anybody who reaches {web.bind}:{web.port}: set web.token_file"
        return Finding(True, what, found, is_warning=True)
    return Finding(True, what, "who has the token; put a proxy with HTTPS in front of it")


def _certificate(config: Config) -> Finding:
    ends = tls.try_out(config.tls)
    is_soon = ends - datetime.now(UTC) < _SOON
    found = f"valid until {ends:%Y-%m-%d}" + (": renew it" if is_soon else "")
    return Finding(True, "TLS certificate", found, is_warning=is_soon)


def _collector(config: Config) -> Finding:
    audit = config.audit
    known_by = {"ca_file": audit.syslog_ca_file}
    context = tls.client_context(config.tls.model_copy(update=known_by))
    address = (audit.syslog_host, audit.syslog_port)
    try:
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=audit.syslog_host),
        ):
            return Finding(True, "syslog collector", "answers over TLS")
    except OSError as error:
        reason = context.failure or error.strerror or str(error)
        raise OSError(f"{address[0]}:{address[1]}: {reason}") from error


def _secrets(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield each file that only the node should read, by its setting."""
    yield from _given("tls.key_file", config.tls.key_file)
    yield from _given("web.token_file", config.web.token_file)
    yield from _given("storage.credentials_file", config.storage.credentials_file)
    for orthanc in config.orthanc:
        yield from _given(f"{orthanc.name}: password_file", orthanc.password_file)
    for archive in (*config.dicomweb, *config.worklist):
        for setting in ("token_file", "password_file", "key_file"):
            yield from _given(f"{archive.name}: {setting}", getattr(archive, setting))


def _given(name: str, path: Path | None) -> Iterator[tuple[str, Path]]:
    if path is not None:
        yield name, path


def _readable_by_others(name: str, path: Path) -> Finding:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Finding(False, name, f"cannot read {path}: {error.strerror}")
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        found = f"every user of this machine can read it: chmod 600 {path}"
        return Finding(True, name, found, is_warning=True)
    return Finding(True, name, f"{path} is closed to other users")


def _tried(what: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (LumbarError, OSError) as error:
        return Finding(False, what, str(error))


def _is_loopback(bind: str) -> bool:
    return bind == "localhost" or ipaddress.ip_address(bind).is_loopback
