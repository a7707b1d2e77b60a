"""What a contender learns: parameters that lie on the script's own modules before anyone has seen these.

A PReLU's slopes and a user's own module are made when the construction of the module that owns the site is over. So
they are in ``parameters()``, ``state_dict()``, in copies, and move with ``.to()``.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter
from torch.optim import Optimizer

from relume.artifacts.swap_plan import Birth, SwapSite
from relume.artifacts.trial import Contender
from relume.torch.treatment.births import WeakModules, birth_of, kind_of
from relume.torch.treatment.routes import Route
from relume.torch.watching.units.axes import assumed_axis
from relume.watching.patches import Patches

_NAMES = "_relume_learned"  # on a module: the key of a site's parameters → the name of the attribute
_ADOPTED = "adopted"  # the key of what came with a checkpoint
_CHANNELS = ("ConvolutionBackward0", "NativeBatchNormBackward0", "CudnnBatchNormBackward0", "NativeGroupNormBackward0")
"""What autograd calls the makers of tensors of the shape (N, C, L)."""
FINE_TUNING = "fine-tuning from ReLU weights: a checkpoint without the contender's parameters was loaded"


class Learned:
    """The parameters of one contender, wherever they lie.

    Args:
        make: makes what a site learns, from the site: a Parameter or a module.
        sites: that are replaced.
    """

    def __init__(self, make: Callable[[SwapSite], Parameter | nn.Module], sites: Sequence[SwapSite]) -> None:
        self._make = make
        self._owned: dict[Birth, list[SwapSite]] = {}
        for site in sites:
            if site.owner is not None:
                self._owned.setdefault(site.owner, []).append(site)
        self._layers = {site.layer for site in sites if site.layer is not None}
        self._sharing = _sharing(sites)
        self._ran: Birth | None = None  # the last one of these layers that was called
        self._hooks: list[Any] = []
        self._modules: dict[Birth, WeakModules] = {}  # the layers before the sites
        self._known: dict[int, weakref.ref[Any]] = {}
        self._homeless: list[tuple[weakref.ref[Any], Birth | None]] = []  # in no optimiser yet
        self._loose: dict[Any, Any] = {}  # of sites outside any module
        self.notes: list[str] = []

    @property
    def owners(self) -> set[str]:
        """The kinds of the modules on which parameters are put."""
        return {birth.kind for birth in self._owned}

    @property
    def kinds(self) -> set[str]:
        """The kinds of all modules that must be told apart."""
        return self.owners | {birth.kind for birth in self._layers}

    def start(self, patches: Patches) -> None:
        """Take checkpoints that lack our parameters."""
        original, lacking = nn.Module.load_state_dict, self._with_lacking

        @functools.wraps(original)
        def load_state_dict(self: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            return original(self, lacking(self, state_dict), *args, **kwargs)

        patches.put(nn.Module, "load_state_dict", load_state_dict)
        load, spaced = Optimizer.load_state_dict, self._with_places

        @functools.wraps(load)
        def load_optimizer(self: Optimizer, state_dict: Any) -> None:
            load(self, spaced(self, state_dict))

        patches.put(Optimizer, "load_state_dict", load_optimizer)
        patches.on_undo(self._unhook)

    def met(self, module: nn.Module) -> None:
        """A module of :attr:`kinds` begins to be."""
        birth = birth_of(module)
        if birth is not None and birth in self._layers:
            self._modules.setdefault(birth, WeakModules()).add(module)
            if birth in self._sharing:
                self._hooks.append(module.register_forward_hook(self._runs()))

    def born(self, module: nn.Module) -> None:
        """A module of :attr:`owners` is constructed: give it what its sites learn."""
        birth = birth_of(module)
        sites = self._sites_of(birth) if birth is not None else []
        for site in sites:
            self._put(module, key_of(site), site, single=len(sites) == 1)

    def _sites_of(self, birth: Birth) -> list[SwapSite]:
        """The sites of a module; of one that the survey did not see, those of its class where they are all alike."""
        if birth in self._owned:
            return self._owned[birth]
        others = [sites for other, sites in self._owned.items() if other.kind == birth.kind]
        alike = len({tuple((site.spot, site.units) for site in sites) for sites in others}) == 1
        return others[0] if alike and not any(site.alone for site in others[0]) else []

    def at(self, route: Route, x: Tensor) -> tuple[Any, SwapSite]:
        """What a place learns, the Parameter or the module, and as which site.

        It is made now where nobody could make it before: for a place or a width that the survey did not see.
        """
        site = self._site(route, x)
        learned = self.of(route, site, x.device)
        for parameter in _parameters(learned):
            if not isinstance(parameter, Parameter):  # a stand-in: of a replica, of torch.func.functional_call
                continue
            if id(parameter) not in self._known or self._known[id(parameter)]() is not parameter:
                self._know(parameter, site.layer)  # a copy's
            if parameter.device != x.device or (
                parameter.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type)
            ):
                parameter.data = parameter.data.to(x.device, x.dtype)
        return learned, site

    def of(self, route: Route, site: SwapSite, device: torch.device | None = None) -> Any:
        """What a place learns as this site."""
        owner, key = route.module(), key_of(site)
        if owner is None:
            if key not in self._loose:
                self._loose[key] = self._made(site, device)
            return self._loose[key]
        names = owner.__dict__.get(_NAMES, {})
        name = names.get(key) or (names.get(_ADOPTED) if len(names) == 1 else None)
        return self._put(owner, key, site, single=False, device=device) if name is None else getattr(owner, name)

    def is_learned(self, parameter: Any) -> bool:
        """Whether a parameter is one of ours."""
        known = self._known.get(id(parameter))
        return known is not None and known() is parameter

    def house(self, optimizer: Optimizer) -> None:
        """Before a step: parameters that the script's optimisers do not hold go to the group of their layer."""
        if not self._homeless:
            return
        groups = optimizer.param_groups
        held = {id(p): group for group in groups for p in group["params"]}
        left = []
        for reference, layer in self._homeless:
            parameter = reference()
            if parameter is None or id(parameter) in held:
                continue
            group = next((held[id(p)] for p in self._layer(layer) if id(p) in held), None)
            if group is None and parameter.grad is not None and not self._modules.get(layer):  # type: ignore[arg-type]
                group = groups[0]
            if group is None:
                left.append((reference, layer))
            else:
                group["params"].append(parameter)
        self._homeless = left

    def _runs(self) -> Callable[[nn.Module, Any, Any], None]:
        def runs(module: nn.Module, args: Any, out: Any) -> None:  # no method: a copy of the module would copy us
            self._ran = birth_of(module)

        return runs

    def _unhook(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _site(self, route: Route, x: Tensor) -> SwapSite:
        """The site of a call: where layers share one, that of the layer which was called last."""
        fitting = [site for site in route.sites if _fits(site, x)]
        if len(fitting) > 1:
            return next((site for site in fitting if site.layer == self._ran), fitting[0])
        if fitting:
            return fitting[0]
        layer = route.sites[0].layer if route.sites else None
        axis = 1 if x.ndim == 3 and type(x.grad_fn).__name__ in _CHANNELS else assumed_axis(x.shape)
        units = x.shape[axis] if x.ndim else 1
        site = SwapSite("", "", "", "", 0, None, route.alone, route.spot, layer, axis, x.ndim, units)
        route.sites = route.sites or [site]  # a call without gradients would not know the axis
        return site

    def _layer(self, birth: Birth | None) -> Iterator[Parameter]:
        for module in self._modules.get(birth, ()) if birth is not None else ():
            yield from module.parameters(recurse=False)

    def _put(self, owner: nn.Module, key: Any, site: SwapSite, *, single: bool, device: Any = None) -> Any:
        names = owner.__dict__.get(_NAMES)
        if names is None:
            names = owner.__dict__[_NAMES] = {}
        if key in names:
            return getattr(owner, names[key])
        learned = self._made(site, device)
        if single and site.alone and isinstance(learned, Parameter) and not hasattr(owner, "weight"):
            name = "weight"
        else:
            name = f"relume_slope_{len(names)}" if isinstance(learned, Parameter) else f"relume_{len(names)}"
        names[key] = name
        setattr(owner, name, learned)
        return learned

    def _made(self, site: SwapSite, device: Any) -> Any:
        learned = self._make(site)
        if device is not None:
            learned = learned.to(device) if isinstance(learned, nn.Module) else Parameter(learned.detach().to(device))
        for parameter in _parameters(learned):
            self._know(parameter, site.layer)
        return learned

    def _know(self, parameter: Parameter, layer: Birth | None) -> None:
        reference = weakref.ref(parameter)
        self._known[id(parameter)] = reference
        self._homeless.append((reference, layer))

    def _with_lacking(self, module: nn.Module, state: Any) -> Any:
        """A checkpoint with our own parameters as they are, where it has none."""
        lacking = {}
        self._adopt(module, state)
        for path, owner in module.named_modules():
            for name in owner.__dict__.get(_NAMES, {}).values():
                for own, tensor in _states(getattr(owner, name)):
                    full = ".".join(part for part in (path, name, own) if part)
                    if full not in state:
                        lacking[full] = tensor
        if not lacking:
            return state
        if FINE_TUNING not in self.notes:
            self.notes.append(FINE_TUNING)
        whole = state.copy()
        whole.update(lacking)
        return whole

    def _adopt(self, module: nn.Module, state: Any) -> None:
        """Slopes of a checkpoint of this trial's for an activation module that the survey did not see."""
        kinds = {birth.kind for birth, sites in self._owned.items() if len(sites) == 1 and sites[0].alone}
        for path, owner in module.named_modules():
            saved = state.get(f"{path}.weight" if path else "weight")
            if kind_of(type(owner)) in kinds and not hasattr(owner, "weight") and isinstance(saved, Tensor):
                owner.__dict__[_NAMES] = {_ADOPTED: "weight"}
                owner.weight = Parameter(torch.empty_like(saved))
                self._know(owner.weight, None)

    def _with_places(self, optimizer: Optimizer, state: Any) -> Any:
        """An optimiser's checkpoint of the script without us, with places for our parameters, which have no state."""
        fresh, groups = -1, []
        for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=False):
            ours = [self.is_learned(p) for p in group["params"]]
            places = iter(saved["params"])
            if any(ours) and len(saved["params"]) == len(ours) - sum(ours):
                ids = []
                for own in ours:
                    ids.append(fresh if own else next(places))
                    fresh -= own
                saved = {**saved, "params": ids}
            groups.append(saved)
        if fresh == -1 or len(groups) != len(state["param_groups"]):
            return state
        return {**state, "param_groups": groups}


