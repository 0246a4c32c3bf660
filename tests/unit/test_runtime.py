"""A model is opened only when it is the one its card describes."""

import hashlib
from pathlib import Path

import pytest

from node.errors import ModelMismatch
from node.inference.canonical import PREPARATION
from node.inference.runtime import MODEL_NAMES, ModelStore, verify


def model_folder(tmp_path: Path, **changes: str) -> Path:
    """A folder with some bytes and a card that fits them."""
    folder = tmp_path / "severity_canal"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    facts = {
        "name": folder.name,
        "version": "1.2.3",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "preparation": PREPARATION,
        **changes,
    }
    (folder / "card.toml").write_text("".join(f'{k} = "{v}"\n' for k, v in facts.items()))
    return folder


def test_fitting_card_gives_version_and_hash(tmp_path: Path) -> None:
    """What the report quotes is what was checked."""
    version, sha256 = verify(model_folder(tmp_path))
    assert (version, sha256) == ("1.2.3", hashlib.sha256(b"weights").hexdigest())


def test_altered_model_is_refused_by_name(tmp_path: Path) -> None:
    """One changed byte: the message names the file and says what to do."""
    folder = model_folder(tmp_path)
    (folder / "model.onnx").write_bytes(b"weightz")
    with pytest.raises(ModelMismatch, match=r"severity_canal/model\.onnx has SHA-256.*restore it"):
        verify(folder)


@pytest.mark.parametrize("file", ["model.onnx", "card.toml"])
def test_missing_file_is_named(tmp_path: Path, file: str) -> None:
    """A missing file is named with its path."""
    folder = model_folder(tmp_path)
    (folder / file).unlink()
    with pytest.raises(ModelMismatch, match=f"cannot read .*{file}"):
        verify(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "severity_foraminal"}, "is the card of 'severity_foraminal'"),
        ({"preparation": "0"}, "trained with image preparation 0"),
    ],
)
def test_card_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    """A swapped folder and a model of another release are told apart."""
    with pytest.raises(ModelMismatch, match=message):
        verify(model_folder(tmp_path, **changes))


def test_broken_card_is_refused(tmp_path: Path) -> None:
    """A card that is not TOML, or lacks a key."""
    folder = model_folder(tmp_path)
    (folder / "card.toml").write_text("name = \n")
    with pytest.raises(ModelMismatch, match="not valid TOML"):
        verify(folder)
    (folder / "card.toml").write_text('name = "severity_canal"\n')
    with pytest.raises(ModelMismatch, match="lacks version, sha256, preparation"):
        verify(folder)


def test_empty_folder_is_a_mismatch_not_a_crash(tmp_path: Path) -> None:
    """A node without models says which file it misses first."""
    with pytest.raises(ModelMismatch, match=f"{MODEL_NAMES[0]}"):
        ModelStore(tmp_path, "cpu")
