"""Refused at the door and set aside behind it, over real sockets."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from node.config import Source
from tests.builders import mr_image, uid
from tests.integration.test_listener import associate, has_a_place, send
from tests.node_process import cli
from tests.receiving import listening
from tests.waiting import wait_for


def test_an_address_that_is_not_listed_is_rejected_and_told_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sender gets a permanent rejection, the log the setting that would let it in."""
    elsewhere = [Source(ae_title="SCANNER", addresses=("192.0.2.0/24",))]
    with listening(tmp_path, elsewhere) as node:
        association = associate(node.port)
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    assert "[[sources]]" in capsys.readouterr().out


def test_a_listed_address_is_served(tmp_path: Path) -> None:
    """Title and address fit: images are taken."""
    here = [Source(ae_title="SCANNER", addresses=("127.0.0.0/8",))]
    with listening(tmp_path, here) as node:
        assert send(node.port, mr_image()) == [0]


def test_an_address_has_its_own_limit(tmp_path: Path) -> None:
    """One association too many of one address is rejected for now, until another has ended."""
    with listening(tmp_path, max_per_address=1) as node:
        first, second = associate(node.port), associate(node.port)
        assert first.is_established
        assert second.is_rejected
        assert second.acceptor.primitive.result == 2
        first.release()
        wait_for(lambda: has_a_place(node.port), what="a free place")


def test_hammering_is_rejected(tmp_path: Path) -> None:
    """More new associations in a minute than allowed are told to come back later."""
    with listening(tmp_path, max_per_minute=2) as node:
        assert [has_a_place(node.port) for _ in range(3)] == [True, True, False]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_refused_is_in_quarantine_and_nowhere_else(tmp_path: Path) -> None:
    """A broken image and a conflicting one are listed with reason, names and hash."""
    broken, conflicting = mr_image(number=2, Rows=65), mr_image(EchoTime=1.0)
    with listening(tmp_path) as node:
        assert send(node.port, mr_image(), broken, conflicting) == [0, 0xC000, 0]
        second, first = node.quarantine.entries()
        assert first.source == second.source == "SCANNER"
        assert first.study_uid == second.study_uid == uid("study", "1")
        assert (first.sop_instance_uid, second.sop_instance_uid) == (
            broken.SOPInstanceUID,
            conflicting.SOPInstanceUID,
        )
        assert first.sha256 not in {file.sha256 for file in node.archive.iterate()}
        kept = node.quarantine.path(first.sha256).read_bytes()
        assert hashlib.sha256(kept).hexdigest() == first.sha256
        assert kept.endswith(broken.PixelData)
        assert "first is used" in second.reason


def test_the_command_lists_exports_and_drops(tmp_path: Path) -> None:
    """What an administrator does with it."""
    config = tmp_path / "node.toml"
    config.write_text(f"data_dir = {json.dumps(str(tmp_path))}\n")

    def quarantine(*arguments: object) -> "subprocess.CompletedProcess[str]":
        return cli("quarantine", "--config", config, *map(str, arguments))

    with listening(tmp_path) as node:
        send(node.port, mr_image(Rows=65))
    (entry,) = json.loads(quarantine("--json").stdout)
    assert "PixelData" in entry["reason"]
    assert "SCANNER" in quarantine().stdout
    out = tmp_path / "out.dcm"
    assert quarantine("--export", entry["sha256"], "--to", out).returncode == 0
    assert hashlib.sha256(out.read_bytes()).hexdigest() == entry["sha256"]
    assert quarantine("--drop", entry["sha256"]).returncode == 0
    assert json.loads(quarantine("--json").stdout) == []
    assert quarantine("--drop", entry["sha256"]).returncode == 2
