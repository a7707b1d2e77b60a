"""Write the pages of docs/reference/ that the code knows best, and that of the published numbers. `make docs`."""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from relume.activations import ACTIVATIONS, Activation
from relume.artifacts.recording import SCHEMA, SCHEMA_VERSION
from relume.cli import COMMANDS, relume
from relume.doctor.rules import RULES
from relume.reports.family.catalogue import FRAMEWORK_TITLES, entry_dict
from relume.reports.family.curves import exact

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from schemas import schemas  # noqa: E402 - it lies beside this file

PAPERS = HERE.parents[1] / "papers"
NOTE = "<!-- Written by docs/reference/generate.py: change the code and run `make docs`. -->\n\n"
WIDTH = 100


def pages() -> dict[str, str]:
    """The pages by their paths from docs/reference/."""
    found = {f"activations/{a.name}.md": NOTE + activation(a) for a in ACTIVATIONS.values()}
    found["activations/README.md"] = NOTE + family()
    found["rules.md"] = NOTE + rules()
    found["commands.md"] = NOTE + commands()
    found["files.md"] = NOTE + files()
    found["licenses.md"] = NOTE + licenses()
    found["published-numbers.md"] = NOTE + published()
    for name, schema in schemas().items():
        found[f"schemas/{name}.json"] = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
    return found


def main() -> None:
    """Write them, and take away those of activations that are no more."""
    found = pages()
    for name, text in found.items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in (*(HERE / "activations").glob("*.md"), *(HERE / "schemas").glob("*.json")):
        if f"{path.parent.name}/{path.name}" not in found:
            path.unlink()


# ---- licenses ------------------------------------------------------------------------------------------------------


def licenses() -> str:
    """What each dependency of the package and of its extras says of its license in its metadata."""
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name not in ("test", "dev")}
    needed = {
        "relume itself": project["dependencies"],
        **{f"`relume[{name}]`": needs for name, needs in extras.items()},
    }
    rows = [(name, _license(name), of) for of, needs in needed.items() for name in map(_name, needs)]
    head = f"# Licenses\n\nrelume has the {project['license']} license. It depends on these packages:\n\n"
    return head + table(("package", "license", "needed by"), rows)


def _name(requirement: str) -> str:
    return requirement.partition(">")[0]


def _license(name: str) -> str:
    """The SPDX expression; before packages had one, a short license field or the classifier."""
    told = metadata.metadata(name)
    given = [told[key] for key in ("License-Expression", "License") if key in told]
    classifiers = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or [] if "License ::" in each]
    return next(each for each in (*given[:1], *classifiers) if "\n" not in each)


# ---- activations ---------------------------------------------------------------------------------------------------


def family() -> str:
    """All activations in a table."""
    rows = [
        (f"[{a.title}]({a.name}.md)", f"`{a.formula}`", a.range, a.can_die, a.when_to_use) for a in ACTIVATIONS.values()
    ]
    head = "# The activations\n\nThe page of each has defaults, kinks and hazards in each framework.\n\n"
    return head + table(("activation", "f(x)", "values", "can units die?", "when to use"), rows)


def activation(definition: Activation) -> str:
    """One activation in full: what `relume explain NAME` says."""
    told = entry_dict(definition)["activation"]
    parts = [f"# {told['title']}", f"`{told['formula']}`", told["when_to_use"]]
    facts = [("values", told["range"])]
    if told["aliases"]:
        facts.append(("also called", ", ".join(told["aliases"])))
    facts += [("advantages", told["advantages"]), ("disadvantages", told["disadvantages"])]
    facts += [("can units die?", told["can_die"]), ("saturates", told["saturates"])]
    gain = told["gain"]
    facts.append(("gain at the defaults", f"{gain:.4f}" if gain is not None else told["gain_note"] or "none"))
    parts.append(table(("", ""), [(name, says) for name, says in facts if says]))
    if told["parameters"]:
        parts += ["## Parameters, and each framework's default", _parameters(told["parameters"])]
    if told["kinks"]:
        parts += ["## Slope at the kinks, reverse mode", _kinks(told["kinks"])]
    if told["hazards"]:
        parts += ["## Hazards", "\n".join(f"- {hazard}" for hazard in told["hazards"])]
    sources = "\n".join(f"- {source['citation']}: <{source['link']}>" for source in told["sources"])
    return "\n\n".join([*parts, "## Sources", sources]) + "\n"


