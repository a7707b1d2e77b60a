"""Dead units get fresh incoming weights and zero outgoing weights: the outputs stay, and the units fire again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.optim import Optimizer

from relume.artifacts.change import Change, Check, Edit
from relume.artifacts.findings import Findings
from relume.artifacts.numbers import percent
from relume.errors import CureError
from relume.torch.surgery.channels import Reader
from relume.torch.surgery.gates import Gate, dead_units, gates, unit_axis
from relume.torch.surgery.program import Program, operation, path_of
from relume.torch.surgery.refusals import refuse_optimizer
from relume.torch.surgery.rest import ULPS, Batch, Outputs, at_rest, distance, outputs
from relume.torch.surgery.rewrite import DRAWS, Rewrite

Target = tuple[Gate, tuple[int, ...]]
Place = tuple[str, int, Sequence[int]]
"""The module path of an activation, the line that calls it, and units."""


def revive(model: nn.Module, findings: Findings, batch: Any, *, optimizer: Optimizer | None = None) -> Change:
    """See :func:`relume.revive`."""
    given = Batch.of(batch)
    before = outputs(model, given)
    program = Program(model, given)
    wanted = dead_units(findings, program, gates(program))
    if not wanted:
        return Change("revive", (), (), (), str(given))
    return Revival(program, before, optimizer).carry_out(wanted.values())


def revive_at(model: nn.Module, places: Sequence[Place], batch: Any, *, optimizer: Optimizer | None = None) -> Change:
    """Like :func:`revive`, for units given by the module path of their activation and its line."""
    given = Batch.of(batch)
    before = outputs(model, given)
    program = Program(model, given)
    found = gates(program)
    wanted = []
    for module, line, units in places:
        there = [gate for gate in found if gate.is_at(module)]
        there = [gate for gate in there if gate.is_at(module, line)] if len(there) > 1 else there
        if len(there) != 1 or max(units, default=0) >= there[0].units:
            known = ", ".join(f"{gate.place} ({gate.units} units)" for gate in found)
            raise CureError(
                f"The plan names units {min(units)} to {max(units)} of {module or 'the model itself'} (line {line}), "
                f"which {type(model).__name__} does not have. It has: {known}. Give the model that was run.",
                slug="plan-of-another",
            )
        wanted.append((there[0], tuple(units)))
    return Revival(program, before, optimizer).carry_out(wanted)


MOST_DRAWS = 3
"""Draws before a unit is left dead. On 3 of 60 draws one unit of a U-Net fired on all samples or none."""


@dataclass
class Shares:
    """What the proof found for each unit: the share of samples on which it fires, and whether a gradient reaches it."""

    fires: dict[tuple[str, int], float] = field(default_factory=dict)
    reached: dict[tuple[str, int], bool] = field(default_factory=dict)

    def failing(self) -> dict[tuple[str, int], str]:
        """Units that are still dead, each with the reason."""
        found = {
            key: "no gradient reaches it, as its readers are dead too" for key, ok in self.reached.items() if not ok
        }
        silent = {
            key: "fires on all samples or none, whatever its bias" for key, s in self.fires.items() if not 0 < s < 1
        }
        return found | silent


class Revival:
    """The revival of some units of one model, all or none of them.

    Args:
        program: the model and the batch. ``before``: its outputs on it. ``optimizer``: what trains it, or None.
        exact: outputs must stay; False to replace living units, as ReDo does.
    """

    def __init__(
        self, program: Program, before: Outputs, optimizer: Optimizer | None = None, *, exact: bool = True
    ) -> None:
        self._program, self._before, self._optimizer, self._exact = program, before, optimizer, exact
        self._left: dict[tuple[str, int], str] = {}

    def carry_out(self, wanted: Iterable[Target]) -> Change:
        """Revive the units that can be; those whose proof fails are restored and listed.

        Raises: CureError: none could be revived, or the outputs moved.
        """
        targets, again = self._curable(list(wanted)), MOST_DRAWS
        while targets:
            rewrite = Rewrite(self._optimizer)
            try:
                self._rewrite(targets, rewrite)
                shares = self._measure(targets)
                failing = shares.failing()
                moved = distance(self._before, outputs(self._program.model, self._program.batch))
                if self._exact and moved[1] > ULPS:
                    raise CureError(
                        f"The outputs moved by {moved[0]:.2g} of the largest one, though the units were silent on the "
                        "batch. Everything was rolled back. The model may be random, or its units may fire in the "
                        "other mode: try evaluation mode.",
                        slug="proof-failed",
                    )
                if not rewrite.is_anew():
                    raise CureError(
                        f"{type(self._optimizer).__name__} still has moments of redrawn weights. Everything was rolled "
                        "back. Give optimizer=None, and create a new optimizer after the cure.",
                        slug="proof-failed",
                    )
            except BaseException:
                rewrite.undo()
                raise
            if not failing:
                return self._change(targets, shares, moved)
            rewrite.undo()
            again -= 1
            if not again:
                self._left |= failing
                targets, again = self._without(targets, failing), MOST_DRAWS
        raise CureError(
            f"No unit could be revived. {'; '.join(map(str, self._edits_left()))}. The model is unchanged.",
            slug="nothing-to-revive",
        )

    # ---- which units ------------------------------------------------------------------------------------------

    def _curable(self, wanted: list[Target]) -> list[Target]:
        nodes = [each.node for gate, _ in wanted for each in gate.applications]
        modes = {mode: self._program.values(nodes, mode) for mode in self._before} if self._exact else {}
        found = []
        for gate, units in wanted:
            why = {unit: gate.refusal(unit) or self._unfit_layer(gate) for unit in units}
            for mode, values in modes.items() if not gate.why else ():
                rows = [each.rows(values[each.node]).any(1) for each in gate.applications]
                fires = torch.stack(rows).any(0).tolist()
                for unit in units:
                    if not why[unit] and fires[unit]:
                        why[unit] = f"it fires on the batch in {mode} mode: not dead on these data, or no longer"
            self._left |= {(gate.place, unit): text for unit, text in why.items() if text}
            found.append((gate, tuple(unit for unit in units if not why[unit])))
        return [(gate, units) for gate, units in found if units]

    def _unfit_layer(self, gate: Gate) -> str:
        if not gate.readers:
            return "no layer reads it"
        if gate.layer is not None and not hasattr(self._module(gate.layer), "reset_parameters"):
            return f"{path_of(gate.layer)} has no reset_parameters() to draw its weights"
        if gate.norm is None or not hasattr(self._module(gate.norm), "running_mean"):
            return ""
        return "" if self._module(gate.norm).weight is not None or gate.layer is not None else "its layer has no weight"

    @staticmethod
    def _without(targets: list[Target], failing: Mapping[tuple[str, int], str]) -> list[Target]:
        kept = [(gate, tuple(unit for unit in units if (gate.place, unit) not in failing)) for gate, units in targets]
        return [(gate, units) for gate, units in kept if units]

    # ---- the rewrite ------------------------------------------------------------------------------------------

    def _rewrite(self, targets: list[Target], rewrite: Rewrite) -> None:
        if self._optimizer is not None:
            refuse_optimizer(self._optimizer, self._written(targets))
        for gate, units in targets:
            for reader in gate.readers:
                weight = self._program.model.get_parameter(reader.weight)
                for unit in units:
                    for index in reader.columns(unit, weight):
                        rewrite.write(weight, index, 0)
            self._draw(gate, list(units), rewrite)
        self._settle(targets, rewrite)

    def _written(self, targets: list[Target]) -> list[tuple[str, Tensor]]:
        names = [reader.weight for gate, _ in targets for reader in gate.readers]
        names += [
            f"{path_of(maker)}.{name}" if path_of(maker) else name
            for gate, _ in targets
            for maker in gate.makers
            for name, _ in self._module(maker).named_parameters(recurse=False)
        ]
        return [(name, self._program.model.get_parameter(name)) for name in names]

    def _draw(self, gate: Gate, units: list[int], rewrite: Rewrite) -> None:
        """Fresh rows; a normalization begins with the scale 1."""
        for maker in gate.makers:
            module = self._module(maker)
            fresh = DRAWS.fresh(module) if maker is gate.layer else {"weight": torch.ones(gate.units)}
            for name, parameter in module.named_parameters(recurse=False):
                axis = unit_axis(maker) if name == "weight" else 0
                value = fresh["weight"].index_select(axis, torch.tensor(units)).to(parameter) if name == "weight" else 0
                rewrite.write(parameter, (*[slice(None)] * axis, units), value)

    def _settle(self, targets: list[Target], rewrite: Rewrite) -> None:
        """Running statistics of the batch, then the bias at which a unit fires on half of the batch."""
        normed = [(gate, units) for gate, units in targets if self._running(gate) is not None]
        values = self._program.values(each.layer for gate, _ in normed for each in gate.applications)
        for gate, units in normed:
            made = torch.cat([values[each.layer].movedim(1, 0).flatten(1) for each in gate.applications], 1)
            module = self._module(gate.norm)
            rewrite.write(module.running_mean, list(units), made[list(units)].mean(1).to(module.running_mean))
            spread = made[list(units)].var(1, unbiased=made.shape[1] > 1)
            rewrite.write(module.running_var, list(units), spread.to(module.running_var))
        values = self._values(targets)
        for gate, units in targets:
            bias = next((b for m in gate.makers if (b := getattr(self._module(m), "bias", None)) is not None), None)
            if bias is not None:
                middle = gate.inputs(values)[list(units)].float().quantile(0.5, dim=1)
                rewrite.write(bias, list(units), -middle.to(bias))

    def _running(self, gate: Gate) -> Tensor | None:
        if gate.norm is None or gate.layer is None or operation(gate.norm) != "batch_norm":
            return None
        return getattr(self._module(gate.norm), "running_mean", None)

    def _values(self, targets: list[Target]) -> dict[Node, Tensor]:
        return self._program.values(each.input for gate, _ in targets for each in gate.applications)

    def _module(self, maker: Node | None) -> Any:
        assert maker is not None
        return self._program.model.get_submodule(path_of(maker))

    # ---- the proof --------------------------------------------------------------------------------------------

    def _measure(self, targets: list[Target]) -> Shares:
        shares = Shares()
        values = self._values(targets)
        for gate, units in targets:
            firing = (gate.inputs(values) > 0).double().mean(1).tolist()
            shares.fires |= {(gate.place, unit): firing[unit] for unit in units}
        gradients = self._gradients({reader.weight for gate, _ in targets for reader in gate.readers})
        for gate, units in reversed(targets):  # later ones first: they may be the only readers of an earlier one
            for unit in units:
                shares.reached[gate.place, unit] = any(
                    bool(gradients[reader.weight][index].any()) or self._is_revived(reader, index, targets, shares)
                    for reader in gate.readers
                    for index in reader.columns(unit, self._program.model.get_parameter(reader.weight))
                )
        return shares

    @staticmethod
    def _is_revived(reader: Reader, index: tuple[Any, ...], targets: list[Target], shares: Shares) -> bool:
        """Whether a reader's weights feed a unit that is revived too: the gradient comes once that one is read."""
        rows = index[0] if isinstance(index[0], slice) else slice(None)
        return any(
            unit in range(gate.units)[rows] and shares.reached[gate.place, unit]
            for gate, units in targets
            if reader.node in [maker for each in gate.applications for maker in each.makers]
            for unit in units
        )

    def _gradients(self, names: set[str]) -> dict[str, Tensor]:
        """Gradients of a random sum of the outputs: no particular sum that a loss takes is special."""
        model, batch = self._program.model, self._program.batch
        parameters = {name: model.get_parameter(name) for name in names}
        trained = {name: p for name, p in parameters.items() if p.requires_grad}
        with at_rest(model), torch.enable_grad():
            torch.default_generator.manual_seed(0)
            result = model(*batch.args, **batch.kwargs)
            told = [x for x in torch.utils._pytree.tree_leaves(result) if isinstance(x, Tensor) and x.requires_grad]
            zeros = {name: torch.zeros_like(p) for name, p in parameters.items()}
            if not told or not trained:
                return zeros
            total = sum((x.float() * torch.randn(x.shape).to(x.device)).sum() for x in told)
            found = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
        return zeros | {name: g for name, g in zip(trained, found, strict=True) if g is not None}

    # ---- what is said -----------------------------------------------------------------------------------------

    def _edits_left(self) -> list[Edit]:
        return _grouped(self._left)

    def _change(self, targets: list[Target], shares: Shares, moved: tuple[float, float]) -> Change:
        changed = [
            Edit(gate.place, units, f"fresh weights into {path_of(gate.makers[-1])}; zero into {_reading(gate)}")
            for gate, units in targets
        ]
        rates = sorted(shares.fires.values())
        proof = (
            Check("outputs stay" if self._exact else "outputs", True, f"moved by {moved[0]:.1e} ({moved[1]:.1f} ulp)"),
            Check("units fire", True, f"on {percent(rates[0], 0)} to {percent(rates[-1], 0)} of the samples"),
            Check("a gradient reaches them", True, f"at all {len(rates)} units"),
            *([Check("optimizer state reset", True, "at their weights")] if self._optimizer is not None else []),
        )
        modes = " and ".join(self._before)
        return Change(
            "revive", tuple(changed), tuple(self._edits_left()), proof, f"{self._program.batch}, {modes} mode"
        )


def _grouped(left: Mapping[tuple[str, int], str]) -> list[Edit]:
    units: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (place, unit), why in left.items():
        units[place, why].append(unit)
    return [Edit(place, tuple(sorted(group)), why) for (place, why), group in units.items()]


def _reading(gate: Gate) -> str:
    return ", ".join(dict.fromkeys(reader.weight for reader in gate.readers))
