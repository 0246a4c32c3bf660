"""The only file that knows ONNX Runtime: open each model once, after checking that it is itself."""

import hashlib
import threading
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
import structlog
from numpy.typing import NDArray

from node.errors import ModelMismatch
from node.inference.canonical import PREPARATION
from node.spine.anatomy import ConditionGroup
from node.spine.findings import ModelUse

log = structlog.get_logger()

Array = NDArray[np.float32]

STAGES = ("instance", "coordinate", "severity")
MODEL_NAMES = tuple(f"{stage}_{group.short}" for stage in STAGES for group in ConditionGroup)

#: What a person does about any of the mismatches below.
_REMEDY = "restore it from the release, or run `python -m models export` after training"


class Models(Protocol):
    """What the stages need of a `ModelStore`."""

    def run(self, name: str, inputs: Mapping[str, Array]) -> Array:
        """Run one model on named inputs and return its only output."""


@dataclass(frozen=True)
class _Model:
    use: ModelUse
    session: Any  # onnxruntime.InferenceSession


class ModelStore:
    """All nine models of the pipeline, verified and open.

    Parameters
    ----------
    models_dir : Path
        Holds ``<name>/model.onnx`` and ``<name>/card.toml`` for every name in `MODEL_NAMES`.
    provider : {"auto", "cpu", "cuda"}
        ``auto`` takes CUDA where ONNX Runtime offers it; ``cuda`` insists on it.
    threads : int
        Threads for one operator; 0 leaves the choice to ONNX Runtime.

    Raises
    ------
    ModelMismatch
        A file is missing, its SHA-256 is not the card's, it was trained with another
        preparation of the images, or ``cuda`` was demanded and is not to be had.
    """

    def __init__(self, models_dir: Path, provider: str = "auto", threads: int = 0) -> None:
        self._models = {
            name: _open(models_dir / name, provider=provider, threads=threads)
            for name in MODEL_NAMES
        }
        self._turn = _turn(model.use.provider for model in self._models.values())
        log.info("models open", count=len(self._models), provider=self.uses()[0].provider)

    def run(self, name: str, inputs: Mapping[str, Array]) -> Array:
        """Run one model on named inputs and return its only output; on a GPU, one at a time."""
        session = self._models[name].session
        with self._turn:
            (output,) = session.run(None, dict(inputs))
        return np.asarray(output, dtype=np.float32)

    def uses(self) -> tuple[ModelUse, ...]:
        """Name, version, hash and actual provider of every model, in the order of the stages."""
        return tuple(model.use for model in self._models.values())

    @property
    def digest(self) -> str:
        """What tells these models from others: 12 digits over names, versions and hashes."""
        told = "".join(f"{use.name} {use.version} {use.sha256}\n" for use in self.uses())
        return hashlib.sha256(told.encode()).hexdigest()[:12]


def verify(folder: Path) -> tuple[str, str]:
    """Check one model folder and return its ``(version, sha256)``.

    Raises
    ------
    ModelMismatch
        Names the file and says what to do.
    """
    model, card = folder / "model.onnx", folder / "card.toml"
    try:
        facts = tomllib.loads(card.read_text("utf-8"))
        found = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelMismatch(f"cannot read {error.filename}: {_REMEDY}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelMismatch(f"{card} is not valid TOML ({error}): {_REMEDY}") from error
    missing = [key for key in ("name", "version", "sha256", "preparation") if key not in facts]
    if missing:
        raise ModelMismatch(f"{card} lacks {', '.join(missing)}: {_REMEDY}")
    if facts["name"] != folder.name:
        raise ModelMismatch(f"{card} is the card of {facts['name']!r}: {_REMEDY}")
    if facts["sha256"] != found:
        raise ModelMismatch(
            f"{model} has SHA-256 {found[:12]}…, its card says {facts['sha256'][:12]}…: {_REMEDY}"
        )
    if facts["preparation"] != PREPARATION:
        raise ModelMismatch(
            f"{model} was trained with image preparation {facts['preparation']}, "
            f"this node prepares by {PREPARATION}: install the node and the models of one release"
        )
    return str(facts["version"]), found


def _open(folder: Path, *, provider: str, threads: int) -> _Model:
    version, sha256 = verify(folder)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Several processes share the cores of a small machine: a thread that waits must sleep.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = ort.InferenceSession(
        str(folder / "model.onnx"), options, providers=_providers(provider)
    )
    # Asking for CUDA is not getting it: ONNX Runtime falls back silently.
    actual = session.get_providers()[0]
    if provider == "cuda" and actual != "CUDAExecutionProvider":
        raise ModelMismatch(
            f"work.provider is cuda, but ONNX Runtime runs {folder.name} on {actual}: "
            "install the extra `gpu` and a driver, or set provider to auto"
        )
    return _Model(ModelUse(folder.name, version, sha256, actual), session)


def _turn(providers: Iterable[str]) -> AbstractContextManager[object]:
    """Return what a run has to hold: a lock where one is on a GPU, whose memory is for one run.

    Studies that overlap wait for it here and read and write meanwhile. Cores are shared by the
    system and need no lock.
    """
    return threading.Lock() if "CUDAExecutionProvider" in providers else nullcontext()


def _providers(provider: str) -> list[str]:
    cpu = "CPUExecutionProvider"
    if provider == "cpu":
        return [cpu]
    offered = ort.get_available_providers()
    if "CUDAExecutionProvider" in offered:
        # CUDA and cuDNN came as Python packages (extra gpu), where nobody looks for libraries.
        ort.preload_dlls()
    return [p for p in ("CUDAExecutionProvider", cpu) if p in offered]
