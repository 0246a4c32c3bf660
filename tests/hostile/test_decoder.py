"""A decoder that crashes, hangs or swells costs one image, and is given nothing worth stealing."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import JPEG2000Lossless

from node import analysis
from node.dicom.reading import decoder as decoding
from node.dicom.reading.confined import MEMORY
from node.dicom.reading.decoder import Decoder
from node.errors import InvalidInstance
from tests.builders import mr_image, mr_study, part10
from tests.hostile.killers import SHAPE, killers


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    """A decoder that has not been used yet."""
    with Decoder() as running:
        yield running


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A JPEG lossless image."""
    return _jpeg(tmp_path / "good.dcm")


def _jpeg(path: Path, contents: bytes | None = None) -> Path:
    """Write an image and compress it with DCMTK."""
    plain = path.with_suffix(".plain")
    plain.write_bytes(contents or part10(mr_image()))
    subprocess.run(["/usr/bin/dcmcjpeg", "+e1", plain, path], check=True)
    plain.unlink()
    return path


def _pid(decoder: Decoder) -> int:
    assert decoder._process is not None
    return decoder._process.pid


def test_a_stream_that_kills_the_decoder_costs_one_image(good: Path, decoder: Decoder) -> None:
    """Gdcm ends its process (SIGABRT or SIGSEGV) on some streams; the next image is decoded."""
    found = list(killers(good, decoder, 2))
    assert len(found) == 2
    with pytest.raises(InvalidInstance, match=r"died of it \(SIG(ABRT|SEGV)\)"):
        decoder.frames(found[0], [0], SHAPE)
    (frame,) = decoder.frames(good, [0], SHAPE)
    assert frame.tobytes() == mr_image().PixelData


def test_a_study_keeps_the_other_images(tmp_path: Path, decoder: Decoder) -> None:
    """One slice that kills the decoder is left out by name, the rest of the study is read."""
    paths = [
        _jpeg(tmp_path / f"{number}.dcm", part10(image))
        for number, image in enumerate(mr_study(slices=6))
    ]
    paths[7] = next(killers(paths[7], decoder, 1))
    (taken,) = analysis.read(paths)
    volumes, left_out = analysis.load(taken, analysis.choose(taken))
    assert sorted(len(v.slices) for v in volumes.values()) == [5, 6, 6]
    (reason,) = left_out.values()
    assert reason.startswith(f"{paths[7].name}: the pixels (JPEG Lossless")
    assert "decoder's process died" in reason


def test_a_decoder_that_hangs_is_ended(
    good: Path, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that neither answers nor ends is killed after its time, and the next image is decoded."""
    decoder.frames(good, [0], SHAPE)
    os.kill(_pid(decoder), signal.SIGSTOP)
    monkeypatch.setattr(decoding, "WALL_S", 0.5)
    with pytest.raises(InvalidInstance, match=r"more than 0\.5 s"):
        decoder.frames(good, [0], SHAPE)
    monkeypatch.undo()
    assert len(decoder.frames(good, [0], SHAPE)) == 1


def test_a_decoder_killed_from_outside_is_replaced(good: Path, decoder: Decoder) -> None:
    """The kernel may choose it when memory runs out: that costs one image too."""
    decoder.frames(good, [0], SHAPE)
    os.kill(_pid(decoder), signal.SIGKILL)
    with pytest.raises(InvalidInstance, match="SIGKILL"):
        decoder.frames(good, [0], SHAPE)
    assert len(decoder.frames(good, [0], SHAPE)) == 1


def test_a_stream_that_claims_an_enormous_image_is_refused(
    tmp_path: Path, decoder: Decoder
) -> None:
    """JPEG 2000 headers that promise 65,535 x 65,535 pixels do not take the memory for them."""
    image = mr_image()
    image.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    raw = bytearray(part10(image))
    size = raw.index(b"\xff\x4f\xff\x51") + 8  # Xsiz and Ysiz, then the tile's
    for at in (size, size + 16):
        raw[at : at + 8] = b"\x00\x00\xff\xff\x00\x00\xff\xff"
    path = tmp_path / "bomb.dcm"
    path.write_bytes(bytes(raw))
    with pytest.raises(InvalidInstance):
        decoder.frames(path, [0], SHAPE)


def test_the_process_is_confined(
    good: Path, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has 2 GiB, may write no file, knows no secret, and has no network where that can be."""
    monkeypatch.setenv("LUMBAR_SECRET", "swordfish")
    decoder.frames(good, [0], SHAPE)
    process = Path(f"/proc/{_pid(decoder)}")
    limits = {
        line[:26].strip(): line[26:].split()[0]
        for line in (process / "limits").read_text().splitlines()[1:]
    }
    assert limits["Max address space"] == str(MEMORY)
    assert limits["Max file size"] == "0"
    assert int(limits["Max cpu time"]) < 120
    assert b"swordfish" not in (process / "environ").read_bytes()
    may_unshare = subprocess.run(["/usr/bin/unshare", "--net", "true"], check=False).returncode == 0
    own_network = (process / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    assert own_network or not may_unshare


def test_a_decoder_does_not_outlive_its_study(good: Path) -> None:
    """When the study is read, the process is gone."""
    with Decoder() as running:
        running.frames(good, [0], SHAPE)
        pid = _pid(running)
    assert not Path(f"/proc/{pid}").exists()