def maker(contender: Contender, own: Any) -> Callable[[SwapSite], Parameter | nn.Module]:
    """What makes the parameters of a site: a PReLU's slopes, or the user's module."""
    if contender.activation == "prelu":
        start = float(contender.parameters.get("weight", 0.25))

        def slopes(site: SwapSite) -> Parameter:
            return Parameter(torch.full((1 if contender.slopes == "shared" else site.units,), start))

        return slopes

    def module(site: SwapSite) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # its start values take no numbers from the script's
            return own()

    return module


def _sharing(sites: Sequence[SwapSite]) -> set[Birth]:
    """The layers whose results go through one and the same call."""
    together: dict[Any, set[Birth]] = {}
    for site in sites:
        if site.layer is not None:
            together.setdefault((site.owner, site.spot), set()).add(site.layer)
    return {layer for layers in together.values() if len(layers) > 1 for layer in layers}


def _fits(site: SwapSite, x: Tensor) -> bool:
    """Whether the units of a site lie where they did, counted from the back where there are more axes or less."""
    axis = site.axis - site.ndim
    return x.ndim >= -axis and x.shape[axis] % (site.units * site.inner) == 0


def key_of(site: SwapSite) -> Any:
    """By what a module knows the parameters of one of its sites."""
    return (site.spot, site.layer, site.units)


def _parameters(learned: Any) -> Any:
    return (learned,) if isinstance(learned, Tensor) else tuple(learned.parameters())


def _states(learned: Any) -> Any:
    return (("", learned.detach()),) if isinstance(learned, Tensor) else learned.state_dict().items()
