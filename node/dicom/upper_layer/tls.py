"""DICOM over TLS, by the profile of BCP 195 that does not downgrade (PS3.15 B.10 and B.12).

TLS 1.2 with the cipher suites below, or TLS 1.3; nothing older, also when a peer asks for it. Keys
come from files and are never logged. Peers are known by the certificate authority in ``ca_file``.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.config import Tls
from node.errors import Misconfigured

#: Of TLS 1.2, by OpenSSL's names: forward secrecy and authenticated encryption (RFC 9325 4.2).
#: TLS 1.3 has only such suites.
CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)

_WORDS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and "
    "tls.require_client_certificate asks for one",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not signed by tls.ca_file, is out of date, or "
    "does not bear its name",
    "UNSUPPORTED_PROTOCOL": "it offers TLS 1.1 or older",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it offers TLS 1.1 or older",
    "NO_SHARED_CIPHER": "it offers none of the cipher suites of BCP 195",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know who signed tls.certificate_file",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept tls.certificate_file",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate: set tls.certificate_file",
}


class Context(ssl.SSLContext):
    """A context that remembers, in words, why its last handshake failed."""

    failure: str | None = None


class _Socket(ssl.SSLSocket):
    """Tells its context why a handshake failed; pynetdicom only logs it."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError as error:
            if isinstance(self.context, Context):
                self.context.failure = in_words(error)
            raise


def server_context(settings: Tls) -> Context:
    """Return what the listener's connections are wrapped in.

    Raises
    ------
    Misconfigured
        When a file is missing, unreadable or no certificate or key.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings)
    context.verify_mode = ssl.CERT_NONE
    if settings.require_client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: Tls) -> Context:
    """Return what connections to destinations are wrapped in; the peer's name is checked too.

    Raises
    ------
    Misconfigured
        As `server_context`.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, settings)


def in_words(error: OSError) -> str:
    """Say why a handshake failed, in a way that tells an administrator what to change."""
    if isinstance(error, TimeoutError):
        return "it did not finish the TLS handshake in time"
    reason = getattr(error, "reason", None) or ""
    return _WORDS.get(reason, f"the TLS handshake failed ({reason or type(error).__name__})")


def try_out(settings: Tls) -> datetime:
    """Let the node's certificate prove itself in a handshake within memory.

    Returns
    -------
    datetime
        When the certificate ends (UTC).

    Raises
    ------
    Misconfigured
        When it is out of date, or as `server_context`.
    """
    server = server_context(settings.model_copy(update={"require_client_certificate": False}))
    client = _context(ssl.PROTOCOL_TLS_CLIENT, Tls(ca_file=settings.certificate_file))
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it vouches for itself here
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for side in (theirs, ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            raise Misconfigured(
                f"tls.certificate_file {settings.certificate_file} does not hold: {error.reason}, "
                f"{getattr(error, 'verify_message', '')}"
            ) from error
    ends: Any = (theirs.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)


def _context(protocol: int, settings: Tls) -> Context:
    context = Context(protocol)
    context.sslsocket_class = _Socket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_RENEGOTIATION
    if settings.certificate_file and settings.key_file:
        _load_own(context, settings.certificate_file, settings.key_file)
    if settings.ca_file:
        _load_authority(context, settings.ca_file)
    return context


def _load_own(context: Context, certificate: Path, key: Path) -> None:
    def no_passphrase() -> str:
        raise Misconfigured(f"tls.key_file {key} has a passphrase: remove it, and guard the file")

    _require_readable("certificate_file", certificate)
    _require_readable("key_file", key)
    try:
        context.load_cert_chain(certificate, key, password=no_passphrase)
    except ssl.SSLError as error:
        raise Misconfigured(
            f"tls: certificate_file {certificate} and key_file {key} are not in PEM form, or do "
            f"not belong together ({error.reason})"
        ) from error


def _load_authority(context: Context, authority: Path) -> None:
    _require_readable("ca_file", authority)
    try:
        context.load_verify_locations(cafile=authority)
    except ssl.SSLError as error:
        raise Misconfigured(f"tls.ca_file {authority} holds no certificate in PEM form") from error


def _require_readable(setting: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise Misconfigured(f"tls: cannot read {setting} {path}: {error.strerror}") from error
