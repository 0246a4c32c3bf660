"""A model is opened only when it is the one its card describes."""

import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.errors import ModelMismatch
from node.inference.canonical import PREPARATION
from node.inference.runtime import MODEL_NAMES, ModelStore, verify


def model_folder(
    tmp_path: Path, called: str = "severity_canal", weights: str = "weights", **changes: str
) -> Path:
    """A folder with some bytes and a card that fits them."""
    folder = tmp_path / called
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(weights.encode())
    facts = {
        "name": folder.name,
        "version": "1.2.3",
        "sha256": hashlib.sha256(weights.encode()).hexdigest(),
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


class Session:
    """What stands for an accelerator, which machines that run the tests have not."""

    provider, inside, most = "CUDAExecutionProvider", 0, 0

    def __init__(self, *_: object, **__: object) -> None: ...

    def get_providers(self) -> list[str]:
        return [self.provider]

    def run(self, *_: object) -> list[list[float]]:
        Session.inside += 1
        Session.most = max(Session.most, Session.inside)
        time.sleep(0.02)
        Session.inside -= 1
        return [[1.0]]


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    monkeypatch.setattr(Session, "most", 0)
    return Session


def models_in(tmp_path: Path, name: str = "", **changes: str) -> Path:
    """Folders of all models, one of them different."""
    for one in MODEL_NAMES:
        model_folder(tmp_path, one, **(changes if one == name else {}))
    return tmp_path


def test_an_accelerator_runs_for_one_study_at_a_time(
    tmp_path: Path, sessions: type[Session]
) -> None:
    """Studies that overlap take turns: the memory of a GPU is for one."""
    store = ModelStore(models_in(tmp_path))

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda name: store.run(name, {}), MODEL_NAMES))

    assert [output.tolist() for output in outputs] == [[1.0]] * len(MODEL_NAMES)
    assert sessions.most == 1


def test_cores_are_shared(
    tmp_path: Path, sessions: type[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an accelerator nobody waits: two runs meet."""
    meeting = threading.Barrier(2, timeout=20)
    monkeypatch.setattr(sessions, "provider", "CPUExecutionProvider")
    monkeypatch.setattr(sessions, "run", lambda *_: [[float(meeting.wait() < 2)]])
    store = ModelStore(models_in(tmp_path))

    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(lambda name: store.run(name, {}), MODEL_NAMES[:2]))

    assert [output.tolist() for output in outputs] == [[1.0]] * 2


@pytest.mark.parametrize("name", [MODEL_NAMES[0], MODEL_NAMES[-1]])
@pytest.mark.parametrize("changes", [{"weights": "others"}, {"version": "1.2.4"}])
def test_the_digest_tells_models_apart(
    tmp_path: Path, sessions: type[Session], name: str, changes: dict[str, str]
) -> None:
    """Another file or another version of any model is another digest; the same is the same."""
    folders = [tmp_path / word for word in ("these", "same", "others")]
    these = ModelStore(models_in(folders[0])).digest
    same = ModelStore(models_in(folders[1])).digest
    others = ModelStore(models_in(folders[2], name, **changes)).digest

    assert these == same != others
    assert re.fullmatch("[0-9a-f]{12}", these)
