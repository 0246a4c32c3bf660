"""The card that travels with every model: what it is, where it comes from, how good it is."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATEMENT = (
    "Trained on synthetic phantoms only; has seen no patient. Research only, not for clinical use."
)


@dataclass(frozen=True)
class Card:
    """Facts of one exported model.

    Attributes
    ----------
    name, version, sha256 : str
    preparation : str
        Version of the image preparation in ``node.inference.canonical``.
    opset : int
    parity : float
        Largest difference between ONNX Runtime and torch.
    inputs : dict of name to shape
        Written for a length of one; the first axis is free.
    output : str
    spacing_mm : float
        Of a pixel of the input.
    training : dict
        What ``train`` logged.
    metrics : dict
        On unseen phantoms, each beside its constant baseline.
    """

    name: str
    version: str
    sha256: str
    preparation: str
    opset: int
    parity: float
    inputs: dict[str, list[int]]
    output: str
    spacing_mm: float
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


def write_card(card: Card, file: Path) -> None:
    """Write the card as TOML."""
    training = {k: v for k, v in card.training.items() if not isinstance(v, dict)}
    settings = card.training.get("settings", {})
    lines = [
        f"name = {_value(card.name)}",
        f"version = {_value(card.version)}",
        f"sha256 = {_value(card.sha256)}",
        f"preparation = {_value(card.preparation)}",
        f"statement = {_value(STATEMENT)}",
        f"opset = {card.opset}",
        f"parity = {card.parity:.1e}",
        f"spacing_mm = {card.spacing_mm}",
        f"output = {_value(card.output)}",
        *_table("inputs", {k: ["length", *shape[1:]] for k, shape in card.inputs.items()}),
        *_table("training", {"data": "node.phantom, balanced grades, seeds from 0", **training}),
        *_table("training.settings", settings),
        *_table("metrics", card.metrics),
    ]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def _table(name: str, values: dict[str, Any]) -> list[str]:
    return ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in values.items())]


def _value(value: Any) -> str:
    """Return a TOML value; JSON's strings, numbers, booleans and lists are TOML's too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
