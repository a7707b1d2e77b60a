"""Reviving on a schedule during training: watch the units at each step, revive those that are due."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils import _pytree as pytree

from relume.artifacts.change import Change, Edit
from relume.errors import CureError
from relume.torch.surgery.gates import Gate, gates
from relume.torch.surgery.program import Program, operation, path_of
from relume.torch.surgery.refusals import refuse_model, refuse_optimizer
from relume.torch.surgery.rest import ENOUGH, Batch, outputs
from relume.torch.surgery.revive import Revival
from relume.torch.surgery.scores import Score

MakeScore = Callable[[int, torch.device], Score]


class RecentInputs:
    """The latest inputs of a model, as one batch of at least ``ENOUGH`` examples if they can be put together."""

    def __init__(self) -> None:
        self._kept: deque[tuple[list[Any], Any]] = deque(maxlen=1)

    def see(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Store the model's arguments."""
        leaves, spec = pytree.tree_flatten((args, kwargs))
        sizes = {len(x) if isinstance(x, Tensor) and x.ndim else 0 for x in leaves}
        examples = next(iter(sizes)) if len(sizes) == 1 else 0
        if not 0 < examples < ENOUGH:  # large enough, or cannot be combined
            self._kept = deque([(leaves, spec)], maxlen=1)
            return
        if not self._kept or not self._fits(leaves, spec):
            self._kept = deque(maxlen=-(-ENOUGH // examples))
        self._kept.append(([x.detach().clone() for x in leaves], spec))  # a script may refill the same tensor

    def _fits(self, leaves: list[Any], spec: Any) -> bool:
        before, known = self._kept[-1]
        return bool(spec == known) and [x.shape for x in before] == [x.shape for x in leaves]

    def batch(self) -> Batch | None:
        """Everything stored, as one batch; None while it is too little."""
        if len(self._kept) < (self._kept.maxlen or 1):
            return None
        leaves, spec = self._kept[-1]
        if len(self._kept) > 1:
            leaves = [torch.cat(parts) for parts in zip(*(each for each, _ in self._kept), strict=True)]
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        return Batch(args, kwargs)


class TorchReviver:
    """See :class:`relume.Reviver`."""

    def __init__(self, model: nn.Module, optimizer: Optimizer | None, make_score: MakeScore, every: int) -> None:
        refuse_model(model)
        if optimizer is not None:
            refuse_optimizer(optimizer, ())
            if not self._holds(model, optimizer):
                raise CureError(
                    f"The optimizer ({type(optimizer).__name__}) holds none of the parameters of "
                    f"{type(model).__name__}. Give the one that trains it, or None to use the first that steps it.",
                    slug="wrong-optimizer",
                )
        self.model, self.optimizer, self.every = model, optimizer, every
        self.steps = 0
        self.changes: list[tuple[int, Change]] = []
        self.left: dict[tuple[str, tuple[int, ...]], str] = {}
        self.fault = ""
        self._make_score = make_score
        self._recent = RecentInputs()
        self._program: Program | None = None
        self._traced: Any = None
        self._seen: list[_Seen] = []
        self._handles: list[Any] = []

    def start(self, *, hears_steps: bool = True) -> TorchReviver:
        """Begin with the next training step. ``hears_steps``: False if the caller calls :meth:`stepped`."""
        if not self._handles:
            self._handles = [self.model.register_forward_pre_hook(self._called, with_kwargs=True)]
            if hears_steps:
                self._handles.append(register_optimizer_step_post_hook(self.stepped))
            self._hook_seen()
        return self

    def stop(self) -> None:
        """Remove all hooks. The units' history is kept for another :meth:`start`."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> TorchReviver:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- what the training tells ------------------------------------------------------------------------------

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if module.training and torch.is_grad_enabled():
            self._guarded(self._recent.see, args, kwargs)

    def stepped(self, optimizer: Optimizer, args: Any = (), kwargs: Any = None) -> None:
        """The hook after an optimizer's step."""
        if optimizer is self.optimizer or (self.optimizer is None and self._trains(optimizer)):
            self.steps += 1
            self._guarded(self._revive if self._seen else self._prepare, optimizer)

    def _trains(self, optimizer: Optimizer) -> bool:
        if self._holds(self.model, optimizer):
            self.optimizer = optimizer
        return self.optimizer is optimizer

    @staticmethod
    def _holds(model: nn.Module, optimizer: Optimizer) -> bool:
        own = {id(p) for p in model.parameters()}
        return any(id(p) in own for group in optimizer.param_groups for p in group["params"])

    def _guarded(self, work: Callable[..., None], *what: Any) -> None:
        """Training continues after any error here."""
        try:
            work(*what)
        except Exception as error:  # noqa: BLE001 - it is the user's training
            self.stop()
            self.fault = f"{type(error).__name__}: {error}"
            print(
                f"relume: the reviver has stopped; training continues. {self.fault} [reviver-stopped]",
                file=sys.stderr,
            )

    # ---- the work ---------------------------------------------------------------------------------------------

    def _prepare(self, optimizer: Optimizer) -> None:
        batch = self._recent.batch()
        if batch is None or not self.model.training:
            return
        self._program, self._traced = Program(self.model, batch), _shapes(batch)
        found = gates(self._program)
        device = next(self.model.parameters()).device
        self._seen = [
            _Seen(gate, self._program, self._make_score(gate.units, device)) for gate in found if not _why(gate)
        ]
        self.left |= {(gate.place, ()): _why(gate) for gate in found if _why(gate)}
        if not self._seen:
            why = "; ".join(f"{place}: {text}" for (place, _), text in self.left.items()) or "it applies no activation"
            raise CureError(f"No unit of {type(self.model).__name__} can be revived: {why}.", slug="nothing-to-revive")
        self._hook_seen()

    def _hook_seen(self) -> None:
        self._handles += [seen.module.register_forward_hook(seen.forward) for seen in self._seen]

    def _revive(self, optimizer: Optimizer) -> None:
        if self.steps % self.every or not self.model.training:
            return
        if fault := next((seen.fault for seen in self._seen if seen.fault), ""):
            raise CureError(fault, slug="reviver-stopped")
        due = [(seen, seen.due()) for seen in self._seen]
        due = [(seen, units) for seen, units in due if len(units)]
        batch = self._recent.batch() if due else None
        if batch is None or _shapes(batch) != self._traced:
            return
        assert self._program is not None
        self._program.batch = batch
        exact = all(seen.score.exact for seen, _ in due)
        try:
            before = outputs(self.model, batch)
            wanted = [(seen.gate, tuple(units.tolist())) for seen, units in due]
            change = Revival(self._program, before, optimizer, exact=exact).carry_out(wanted)
        except CureError as error:
            self.left[type(self.model).__name__, ()] = str(error)
            return
        self.changes.append((self.steps, change))
        done = {edit.place: edit.units for edit in change.changed}
        for seen, _ in due:
            fresh = done.get(seen.gate.place, ())
            seen.score.replaced(torch.tensor(fresh, dtype=torch.long))

    # ---- what is said -----------------------------------------------------------------------------------------

    @property
    def revived(self) -> int:
        """Units revived so far; one revived twice counts twice."""
        return sum(len(edit.units) for _, change in self.changes for edit in change.changed)

    @property
    def too_early(self) -> str:
        """Why no unit was looked at; "" if they were."""
        if self.steps >= self.every:
            return ""
        return f"dead units are revived every {self.every} steps, and only {self.steps} steps were seen"

    def __repr__(self) -> str:
        lines = [f"Reviver: {self.revived} units revived in {self.steps} steps"]
        lines += [f"  step {step}: {change.changed[0]}" for step, change in self.changes[-3:]]
        lines += [f"  not changed: {Edit(place, units, why)}" for (place, units), why in self.left.items()]
        return "\n".join(lines + ([f"  stopped: {self.fault}"] if self.fault else []))


class _Seen:
    """One activation that is judged at each training step."""

    def __init__(self, gate: Gate, program: Program, score: Score) -> None:
        self.gate, self.score = gate, score
        self._program = program
        self._ndim = gate.makers[0].meta["val"].ndim
        self.fault = ""
        self.module: nn.Module = program.model.get_submodule(path_of(gate.makers[0]))
        self._plain = getattr(torch.ops.aten, operation(gate.node))
        self._rest = [program.tensor(arg) if isinstance(arg, Node) else arg for arg in gate.node.args[1:]]

    def forward(self, module: nn.Module, args: Any, out: Any) -> None:
        """The hook on the layer before the activation; a single observation, with fewer axes, is not a batch."""
        if not module.training or not torch.is_grad_enabled() or out.ndim != self._ndim or self.fault:
            return
        try:
            with torch.no_grad():
                h = self._plain(out.detach(), *self._rest)
                self.score.observe(self.gate.rows_of_layer(h), len(out), self._weights)
        except Exception as error:  # noqa: BLE001 - it is the user's forward pass
            self.fault = f"{type(error).__name__}: {error}"

    def due(self) -> Tensor:
        """The units to replace now, of those that can be."""
        units = self.score.due().tolist()
        return torch.tensor([unit for unit in units if not self.gate.refusal(unit)], dtype=torch.long)

    def _weights(self) -> tuple[Tensor, Tensor]:
        return self.gate.outgoing(self._program), self.gate.incoming(self._program)


def _why(gate: Gate) -> str:
    """Why an activation cannot be judged and revived during a run, "" if it can."""
    if gate.why or not gate.readers:
        return gate.why or next(iter(gate.stops.values()), "no layer reads it")
    if gate.sums:
        return "a tensor is added between its layer and the activation"
    if gate.name == "rrelu":
        return "its units cannot die"
    return ""


def _shapes(batch: Batch) -> list[Any]:
    leaves = pytree.tree_leaves((batch.args, dict(batch.kwargs)))
    return [x.shape if isinstance(x, Tensor) else x for x in leaves]