def _parameters(told: Sequence[Mapping[str, Any]]) -> str:
    used = [fw for fw in FRAMEWORK_TITLES if any(fw in each["defaults"] for each in told)]
    rows = [
        (
            f"`{each['name']}`", each["meaning"], each["values"],
            *(_default(each["defaults"][fw]) if fw in each["defaults"] else "" for fw in used),
        )
        for each in told
    ]  # fmt: skip
    return table(("name", "what it is", "values", *(FRAMEWORK_TITLES[fw] for fw in used)), rows)


def _default(value: Any) -> str:
    return exact(value) if isinstance(value, float | str) else str(value)


def _kinks(told: Sequence[Mapping[str, Any]]) -> str:
    used = [fw for fw in FRAMEWORK_TITLES if any(fw in each["slopes"] for each in told)]
    rows = [(each["at"], *(str(each["slopes"].get(fw, "")) for fw in used)) for each in told]
    return table(("at", *(FRAMEWORK_TITLES[fw] for fw in used)), rows)


# ---- rules, commands -----------------------------------------------------------------------------------------------


def rules() -> str:
    """Each rule's page, one under the other."""
    parts = ["# The rules", "The output of `relume explain` for each rule. A code is never reused."]
    rows = [(f"[{rule.code}](#{rule.code.lower()}-{rule.name})", rule.name, _first(rule)) for rule in RULES]
    parts.append(table(("code", "name", "what it finds"), rows))
    for rule in RULES:
        page = entry_dict(rule)["rule"]["page"]
        parts.append("\n".join(f"#{line}" if line.startswith("#") else line for line in page.strip().splitlines()))
    return "\n\n".join(parts) + "\n"


def _first(rule: Any) -> str:
    lines = [line for line in entry_dict(rule)["rule"]["page"].splitlines() if line and not line.startswith("#")]
    return lines[0]


def commands() -> str:
    """The help of each command."""
    parts = ["# The commands", "The output of `relume COMMAND --help`."]
    top = click.Context(relume, info_name="relume", terminal_width=WIDTH, **relume.context_settings)
    for name in COMMANDS:
        command = relume.get_command(top, name)
        assert command is not None
        ctx = click.Context(command, info_name=name, parent=top)
        parts.append(f"## relume {name}\n\n```console\n$ relume {name} --help\n{command.get_help(ctx)}\n```")
    return "\n\n".join(parts) + "\n"


# ---- files ---------------------------------------------------------------------------------------------------------


def files() -> str:
    """What is in the files that pass between the stages, and in what the commands print as JSON."""
    told = schemas()
    parts = [
        "# The files",
        "New keys may come within a version; none changes its meaning. A file of a newer version is refused with a "
        "message that says so.",
        f"## Recording (`run.relume`), version {SCHEMA_VERSION}",
        "An SQLite file. Blobs are arrays of 64-bit numbers, one for each unit.",
        f"```sql\n{SCHEMA.strip()}\n```",
        "## The output of `--json`",
        "Each command has a JSON Schema (draft 2020-12). Any validator checks output against it: `python -m jsonschema "
        "-i report.json docs/reference/schemas/findings.json`. A command that is refused prints what `error.json` "
        "describes instead of its result, and exits with `error.exit`. `error.code` is stable: "
        "[messages.md](messages.md) has cause and cure of each. A wrong option has the code `usage`.",
        table(
            ("schema", "what it describes"),
            [(f"[{n}.json](schemas/{n}.json)", s["description"]) for n, s in told.items()],
        ),
        *(
            f"## {title}\n\n{table(('key', 'what it holds'), list(keys(told[name], told[name]['$defs'])))}"
            for name, title in (("findings", "Findings"), ("study", "Study"))
        ),
    ]
    return "\n\n".join(parts) + "\n"


