"""The configuration manual and the configuration say the same."""

import re
import tomllib
from pathlib import Path

from node.config import Config

MANUAL = Path(__file__).parents[2] / "deploy" / "node.toml"


def test_the_manual_as_shipped_is_the_default_configuration() -> None:
    """Reading deploy/node.toml changes nothing: every default in it is the code's default."""
    assert Config(**tomllib.loads(MANUAL.read_text("utf-8"))) == Config()


def test_the_manual_names_every_setting() -> None:
    """A setting that the manual does not explain does not exist for an administrator."""
    text = MANUAL.read_text("utf-8")
    named = set(re.findall(r"^#? ?(\w+) =", text, re.MULTILINE))

    expected: set[str] = set()
    for name, field in Config.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((k for k in kinds if hasattr(k, "model_fields")), None)
        expected |= set(section.model_fields) if section else {name}

    assert named == expected
