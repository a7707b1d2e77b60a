"""What was decided when a call was met, and whether it is still a call of the same objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from relume.torch.watching.units.axes import Tag
from relume.torch.watching.units.values import nothing, reference
from relume.torch.watching.where import places

if TYPE_CHECKING:
    from relume.torch.watching.where.sites import WatchedSite


class KnownCall:
    """What was decided when a call was met: its site, or None if it is not judged; and what it was like.

    ``tag``: where its units lie, without their layer. ``shape``: of the tensor.
    ``at``: the code and the instruction that make the call. ``alone``: the call is an activation module's own.
    ``overwrites``: it writes over the pre-activation by which its firing is counted.
    """

    def __init__(self, place: places.Place, x: Tensor, tag: Tag, site: WatchedSite | None) -> None:
        self._module = reference(place.module)
        self._layer = reference(tag.borrowed.owner if tag.borrowed is not None else tag.layer)
        self.site = site
        self.tag = tag._replace(layer=None, layer_call=None, borrowed=None)
        self.shape = x.shape
        self.at = (place.code, place.instruction)
        self.alone = place.alone
        by_input = site is not None and not site.accumulator.bounds.by_output
        self.overwrites = by_input and bool(getattr(place.module, "inplace", False))

    def is_of(self, module: nn.Module | None, tag: Tag) -> bool:
        """Whether it is still of this module and this layer: an id may have gone to another object."""
        layer = tag.borrowed.owner if tag.borrowed is not None else tag.layer
        return self._module() is module and self._layer() is layer

    def is_gone(self) -> bool:
        """Whether its module or its layer is."""
        return any(thing is not nothing and thing() is None for thing in (self._module, self._layer))

    def fits(self, x: Tensor) -> bool:
        """Whether a tensor has as many axes and units."""
        return x.ndim == len(self.shape) and x.shape[self.tag.axis] == self.shape[self.tag.axis]

    @property
    def module(self) -> nn.Module | None:
        """Its module, while it is alive."""
        return self._module()
