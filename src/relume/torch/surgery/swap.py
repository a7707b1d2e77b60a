"""Other activations in the place of a model's own: modules, calls in methods, functions kept as attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relume import activations
from relume.activations import ACTIVATIONS
from relume.artifacts.change import Change, Check, Edit
from relume.errors import CureError, RelumeError
from relume.torch.family import FAMILY
from relume.torch.specs import to_spec
from relume.torch.surgery.calls import Call, SwappedMethod, calls_of
from relume.torch.surgery.gates import gates
from relume.torch.surgery.program import Program, path_of
from relume.torch.surgery.refusals import refuse_optimizer
from relume.torch.surgery.rest import Batch, at_rest, distance, outputs
from relume.torch.watching.calls.functions import ACTIVATION_CALLS

_HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks"),
)


@dataclass(frozen=True)
class Spot:
    """A place that applies an activation: a submodule, a call in a method (``call``), or a function as an attribute."""

    owner: nn.Module
    model: str  # the class of the root
    path: str  # of the owner
    name: str  # of the attribute, "" for a call
    activation: str
    call: Call | None = None

    @property
    def where(self) -> str:
        """How it is named."""
        if self.call is not None:
            return f"{self.call.file}:{self.call.line}"
        return f"{self.path}.{self.name}" if self.path else self.name

    def is_meant(self, word: str) -> bool:
        """Whether a word means it: an activation, a path of it or of a module around it, FILE:LINE, or a site."""
        own = f"{self.path}.{self.name}".strip(".")
        if "@" in word:
            return self._is_site(word, own)
        if word in (self.activation, own, self.where) or own.startswith(f"{word}."):
            return True
        return self.call is not None and word == f"{self.call.file.rpartition('/')[2]}:{self.call.line}"

    def _is_site(self, word: str, own: str) -> bool:
        """Whether it is the site of a report, ``MLP.relu2@train.py:12``: a module's path, or a call's and its line."""
        place, _, source = word.partition("@")
        label, _, path = place.partition(".")
        if label.partition("#")[0] != self.model or path != own:
            return False
        called = f"{self.call.file.rpartition('/')[2]}:{self.call.line}" if self.call is not None else ""
        return not called or re.sub("#[0-9]+$", "", source).rpartition("/")[2] == called


def spots(model: nn.Module) -> list[Spot]:
    """The places of a model that can be swapped."""
    found = []
    for path, owner in model.named_modules():
        for name, module in owner._modules.items():
            spec = to_spec(module) if module is not None else None
            if spec is not None and ACTIVATIONS[spec.activation].elementwise:
                found.append(Spot(owner, type(model).__name__, path, name, spec.activation))
        for name, thing in vars(owner).items():
            reading = (
                ACTIVATION_CALLS.get(thing) if callable(thing) and getattr(type(thing), "__hash__", None) else None
            )
            applied = reading((), {}) if reading is not None else None
            if applied is not None and not applied.clamp:
                found.append(Spot(owner, type(model).__name__, path, name, applied.name))
        found += [Spot(owner, type(model).__name__, path, "", call.activation, call) for call in calls_of(owner)]
    return found


def swap(
    model: nn.Module,
    where: str | Iterable[str],
    to: str,
    *,
    optimizer: Optimizer | None = None,
    reinit: bool = False,
    batch: Any = None,
    **params: Any,
) -> Change:
    """See :func:`relume.swap`."""
    if optimizer is not None:
        refuse_optimizer(optimizer, model.named_parameters())
    words = [where] if isinstance(where, str) else list(where)
    make = _maker(to, params, model)
    every = spots(model)
    chosen = [spot for spot in every if any(spot.is_meant(word) for word in words)]
    _refuse_words(model, words, every)
    given = None if batch is None else Batch.of(batch)
    if reinit and given is None:
        raise CureError("reinit=True needs a batch: it shows which layer feeds an activation.", slug="batch-needed")
    before = outputs(model, given) if given is not None else {}
    work = _Swap(model, optimizer, make)
    try:
        edits = work.put(chosen)
        if given is not None and reinit:
            edits += work.mend(Program(model, given), to, params)
        proof = work.prove(given, before)
    except BaseException:
        work.undo()
        raise
    untouched = [Edit(spot.where, (), f"{spot.activation}: not asked for") for spot in every if spot not in chosen]
    return Change(
        "swap", tuple(edits), (*work.left, *untouched), proof, str(given) if given is not None else "the model"
    )


def _maker(to: str, params: dict[str, Any], model: nn.Module) -> Callable[[bool], nn.Module]:
    """Makes the new module, in place or not.

    Raises: UnknownName, ParameterError: of the activation or its parameters.
    """
    activation = activations.get(to)
    if not activation.elementwise:
        raise CureError(f"{to} has no units of its own and takes no other activation's place.", slug="no-place-to-swap")
    ours = FAMILY[activation.name].module
    try:
        ours(**params)  # checks them
    except TypeError as error:
        raise CureError(f"{activation.title} does not take this: {error}.", slug="no-place-to-swap") from error
    kind = ours if "axis" in params or "generator" in params else getattr(nn, activation.title, ours)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))

    def make(in_place: bool) -> nn.Module:
        new: nn.Module = kind(**params)
        if in_place and hasattr(new, "inplace"):
            new.inplace = True
        return new.to(like.device, like.dtype)

    return make


def _refuse_words(model: nn.Module, words: Sequence[str], every: Sequence[Spot]) -> None:
    for word in words:
        if not any(spot.is_meant(word) for spot in every):
            there = ", ".join(dict.fromkeys(f"{spot.activation} at {spot.where}" for spot in every)) or "none"
            raise CureError(
                f"{type(model).__name__} has nothing to swap at {word!r}. Give an activation, a module's path or "
                f"FILE:LINE. There is: {there}.",
                slug="no-place-to-swap",
            )


class _Swap:
    """One swap and how it is taken back."""

    def __init__(self, model: nn.Module, optimizer: Optimizer | None, make: Callable[[bool], nn.Module]) -> None:
        self._model, self._optimizer, self._make = model, optimizer, make
        self._undo: list[Callable[[], None]] = []
        self.made: list[tuple[str, nn.Module]] = []
        self._was: dict[int, str] = {}  # a new module's id → the activation before it
        self.left: list[Edit] = []

    def put(self, chosen: Sequence[Spot]) -> list[Edit]:
        """Put new activations there; one shared module stays one."""
        shared: dict[int, nn.Module] = {}
        edits = []
        for spot in chosen:
            if spot.call is not None and spot.call.in_place and not spot.call.kept:
                if not hasattr(self._make(True), "inplace"):
                    self.left.append(
                        Edit(spot.where, (), "its result is dropped, and the new activation is not in place")
                    )
                    continue
            old = getattr(spot.owner, spot.name) if spot.name else None
            new = shared.get(id(old)) if isinstance(old, nn.Module) else None
            if new is None:
                new = self._make(spot.call.in_place if spot.call is not None else bool(getattr(old, "inplace", False)))
                new.train(spot.owner.training if old is None else getattr(old, "training", spot.owner.training))
                if isinstance(old, nn.Module):
                    shared[id(old)] = new
                    for table in _HOOKS:
                        vars(new)[table] = vars(old)[table]
                self._enlist(spot, old, new)
                self.made.append((spot.where, new))
                self._was[id(new)] = spot.activation
            self._place(spot, new)
            edits.append(Edit(spot.where, (), f"{spot.activation} → {new!r}" + self._about_slopes(new)))
        if not edits:
            raise CureError(f"Nothing was swapped. {'; '.join(map(str, self.left))}", slug="no-place-to-swap")
        return edits

    def _place(self, spot: Spot, new: nn.Module) -> None:
        owner = spot.owner
        modules, plain = dict(owner._modules), dict(vars(owner))

        def undo() -> None:
            owner._modules.clear()
            owner._modules.update(modules)
            for name in [name for name in vars(owner) if name not in plain]:
                del vars(owner)[name]
            vars(owner).update({name: thing for name, thing in plain.items() if not name.startswith("_")})

        self._undo.append(undo)
        if spot.call is not None:
            name = f"swapped_{spot.call.line}_{spot.call.column}"
            owner.add_module(name, new)
            known = vars(owner).get(spot.call.method)
            places = dict(known._places) if isinstance(known, SwappedMethod) else {}
            places[spot.call.line, spot.call.column] = name
            vars(owner)[spot.call.method] = SwappedMethod(owner, spot.call.method, places)
            return
        vars(owner).pop(spot.name, None)
        owner._modules[spot.name] = new
        if "activation_relu_or_gelu" in vars(owner):  # PyTorch's encoder layer would go on with the old one
            owner.activation_relu_or_gelu = 0

    def _enlist(self, spot: Spot, old: Any, new: nn.Module) -> None:
        """Learnable slopes join the optimizer's group of the layers around, without weight decay; old ones leave it."""
        if self._optimizer is None:
            return
        optimizer, groups = self._optimizer, [dict(group) for group in self._optimizer.param_groups]
        lists = [list(group["params"]) for group in groups]
        state = dict(optimizer.state)

        def undo() -> None:
            del optimizer.param_groups[len(groups) :]
            for group, before in zip(optimizer.param_groups, lists, strict=True):
                group["params"] = before
            optimizer.state.clear()
            optimizer.state.update(state)

        self._undo.append(undo)
        gone = {id(p) for p in old.parameters()} if isinstance(old, nn.Module) else set()
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in gone]
        for parameter in [p for p in optimizer.state if id(p) in gone]:
            del optimizer.state[parameter]
        fresh = list(new.parameters())
        if fresh:
            own = {id(p) for p in self._model.parameters()}
            around = next(g for g in groups if any(id(p) in own for p in g["params"]))
            optimizer.add_param_group({**around, "params": fresh, "weight_decay": 0.0})

    def _about_slopes(self, new: nn.Module) -> str:
        if next(new.parameters(), None) is None:
            return ""
        told = "in the optimizer, without weight decay" if self._optimizer is not None else "in no optimizer yet"
        return f"; its slopes are {told}"

    def mend(self, program: Program, to: str, params: dict[str, Any]) -> list[Edit]:
        """Scale the weights before each new activation by the ratio of the two init gains."""
        edits = []
        target = _gain(to, {name: value for name, value in params.items() if name != "num_parameters"})
        for gate in gates(program):
            was = self._was.get(id(program.model.get_submodule(gate.module)))
            if was is None or gate.layer is None:
                continue
            path = path_of(gate.layer)
            if gate.norm is not None:
                edits.append(Edit(path, (), "weights kept: the normalization behind it sets their scale"))
                continue
            weight = program.tensor(gate.layer.args[1])
            if weight is None:
                continue
            before, ratio = weight.detach().clone(), target / _gain(was, {})

            def undo(weight: Tensor = weight, before: Tensor = before) -> None:
                with torch.no_grad():
                    weight.copy_(before)

            self._undo.append(undo)
            with torch.no_grad():
                weight.mul_(ratio)
            edits.append(Edit(path, (), f"weights times {ratio:.3g}, the ratio of the init gains"))
        return edits

    def prove(self, given: Batch | None, before: Any) -> tuple[Check, ...]:
        """Each new activation is where it was put and, on a batch, is applied; the shift is told."""
        there = {id(module) for module in self._model.modules()}
        missing = [where for where, new in self.made if id(new) not in there]
        checks = [
            Check("new activations are in place", not missing, f"{len(self.made) - len(missing)} of {len(self.made)}")
        ]
        groups = self._optimizer.param_groups if self._optimizer is not None else []
        held = {id(p) for group in groups for p in group["params"]}
        if groups and any(id(p) not in held for _, new in self.made for p in new.parameters()):
            raise CureError("The swap was rolled back: the optimizer does not hold the slopes.", slug="proof-failed")
        if given is not None:
            applied = self._applied(given)
            idle = [where for where, new in self.made if id(new) not in applied]
            missing += idle
            checks.append(Check("each is applied", not idle, f"{len(self.made) - len(idle)} of {len(self.made)}"))
            moved, _ = distance(before, outputs(self._model, given))
            checks.append(Check("outputs", True, f"moved by {moved:.2g} of the largest one"))
        if missing:
            raise CureError(
                f"The swap was rolled back: the new activation is not applied at {', '.join(missing)}. On this batch "
                "the model does not come there, or calls something else.",
                slug="proof-failed",
            )
        return tuple(checks)

    def _applied(self, given: Batch) -> set[int]:
        seen: set[int] = set()
        handles = [new.register_forward_pre_hook(lambda module, args: seen.add(id(module))) for _, new in self.made]
        try:
            with at_rest(self._model), torch.no_grad():
                self._model(*given.args, **given.kwargs)
        finally:
            for handle in handles:
                handle.remove()
        return seen

    def undo(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()


def _gain(name: str, params: dict[str, Any]) -> float:
    definition = activations.get(name)
    known = {"weight": params.get("init", 0.25)} if name == "prelu" else params
    try:
        found = definition.gain(**definition.check(**{k: v for k, v in known.items() if k not in ("inplace", "axis")}))
    except RelumeError:
        return float("nan")
    return float(found)
