"""The card that travels with every model: what it is, where it comes from, how good it is."""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: What is said of a model by what it was trained on.
STATEMENTS = {
    "phantoms": "Trained on synthetic phantoms only; has seen no patient. "
    "Research only, not for clinical use.",
    "patients": "Trained on labelled studies of patients, under the terms of their source. "
    "Research only, not for clinical use.",
}
#: Put before it where a network did not begin with random weights.
BEGUN_WITH_PHOTOGRAPHS = "Begun with weights learned from photographs (ImageNet). "


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
    statement : str
        What it was trained on, and what it may be used for.
    training : dict
        What ``train`` logged.
    half : dict
        Hash of ``model.fp16.onnx`` and its difference from the other, when it was asked for.
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
    statement: str
    training: dict[str, Any] = field(default_factory=dict)
    half: dict[str, Any] = field(default_factory=dict)


def write_card(card: Card, file: Path) -> None:
    """Write the card as TOML."""
    training = {k: v for k, v in card.training.items() if not isinstance(v, dict)}
    nested = {k: v for k, v in card.training.items() if isinstance(v, dict) and v}
    lines = [
        f"name = {_value(card.name)}",
        f"version = {_value(card.version)}",
        f"sha256 = {_value(card.sha256)}",
        f"preparation = {_value(card.preparation)}",
        f"statement = {_value(card.statement)}",
        f"opset = {card.opset}",
        f"parity = {card.parity:.1e}",
        f"spacing_mm = {card.spacing_mm}",
        f"output = {_value(card.output)}",
        *_table("inputs", {k: ["length", *shape[1:]] for k, shape in card.inputs.items()}),
        *(_table("half", card.half) if card.half else []),
        *_table("training", training),
        *(line for k, v in nested.items() for line in _table(f"training.{k}", v)),
    ]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def statement_of(folder: Path) -> str:
    """Return what a model's card says it was trained on."""
    return str(tomllib.loads((folder / "card.toml").read_text("utf-8"))["statement"])


def write_metrics(file: Path, evaluation: dict[str, Any]) -> None:
    """Put the figures of ``evaluate`` into a card, in place of older ones.

    Parameters
    ----------
    file : Path
        ``<stage>_<condition>/card.toml``.
    evaluation : dict
        As `models.summary.summarise` returns it; severity models also get the figures of the whole.
    """
    stage, group = file.parent.name.split("_", 1)
    tables = {"metrics": evaluation[stage][group]}
    if stage == "severity":
        tables["metrics.end_to_end"] = evaluation["end_to_end"][group]
    lines = [file.read_text("utf-8").partition("\n[metrics")[0].rstrip()]
    for name, figures in tables.items():
        known = {k: {n: x for n, x in f.items() if x is not None} for k, f in figures.items()}
        about = {"unseen_studies": evaluation["studies"]} if name == "metrics" else {}
        lines += _table(name, {**about, **known})
    file.write_text("\n".join(lines) + "\n", "utf-8")


def _table(name: str, values: dict[str, Any]) -> list[str]:
    return ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in values.items())]


def _value(value: Any) -> str:
    """Return a TOML value; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
