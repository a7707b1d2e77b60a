"""A cure as an edit of the user's own source, as a unified diff.

Only literal code is edited: a rate in the constructor of an optimizer, a call of an activation, a statement that
a line can follow. Otherwise the reason is given.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relume.activations import ACTIVATIONS, Activation
from relume.artifacts.swap_plan import Birth, Spot, SwapPlan
from relume.artifacts.treatments import EVERY, REVIVER_RULES
from relume.artifacts.trial import Contender
from relume.artifacts.tried import SourceEdit


class _NoEdit(Exception):
    """Why there is no edit."""


_Change = tuple[int, int, str]
"""Replaces a range of a file's bytes by a text."""


class _Source:
    """One of the user's files: its text, its tree, and the changes to make."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.content = path.read_bytes()
        self.tree = ast.parse(self.content)
        self.changes: list[_Change] = []
        self._starts = [0]
        for line in self.content.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def at(self, line: int, column: int) -> int:
        """The byte offset of a line, from 1, and a column, from 0."""
        return self._starts[line - 1] + column

    def span(self, node: Any) -> tuple[int, int]:
        """The bytes of a node."""
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def text(self, node: ast.AST) -> str:
        """The source text of a node."""
        first, last = self.span(node)
        return self.content[first:last].decode()

    def replace(self, node: ast.AST, text: str) -> None:
        """Replace the text of a node."""
        self.changes.append((*self.span(node), text))

    def insert(self, statement: Any, lines: Iterable[str], *, after: bool) -> None:
        """Put lines before or after a statement, indented as it is."""
        indent = self.content[self.at(statement.lineno, 0) : self.at(statement.lineno, statement.col_offset)].decode()
        if indent.strip():
            raise _NoEdit(f"another statement is on line {statement.lineno} of {self.name}")
        place = self._starts[statement.end_lineno] if after else self.at(statement.lineno, 0)
        ends = self.content[:place].endswith(b"\n") or not place
        text = "".join(f"{indent}{line}\n" if line else "\n" for line in lines)
        self.changes.append((place, place, text if ends else f"\n{text}"))

    def import_(self, package: str) -> None:
        """Import a package after the last import at the top of the file, unless it is imported."""
        last = [node for node in self.tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        if not last:
            raise _NoEdit(f"{self.name} imports nothing at its top")
        place = self._starts[last[-1].end_lineno or last[-1].lineno]
        change = (place, place, f"import {package}\n")
        if not self.imports(package) and change not in self.changes:
            self.changes.append(change)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node is in."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def imports(self, package: str) -> bool:
        """Whether a name is bound to this package at the top of the file."""
        names = [alias for node in self.tree.body if isinstance(node, ast.Import) for alias in node.names]
        return any((alias.asname or alias.name.partition(".")[0]) == package for alias in names)

    def edited(self) -> str:
        """The whole new text.

        Raises: _NoEdit: it is not valid Python.
        """
        content = self.content
        for first, last, text in sorted(self.changes, key=lambda change: change[:2], reverse=True):
            content = content[:first] + text.encode() + content[last:]
        try:
            ast.parse(content)
        except SyntaxError as error:
            raise _NoEdit(f"the edit of {self.name} would not be valid Python ({error.msg})") from error
        return content.decode()


def edit_of(contender: Contender, files: Mapping[str, Path], plan: SwapPlan) -> SourceEdit:
    """The edit that does what a cure did.

    Args:
        contender: the cure.
        files: the user's own files, by their names in the plan.
        plan: what the survey found.
    """
    try:
        sources = [_Source(name, path) for name, path in files.items()]
        make = _EDITS.get(contender.treatment)
        if make is None:
            _swap(contender, sources, plan)
        else:
            make(contender, sources, plan)
        changed = {source.name: (source, source.edited()) for source in sources if source.changes}
    except (_NoEdit, OSError, SyntaxError, UnicodeDecodeError) as error:
        return SourceEdit(why=str(error))
    parts: list[str] = []
    for name, (source, text) in changed.items():
        old = source.content.decode().splitlines(keepends=True)
        parts += difflib.unified_diff(old, text.splitlines(keepends=True), f"a/{name}", f"b/{name}")
    diff = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in parts)
    return SourceEdit(diff=diff, sources={name: text for name, (_, text) in changed.items()})


# ---- optimizers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Optimizer:
    """The construction of an optimizer in the source."""

    source: _Source
    call: ast.Call
    kind: str

    def target(self) -> str:
        """What it is assigned to.

        Raises: _NoEdit: it is not assigned to one name.
        """
        statement = self.source.parents[self.call]
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        if len(targets) == 1 and isinstance(targets[0], (ast.Name, ast.Attribute)):
            return self.source.text(targets[0])
        raise _NoEdit(f"{self.kind}(…) on line {self.call.lineno} of {self.source.name} is not assigned to one name")

    def model(self) -> str:
        """The model whose ``parameters()`` it is given.

        Raises: _NoEdit: it is not written there.
        """
        models = {
            self.source.text(node.func.value)
            for node in ast.walk(self.call)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "parameters"
        }
        if len(models) == 1:
            return models.pop()
        raise _NoEdit(
            f"{self.kind}(…) on line {self.call.lineno} of {self.source.name} does not say model.parameters()"
        )

    def insert(self, lines: Iterable[str], package: str, *, after: bool = True) -> None:
        """Put lines after its statement, or before it, with the import that they need."""
        self.source.insert(self.source.statement(self.call), lines, after=after)
        self.source.import_(package)


def _optimizers(sources: Iterable[_Source], plan: SwapPlan) -> list[_Optimizer]:
    """Where the optimizers that took a step are constructed.

    Raises: _NoEdit: nowhere in the user's files.
    """
    kinds = {each.optimizer for each in plan.optimizers}
    found = [
        _Optimizer(source, node, _last(node.func))
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and _last(node.func) in kinds
    ]
    if not found:
        raise _NoEdit(f"the script and its modules do not call {' or '.join(sorted(kinds)) or 'an optimizer'}")
    return found


def _last(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _rate(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    factor = contender.parameters["factor"]
    for each in _optimizers(sources, plan):
        known = next(o.rates[-1] for o in plan.optimizers if o.optimizer == each.kind)
        _set_option(each, "lr", lambda text, node: _times(text, node, factor), repr(known * factor))


def _no_decay(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    for each in _optimizers(sources, plan):
        _set_option(each, "weight_decay", lambda text, node: "0.0", "0.0")


def _set_option(each: _Optimizer, name: str, new: Callable[[str, ast.expr], str], missing: str) -> None:
    """Change an option of an optimizer and of its groups; ``missing``: its value if it is not written."""
    source, call = each.source, each.call
    given = [keyword.value for keyword in call.keywords if keyword.arg == name] + call.args[1:2] * (name == "lr")
    groups = [node for node in ast.walk(call) if isinstance(node, ast.Dict)]
    pairs = [pair for group in groups for pair in zip(group.keys, group.values, strict=True)]
    for value in [*given, *(value for key, value in pairs if isinstance(key, ast.Constant) and key.value == name)]:
        source.replace(value, new(source.text(value), value))
    if not given:
        if any(keyword.arg is None for keyword in call.keywords):
            raise _NoEdit(f"{name} of {each.kind} on line {call.lineno} of {source.name} is not written out")
        end = max(source.span(value)[1] for value in [*call.args, *(keyword.value for keyword in call.keywords)])
        source.changes.append((end, end, f", {name}={missing}"))


def _times(text: str, node: ast.expr, factor: float) -> str:
    plain = isinstance(node, (ast.Name, ast.Attribute, ast.Constant, ast.Call, ast.Subscript))
    return f"{text if plain else f'({text})'} * {factor:g}"


def _clip(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    for each in _optimizers(sources, plan):
        lines = [
            "def clip_gradients(optimizer, args, kwargs):",
            '    held = [p for group in optimizer.param_groups for p in group["params"]]',
            f"    torch.nn.utils.clip_grad_norm_(held, {contender.parameters['norm']:g})",
            "",
            f"{each.target()}.register_step_pre_hook(clip_gradients)",
        ]
        each.insert(["", *lines], "torch")


def _warmup(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    if plan.schedulers:
        raise _NoEdit(f"the script has a scheduler already ({', '.join(plan.schedulers)}): write the warm-up into it")
    steps = int(contender.parameters["steps"])
    for number, each in enumerate(_optimizers(sources, plan)):
        name, target = f"warmup{number + 1 if number else ''}", each.target()
        each.insert(
            [
                f"{name} = torch.optim.lr_scheduler.LambdaLR({target}, lambda step: min(1.0, (step + 1) / {steps}))",
                f"{target}.register_step_post_hook(lambda *_: {name}.step())",
            ],
            "torch",
        )


def _init(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    for each in _optimizers(sources, plan):
        lines = [
            f"for layer in {each.model()}.modules():",
            "    if isinstance(layer, (torch.nn.Linear, torch.nn.modules.conv._ConvNd)):",
            '        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")',
            "        if layer.bias is not None:",
            "            torch.nn.init.zeros_(layer.bias)",
        ]
        each.insert(lines, "torch", after=False)


def _revive(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    asked = dict(contender.parameters)
    rule, every = str(asked.pop("rule")), int(asked.pop("every"))
    known = REVIVER_RULES[rule]
    options = [] if rule == "gaps" else [f'rule="{rule}"']
    options += [] if every == EVERY[rule] else [f"every={every}"]
    options += [f"{name}={value:g}" for name, value in asked.items() if value != known[name]]
    for each in _optimizers(sources, plan):
        arguments = ", ".join([each.model(), f"optimizer={each.target()}", *options])
        each.insert([f"relume.Reviver({arguments}).start()"], "relume")


def _normalize(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    for first in dict.fromkeys(replace(each, layer=Birth("", 0)) for each in plan.inputs):
        source, call = _call_at(
            first.spot, sources, f"the layer that takes the input ({first.spot[0]}:{first.spot[1]})"
        )
        size = next(
            (k.value for k in call.keywords if k.arg in ("in_features", "in_channels")), next(iter(call.args), None)
        )
        if not first.alone or size is None:
            raise _NoEdit(f"other layers are made by the same call; add nn.{first.norm} before the first by hand")
        prefix = _prefix(source, call.func)
        norm = f"{prefix}{first.norm}({source.text(size)}, affine=False)"
        both, parent = f"{norm}, {source.text(call)}", source.parents[call]
        is_in_one = isinstance(parent, ast.Call) and _last(parent.func) == "Sequential"
        source.replace(call, both if is_in_one else f"{prefix}Sequential({both})")


# ---- activations -----------------------------------------------------------------------------------------------------


def _swap(contender: Contender, sources: list[_Source], plan: SwapPlan) -> None:
    if contender.target or _definition(contender).learnable:
        raise _NoEdit(f"{contender.name} needs sizes that are not in the source; edit it by hand")
    if _definition(contender).composed:
        raise _NoEdit(f"torch.nn has no {_definition(contender).title}; write relume.torch's by hand")
    chosen = plan.chosen()
    for site in chosen:
        if not site.alone:
            source, node = _call_at(site.spot, sources, f"the call of {site.call} at {site.file}:{site.line}")
            if not _last(node.func).rstrip("_").endswith(site.activation):
                raise _NoEdit(f"line {node.lineno} of {source.name} calls {_last(node.func)}; edit it by hand")
            _function(contender, node, source)
    kinds = {site.call for site in chosen if site.alone}
    for kind in sorted(kinds):
        if left := [site.key for site in plan.sites if site.call == kind and site not in chosen]:
            raise _NoEdit(f"{kind} is also created for {left[0]}, which stays; edit the others by hand")
        if not _constructors(contender, kind.rpartition(".")[2], sources):
            raise _NoEdit(
                f"{kind} is created outside the script and its modules; use relume.swap(model, "
                f"{plan.sites[0].activation!r}, …) after the model is created"
            )


def _call_at(spot: Spot, sources: Iterable[_Source], what: str) -> tuple[_Source, ast.Call]:
    """The call at a place.

    Raises: _NoEdit: it is not in the user's own files.
    """
    for source in sources:
        for node in ast.walk(source.tree) if source.name == spot[0] else ():
            if isinstance(node, ast.Call) and spot[1:] == (
                node.lineno, node.end_lineno, node.col_offset, node.end_col_offset,
            ):  # fmt: skip
                return source, node
    raise _NoEdit(f"{what} is not in the script and its modules")


def _function(contender: Contender, node: ast.Call, source: _Source) -> None:
    """``F.leaky_relu(x, …)`` instead of ``F.relu(x)``, ``torch.relu(x)`` or ``x.relu()``; x may contain another."""
    is_method = isinstance(node.func, ast.Attribute) and not node.args and not node.keywords
    if not is_method and (not node.args or any(keyword.arg != "inplace" for keyword in node.keywords)):
        raise _NoEdit(f"line {node.lineno} of {source.name} names its arguments; edit it by hand")
    prefix = "torch.nn.functional"
    if isinstance(node.func, ast.Attribute) and source.text(node.func.value) in ("F", "nn.functional"):
        prefix = source.text(node.func.value)
    elif not source.imports("torch"):
        raise _NoEdit(f"{source.name} does not import torch; edit line {node.lineno} by hand")
    x: ast.expr = node.func.value if is_method else node.args[0]  # type: ignore[attr-defined]
    (start, end), (first, last) = source.span(node), source.span(x)
    rest = "".join(f", {argument}" for argument in _arguments(contender, node.args[1:], node, source))
    source.changes += [(start, first, f"{prefix}.{contender.activation}("), (last, end, f"{rest})")]


def _arguments(contender: Contender, positional: Iterable[ast.expr], node: ast.Call, source: _Source) -> list[str]:
    """The numbers of the new activation, and ``inplace`` if it is given and the activation accepts it."""
    given = [*positional, *(keyword.value for keyword in node.keywords if keyword.arg == "inplace")]
    numbers = [f"{name}={value!r}" for name, value in contender.parameters.items()]
    return numbers + [f"inplace={source.text(value)}" for value in given[:1] if contender.activation != "gelu"]


def _constructors(contender: Contender, kind: str, sources: Iterable[_Source]) -> int:
    """Every call of a class of ``torch.nn`` becomes one of the contender's; returns how many there are."""
    count = 0
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, (ast.Name, ast.Attribute)) or _last(node) != kind:
                continue
            parent = source.parents.get(node)
            if not isinstance(parent, ast.Call) or parent.func is not node:
                raise _NoEdit(f"{kind} on line {node.lineno} of {source.name} is not called there; edit it by hand")
            title, arguments = _definition(contender).title, _arguments(contender, parent.args, parent, source)
            source.replace(parent, f"{_prefix(source, node)}{title}({', '.join(arguments)})")
            count += 1
    return count


def _prefix(source: _Source, func: ast.expr) -> str:
    """The prefix of a class of ``torch.nn`` in the source, ``nn.``; for a bare name ``torch.nn.``."""
    if isinstance(func, ast.Attribute):
        return f"{source.text(func.value)}."
    if not source.imports("torch"):
        raise _NoEdit(f"{source.name} does not import torch; edit line {func.lineno} by hand")
    return "torch.nn."


def _definition(contender: Contender) -> Activation:
    return ACTIVATIONS[contender.activation]


_EDITS: Mapping[str, Callable[[Contender, list[_Source], SwapPlan], None]] = {
    "lr": _rate,
    "clip": _clip,
    "warmup": _warmup,
    "no_decay": _no_decay,
    "init": _init,
    "normalize": _normalize,
    "revive": _revive,
}
"""By treatment."""
