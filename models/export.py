"""From weights to what is shipped: ``model.onnx``, checked against torch, and its card."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor, nn

from models.card import BEGUN_WITH_PHOTOGRAPHS, STATEMENTS, Card, write_card
from models.train import network
from node.inference.canonical import PREPARATION, view_of
from node.inference.severity import CROP, CROP_MM
from node.spine.anatomy import ROLE_OF, ConditionGroup

OPSET = 20

#: The exported file must give the same numbers as torch, to this much.
PARITY = 1e-4

#: Lengths at which parity is checked: slices of a series, or crops.
LENGTHS = (2, 7, 25)

_NAMES = {
    "instance": (["images", "millimetres"], "logits"),
    "coordinate": (["images"], "heat"),
    "severity": (["crops"], "probabilities"),
}


def export(name: str, work: Path, artifacts: Path, version: str, *, half: bool = False) -> Path:
    """Export one trained model with its card."""
    source = work / "models" / name
    training = json.loads((source / "training.json").read_text("utf-8"))
    net = network(*split(name), pretrained=training["settings"].get("pretrained", False))
    net.load_state_dict(torch.load(source / "weights.pt", weights_only=True))
    return publish(net, name, artifacts, version, training=training, half=half)


def split(name: str) -> tuple[str, ConditionGroup]:
    """Return stage and condition of a model's name, ``severity_canal``."""
    stage, short = name.split("_", 1)
    return stage, ConditionGroup[short.upper()]


def publish(
    net: nn.Module,
    name: str,
    artifacts: Path,
    version: str,
    *,
    training: dict[str, Any],
    half: bool = False,
) -> Path:
    """Write ``model.onnx`` and ``card.toml`` of a network; ``half``: ``model.fp16.onnx`` too.

    Raises
    ------
    ArithmeticError
        ONNX Runtime and torch disagree by more than `PARITY`; nothing is written.
    """
    stage, group = split(name)
    net.eval()
    begun = BEGUN_WITH_PHOTOGRAPHS if training.get("settings", {}).get("pretrained") else ""
    statement = begun + STATEMENTS[training.pop("data")]
    exported = onnx_bytes(net, stage, group, {"version": version, "use": statement})
    parity = check_parity(net, exported, stage, group)
    if parity > PARITY:
        raise ArithmeticError(f"{name}: ONNX Runtime and torch differ by {parity:.1e}")
    folder = artifacts / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(exported)
    about_half = {}
    if half:
        smaller = half_bytes(exported)
        (folder / "model.fp16.onnx").write_bytes(smaller)
        about_half = {
            "sha256": hashlib.sha256(smaller).hexdigest(),
            "difference": round(check_parity(net, smaller, stage, group), 5),
        }
    inputs = zip(_NAMES[stage][0], example(stage, group, 1), strict=True)
    card = Card(
        name=name,
        version=version,
        sha256=hashlib.sha256(exported).hexdigest(),
        preparation=PREPARATION,
        opset=OPSET,
        parity=parity,
        inputs={key: list(value.shape) for key, value in inputs},
        output=_NAMES[stage][1],
        spacing_mm=CROP_MM if stage == "severity" else view_of(ROLE_OF[group]).spacing,
        statement=statement,
        training=training,
        half=about_half,
    )
    write_card(card, folder / "card.toml")
    return folder


def example(stage: str, group: ConditionGroup, length: int) -> tuple[Tensor, ...]:
    """Return random inputs of the right shape; the first axis is free."""
    if stage == "severity":
        return (torch.rand(length, 3, CROP, CROP),)
    images = torch.rand(length, 1, *view_of(ROLE_OF[group]).shape)
    return (images, torch.linspace(-0.3, 0.3, length)[:, None])[: len(_NAMES[stage][0])]


def onnx_bytes(net: nn.Module, stage: str, group: ConditionGroup, about: dict[str, str]) -> bytes:
    """Return the network as ONNX with a free first axis, metadata and ``about`` included."""
    inputs, output = _NAMES[stage]
    length = torch.export.Dim("length", min=2, max=4096)
    program = torch.onnx.export(
        net,
        example(stage, group, 5),
        input_names=inputs,
        output_names=[output],
        opset_version=OPSET,
        dynamic_shapes=tuple({0: length} for _ in inputs),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto  # type: ignore[union-attr]
    onnx.helper.set_model_props(
        model,
        {
            "stage": stage,
            "condition": group.value,
            "preparation": PREPARATION,
            **about,
        },
    )
    return bytes(model.SerializeToString())


def half_bytes(exported: bytes) -> bytes:
    """Return the same network with weights and arithmetic of 16 bits; inputs and output keep 32."""
    model = onnx.load_from_string(exported)
    return bytes(convert_float_to_float16(model, keep_io_types=True).SerializeToString())


def check_parity(net: nn.Module, exported: bytes, stage: str, group: ConditionGroup) -> float:
    """Return the largest difference between ONNX Runtime and torch, over `LENGTHS`."""
    session = ort.InferenceSession(exported, providers=["CPUExecutionProvider"])
    worst = 0.0
    for length in LENGTHS:
        inputs = example(stage, group, length)
        with torch.no_grad():
            expected = net(*inputs).numpy()
        named = {n: x.numpy() for n, x in zip(_NAMES[stage][0], inputs, strict=True)}
        worst = max(worst, float(np.abs(session.run(None, named)[0] - expected).max()))
    return worst
