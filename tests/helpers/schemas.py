"""Output of ``--json`` held against the schemas of docs/reference/schemas/."""

from __future__ import annotations

import json
from pathlib import Path

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def fits(name, told):
    """Hold the output against a schema; a key that the schema lacks fails, too, but for further facts of a run."""
    schema = load(name)
    for part, of in ((None, schema), *schema["$defs"].items()):
        if part != "Run":
            of.setdefault("additionalProperties", False)
    Draft202012Validator(schema).validate(told)
