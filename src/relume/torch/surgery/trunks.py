"""Residual trunks: a unit that sums add to, or products multiply, can only be cut out of all that they join."""

from __future__ import annotations

import dataclasses

import torch
from torch.fx import Node

from relume.torch.surgery.channels import Channels, follow
from relume.torch.surgery.gates import Gate, axis_of, makers_of, refuse_shared, unfit_maker
from relume.torch.surgery.program import Program, path_of, shape_of


def trunk(program: Program, gate: Gate) -> Gate | None:
    """The gate with all that the sums and products behind it join: their makers as carriers, the readers of all.

    None if there is none, or if a maker has other units or weights that cannot be cut.
    """
    waiting, seen = [gate.makers[-1]], [*gate.makers]
    found = dataclasses.replace(gate, readers=[], carriers=[], stops={})
    read: set[Node] = set()
    while waiting:
        maker = waiting.pop()
        if unfit_maker(program, maker, {maker}) or shape_of(maker)[axis_of(maker)] != gate.units:
            return None
        route = follow(program, maker, Channels(axis_of(maker), torch.arange(gate.units)), carry=True, join=True)
        found.stops |= route.stops
        found.readers += [reader for reader in route.readers if reader.node not in read]
        read |= {reader.node for reader in route.readers}
        found.carriers += [carried for carried in route.carriers if carried[0] not in seen]
        seen += [node for node, _ in route.carriers]
        for node in route.joined:
            makers = makers_of(node)
            if not makers:
                return None
            for each in makers:
                if each not in seen:
                    seen.append(each)
                    waiting.append(each)
                    found.carriers.append((each, Channels(axis_of(each), torch.arange(gate.units))))
    refuse_shared(program, found)
    return found


def key(gate: Gate) -> frozenset[str]:
    """What two gates of one trunk have in common: the layers that are cut with them."""
    return frozenset(path_of(node) for node in [*gate.makers, *(node for node, _ in gate.carriers)])
