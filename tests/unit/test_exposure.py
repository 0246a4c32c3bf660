"""What the doctor says about who may enter and who may read."""

from pathlib import Path
from typing import Any

import pytest

from node.config import Config, Listen, Source, Tls, Web
from node.loopback import free_port
from node.trust import exposure
from tests.certificates import Authority


def found(config: Config) -> dict[str, exposure.Finding]:
    return {finding.what: finding for finding in exposure.look(config)}


@pytest.mark.parametrize(
    ("listen", "sources", "says", "is_warning"),
    [
        ({}, (), "this machine only", False),
        ({"bind": "::1"}, (), "this machine only", False),
        ({"bind": "0.0.0.0"}, (), "anybody who reaches 0.0.0.0", True),  # noqa: S104
        ({"bind": "10.0.0.1", "calling_ae": ("MR1",)}, (), "listed AE titles", True),
        (
            {"bind": "10.0.0.1"},
            (Source(ae_title="MR1", addresses=("10.0.0.0/8",)),),
            "addresses of MR1",
            True,
        ),
    ],
)
def test_who_may_send(
    listen: dict[str, Any], sources: tuple[Source, ...], says: str, *, is_warning: bool
) -> None:
    """Open to the network without TLS or lists is a warning that names the settings."""
    told = found(Config(listen=Listen(**listen), sources=sources))["who may send"]
    assert told.is_ok
    assert says in told.found
    assert told.is_warning == is_warning


def test_tls_makes_the_warning_go_and_its_certificate_is_tried(tmp_path: Path) -> None:
    """A certificate that ends soon is a warning, one that is over or not ours a fault."""
    authority = Authority(tmp_path / "ca")
    own = authority.issue("node", days=400)
    files: dict[str, Any] = {
        "certificate_file": own.certificate,
        "key_file": own.key,
        "ca_file": authority.file,
    }
    listen = Listen(bind="10.0.0.1")
    told = found(Config(listen=listen, tls=Tls(listen=True, **files)))
    assert not told["who may send"].is_warning
    assert told["TLS certificate"].is_ok
    assert not told["TLS certificate"].is_warning
    assert not told["tls.key_file"].is_warning

    own.key.chmod(0o644)
    soon = authority.issue("soon", days=5)
    files |= {"certificate_file": soon.certificate}
    told = found(Config(listen=listen, tls=Tls(listen=True, **files)))
    assert not told["TLS certificate"].is_ok
    assert told["tls.key_file"].is_warning
    assert "chmod 600" in told["tls.key_file"].found

    files |= {"key_file": soon.key}
    told = found(Config(listen=listen, tls=Tls(listen=True, **files)))
    assert told["TLS certificate"].is_warning
    assert "renew" in told["TLS certificate"].found

    over = authority.issue("over", days=-1)
    files |= {"certificate_file": over.certificate, "key_file": over.key}
    told = found(Config(listen=listen, tls=Tls(listen=True, **files)))
    assert not told["TLS certificate"].is_ok
    assert "expired" in told["TLS certificate"].found


def test_pages_and_secrets(tmp_path: Path) -> None:
    """Pages open to the network want a token, and the token's file wants to be closed."""
    told = found(Config(web=Web(bind="10.0.0.1")))
    assert told["who may see the pages"].is_warning
    token = tmp_path / "token"
    config = Config(web=Web(bind="10.0.0.1", token_file=token))
    assert not found(config)["web.token_file"].is_ok
    token.write_text("abracadabra")
    token.chmod(0o640)
    told = found(config)
    assert told["web.token_file"].is_ok
    assert not told["who may see the pages"].is_warning
    assert "abracadabra" not in str(told)


def test_a_collector_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    """The audit trail would stay here."""
    authority = Authority(tmp_path / "ca")
    audit = {
        "syslog_host": "127.0.0.1",
        "syslog_port": free_port(),
        "syslog_ca_file": authority.file,
    }
    told = found(Config(audit=audit))["syslog collector"]  # type: ignore[arg-type]
    assert not told.is_ok
    assert "127.0.0.1" in told.found
