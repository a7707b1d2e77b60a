"""The JSON Schemas of docs/reference/schemas/, made from the types of relume; generate.py writes them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from relume.activations.deviations import Deviation
from relume.artifacts import json_types as of
from relume.artifacts.plan import CurePlan
from relume.artifacts.study_findings import AsItStands
from relume.artifacts.trial import Verdict
from relume.artifacts.tried import Fixed, SourceEdit

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schemas() -> dict[str, dict[str, Any]]:
    """Each schema by the name of its file."""
    study = {
        "schema": int, "study": of.AskedJson, "as_it_stands": AsItStands, "verdicts": list[Verdict],
        "trials": list[of.TrialJson], "not_swapped": list[of.NotObservedJson],
    }  # fmt: skip
    edit = TypedDict("Edit", {name: hint for name, hint in get_type_hints(SourceEdit).items() if name != "sources"})
    fixed = {name: _or_null(hint) for name, hint in get_type_hints(Fixed).items()} | {"edit": edit | None}
    row = TypedDict("Deviation", get_type_hints(Deviation) | {"x": list[float | str]})  # "nan" and "inf" are words
    made = {
        "findings": ("`relume report RECORDING --json`, `relume audit --json`", of.FindingsJson),
        "study": ("`relume report STUDY --json`, `relume compare --json`", study),
        "studies": ("`relume report STUDY STUDY --json`", {"schema": int, "studies": list[TypedDict("Study", study)]}),
        "check": ("`relume check --json`", of.CheckJson),
        "diff": ("`relume diff --json`", of.DiffJson),
        "plan": ("`relume plan --json`", {"is": Literal["relume plan"], "schema": int} | get_type_hints(CurePlan)),
        "fix": ("`relume fix --json`", {"schema": int, **fixed, "cure": str | None}),
        "list": ("`relume list --json`", of.ListJson),
        "deviations": ("`relume list --deviations --json`", {"schema": int, "deviations": list[row]}),
        "explain": ("`relume explain --json`", of.ExplainJson),
        "error": ("any command with `--json`, where it is refused", of.RefusedJson),
    }
    found = {}
    for name, (says, kind) in made.items():
        named: dict[str, Any] = {}
        root = named.pop(_class(TypedDict("Root", kind) if isinstance(kind, dict) else kind, named)["$ref"][8:])
        found[name] = {"$schema": DRAFT, **root, "description": f"The output of {says}.", "$defs": named}
    return found


def schema(kind: Any, named: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; that of a class goes to ``named``. A number that is not finite is null in a dataclass."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(part, named) for part in parts]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is list or (origin is tuple and parts[-1] is Ellipsis):
        return {"type": "array", "items": schema(parts[0], named)}
    if origin is tuple:
        each = [schema(part, named) for part in parts]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema(parts[1], named)}
    return _class(kind, named)


def _class(kind: Any, named: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__.removesuffix("Json")
    if name not in named:
        named[name] = {}
        hints = get_type_hints(kind)
        marked = get_type_hints(kind, include_extras=True)
        required = [key for key in hints if get_origin(marked[key]) is not NotRequired]
        if not is_typeddict(kind):
            hints = {key: _or_null(hint) for key, hint in hints.items()}
        told = {"type": "object", "properties": {key: schema(hint, named) for key, hint in hints.items()}}
        says = (kind.__doc__ or "").partition("\n")[0]
        named[name] = ({"description": says} if says else {}) | told | {"required": required}
    return {"$ref": f"#/$defs/{name}"}


def _or_null(hint: Any) -> Any:
    """The type with null wherever it has a float: a dataclass may hold NaN, which JSON lacks."""
    if hint is float:
        return float | None
    if get_origin(hint) is tuple:
        return tuple[tuple(_or_null(part) for part in get_args(hint))]
    return hint