def keys(schema: Mapping[str, Any], named: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a schema, and of what kind its value is."""
    while "$ref" in schema:
        schema = named[schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        for key, value in schema["properties"].items():
            yield from keys(value, named, f"{path}.{key}" if path else key)
    elif schema.get("type") == "array" and {"properties", "$ref"} & set(schema.get("items", ())):
        yield from keys(schema["items"], named, f"{path}[]")
    else:
        yield f"`{path}`", _kind(schema)


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {_kind(schema['prefixItems'][0])}"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if "items" in schema else "list"
    if isinstance(of := schema.get("additionalProperties"), dict):
        return f"{_kind(of)}, by unit or name"
    names = {"boolean": "true or false", "integer": "whole number", "number": "number", "string": "text"}
    return names.get(schema.get("type", ""), schema.get("type", "any"))


# ---- published numbers ---------------------------------------------------------------------------------------------


def published() -> str:
    """What `make reproduce` last found, claim by claim."""
    experiments = tomllib.loads((PAPERS / "claims.toml").read_text(encoding="utf-8"))["experiment"]
    kept = json.loads((PAPERS / "reproduced.json").read_text(encoding="utf-8"))["rows"]
    differ = [row for row in kept if row["verdict"] != "reproduced"]
    parts = [
        "# Published numbers, reproduced",
        "What `make reproduce` found when it last ran. Each entry is a script of [papers/](../../papers), run as a "
        "user would run it; `make reproduce ONLY=NAME` runs only one. A figure is *reproduced* when ours lies in an "
        "interval that was fixed beforehand, from the source or from its sampling error; the interval is not moved "
        "afterwards. Beside our figure stands its own 95 % interval, where there were several runs.",
        f"**{len(kept) - len(differ)} of {len(kept)} figures are reproduced.** Not reproduced: "
        + ("; ".join(f"[{row['claim']}](#{row['experiment']})" for row in differ) or "none")
        + ".",
    ]
    for experiment in experiments:
        rows = [row for row in kept if row["experiment"] == experiment["name"]]
        parts.append(_experiment(experiment, rows))
    return "\n\n".join(parts) + "\n"


def _experiment(experiment: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    link = experiment.get("link")
    source = f"[{experiment['source']}]({link})" if link else experiment["source"]
    parts = [f"## {experiment['name']}", f"{experiment['title']}. Source: {source}."]
    if not rows:
        return "\n\n".join([*parts, f"Not run yet: `make reproduce ONLY={experiment['name']}`."])
    parts.append(f"```text\n{rows[0]['command']}\n```")
    head = ("", "published", "must lie in", "ours", "95 % interval", "")
    lines = [
        (
            row["claim"],
            row["published"],
            _span(row["interval"]),
            _span([row["ours"]]),
            _span(row["ours_interval"], 3),
            verdict,
        )
        for row in rows
        for verdict in [row["verdict"] if row["verdict"] == "reproduced" else f"**{row['verdict']}**"]
    ]
    parts += [table(head, lines), f"*Interval:* {experiment['interval_from']}."]
    if "remark" in experiment:
        parts.append(f"*Remark:* {experiment['remark']}")
    told = rows[0]
    parts.append(f"{told['date']}, PyTorch {told['versions']['torch']}, {told['cpu_seconds']:.0f} s of CPU time.")
    return "\n\n".join(parts)


def _span(numbers: Sequence[float | None] | None, digits: int = 4) -> str:
    return " to ".join("none" if number is None else f"{number:.{digits}g}" for number in numbers or ())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; what would end a cell is escaped."""
    lines = [head, [":--"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: Any) -> str:
    if isinstance(text, float) and not math.isfinite(text):
        return "∞"
    return " ".join(str(text).split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
