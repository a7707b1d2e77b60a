"""Does relume count every activation of the architectures that others publish, and count it right? `make fidelity`

Each architecture of timm and of transformers is built from its configuration with random weights and trained for two
steps, three times from the same seed: bare; watched by relume; and under a dispatch mode that counts each activation
operator of PyTorch by hand. The weights must be equal to the bit, and so must the counts of every unit, the module's
path and the source line. What has no site must be in the list of what is not observed. One row an architecture goes
to ``fidelity.csv``, and an architecture that has a row is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import signal
import sys
import time
import traceback
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import relume
from relume.watching.bounds import bounds_of

FILE = Path(__file__).with_suffix(".csv")
COLUMNS = (
    "library",
    "architecture",
    "parameters",
    "sites",
    "units",
    "exact",
    "assumed",
    "unjudged",
    "result",
    "seconds",
)
STEPS, BATCH = 2, 2
MOST_PARAMETERS = 60_000_000  # a model of 60 million takes about 20 s on one core
MOST_SECONDS = 240
aten = torch.ops.aten

OPERATORS = {
    aten.relu: "relu", aten.relu_: "relu", aten.hardtanh: "relu6", aten.hardtanh_: "relu6", aten.gelu: "gelu",
    aten.leaky_relu: "leaky_relu", aten.leaky_relu_: "leaky_relu", aten.elu: "elu", aten.elu_: "elu",
    aten.silu: "silu", aten.silu_: "silu", aten.sigmoid: "sigmoid", aten.sigmoid_: "sigmoid", aten.tanh: "tanh",
    aten.tanh_: "tanh", aten._prelu_kernel: "prelu", aten.hardswish: "hardswish", aten.hardswish_: "hardswish",
    aten.hardsigmoid: "hardsigmoid", aten.hardsigmoid_: "hardsigmoid", aten.mish: "mish", aten.mish_: "mish",
    aten.softplus: "softplus", aten.rrelu_with_noise: "rrelu",
}  # fmt: skip
"""The operators that are counted by hand, and the activation of each."""


class Place(NamedTuple):
    """Where an activation is: the path of the innermost module, the line outside PyTorch that called, its name."""

    module: str
    line: int
    activation: str


class Architecture(NamedTuple):
    library: str
    name: str
    build: Callable[[], tuple[nn.Module, Callable[[], Any]]]  # the model, and what makes a batch


class ByHand(TorchDispatchMode):
    """Keeps the input of each activation by its place."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.paths = {module: path for path, module in net.named_modules()}
        self.inside: list[nn.Module] = []
        self.seen: dict[Place, list[Tensor]] = defaultdict(list)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = OPERATORS.get(func.overloadpacket)
        if name is not None and self.inside and args[0].is_floating_point():
            self.seen[Place(self.paths.get(self.inside[-1], type(self.inside[-1]).__name__), line(), name)].append(
                args[0].detach().clone()
            )
        return func(*args, **kwargs or {})

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        hooks = nn.modules.module
        enter = hooks.register_module_forward_pre_hook(lambda module, _: self.inside.append(module))
        leave = hooks.register_module_forward_hook(lambda *_: self.inside.pop() and None, always_call=True)
        try:
            with self:
                yield
        finally:
            enter.remove()
            leave.remove()


def line() -> int:
    """The line of the nearest frame that is neither of PyTorch nor of this file."""
    frame = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename == __file__ or "/torch/" in frame.f_code.co_filename):
        frame = frame.f_back
    return frame.f_lineno if frame is not None else 0


def train(architecture: Architecture, around: Callable[[nn.Module], Any]) -> tuple[Any, dict[str, Tensor], Tensor]:
    """Two steps from seed 0 within the context ``around(net)``: that context, the weights and the generator's state."""
    torch.manual_seed(0)
    net, batch = architecture.build()
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001)
    context = around(net)
    with context if not isinstance(context, ByHand) else context.counting():
        for _ in range(STEPS):
            optimizer.zero_grad()
            sum(each.float().square().mean() for each in floats(batch())(net)).backward()
            optimizer.step()
    return context, net.state_dict(), torch.get_rng_state()


def floats(inputs: Any) -> Callable[[nn.Module], list[Tensor]]:
    def call(net: nn.Module) -> list[Tensor]:
        told = net(**inputs) if isinstance(inputs, dict) else net(inputs)
        return [each for each in leaves(told) if each.is_floating_point() and each.requires_grad]

    return call


def leaves(told: Any) -> Iterator[Tensor]:
    if isinstance(told, Tensor):
        yield told
    elif isinstance(told, dict):
        for each in told.values():
            yield from leaves(each)
    elif isinstance(told, list | tuple):
        for each in told:
            yield from leaves(each)


def fired_by_hand(inputs: list[Tensor], site: dict[str, Any]) -> list[int]:
    """How often each unit fired, along the site's axis."""
    bounds = bounds_of(site["activation"], site["parameters"])
    axis = site["unit_axis"]
    counts = 0
    for x in inputs:
        counts = counts + (x > bounds.fires_above).movedim(axis, -1).reshape(-1, x.shape[axis]).sum(0)
    return counts.tolist()


def judge(architecture: Architecture, bare: dict[str, Tensor], generator: Tensor) -> dict[str, Any]:
    """Train it watched and counted by hand, and hold the one against the other; ``bare``: the weights of neither."""
    watch, watched, generator_watched = train(architecture, lambda net: relume.watch(net, budget=1.0, every=1))
    by_hand, _, _ = train(architecture, ByHand)
    told = watch.to_dict()
    faults = []
    if not torch.equal(generator, generator_watched) or any(not torch.equal(bare[k], watched[k]) for k in bare):
        faults.append("the training was changed")
    places: dict[Place, list[dict[str, Any]]] = defaultdict(list)
    for site in told["sites"]:
        places[Place(site["module"], int(site["source"].rpartition(":")[2]), site["activation"])].append(site)
    exact = 0
    for place, sites in places.items():
        if place not in by_hand.seen:
            faults.append(f"{place.activation} at {place.module}:{place.line} is not so by hand")
        elif counted(sites) != fired_by_hand(by_hand.seen[place], sites[0]):
            faults.append(f"{place.activation} at {place.module}:{place.line} has other counts")
        else:
            exact += len(sites)
    unjudged = [place for place in by_hand.seen if place not in places]
    listed = " ".join(each["what"].lower() + " " + each["why"] for each in told["not_observed"])
    for place in unjudged:
        if place.activation not in listed:
            faults.append(f"{place.activation} at {place.module}:{place.line} is silently left out")
    return {
        "parameters": sum(each.numel() for each in bare.values()),
        "sites": len(told["sites"]),
        "units": sum(site["units"] for site in told["sites"]),
        "exact": exact,
        "assumed": sum(site["axis_assumed"] for site in told["sites"]),
        "unjudged": len(unjudged),
        "result": "; ".join(faults[:3]) + (f" and {len(faults) - 3} more" if len(faults) > 3 else "") or "equal",
    }


def counted(sites: list[dict[str, Any]]) -> list[int]:
    """How often each unit fired by relume's count; of several calls in one line the sum."""
    by_site = [[round(rate * site["samples"]) for rate in site["firing_rate"]] for site in sites]
    return [sum(unit) for unit in zip(*by_site, strict=True)]


# ---- the architectures ---------------------------------------------------------------------------------------------


def of_timm(*, one_a_module: bool) -> list[Architecture]:
    if not find_spec("timm"):
        print("timm is not installed, and is left out")
        return []
    import timm

    names = timm.list_models()
    if one_a_module:
        names = [min(timm.list_models(module=module), key=_size) for module in timm.list_modules()]
    return [Architecture("timm", name, lambda name=name: build_timm(name)) for name in names]


def _size(name: str) -> tuple[int, int, str]:
    """Small models first, by the words for it in their names."""
    words = ("atto", "femto", "pico", "nano", "zepto", "test", "tiny", "xxs", "xs", "mini", "micro", "small")
    numbers = [int(part) for part in "".join(c if c.isdigit() else " " for c in name).split()]
    return -any(word in name for word in words), sum(numbers), name


def build_timm(name: str) -> tuple[nn.Module, Callable[[], Any]]:
    import timm

    with torch.device("meta"):
        net = timm.create_model(name, num_classes=10)
    refuse_large(net)
    channels, *size = net.default_cfg.get("input_size", (3, 224, 224))
    sizes = [64, 128, *size[:1]] if not net.default_cfg.get("fixed_input_size") else size[:1]
    for side in sizes:
        torch.manual_seed(0)
        try:
            try:
                net = timm.create_model(name, num_classes=10, img_size=side)
            except TypeError:
                net = timm.create_model(name, num_classes=10)
            state = torch.get_rng_state()
            with torch.no_grad():
                net.eval()(torch.zeros(BATCH, channels, side, side))
            torch.set_rng_state(state)
            return net, lambda side=side: torch.randn(BATCH, channels, side, side)
        except (RuntimeError, AssertionError, ValueError):
            if side == sizes[-1]:
                raise
    raise AssertionError


class TooLarge(Exception):
    """An architecture with more parameters than are run here."""


def refuse_large(net: nn.Module) -> None:
    number = sum(each.numel() for each in net.parameters())
    if number > MOST_PARAMETERS:
        raise TooLarge(f"{number / 1e6:.0f} million parameters")


SMALL = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embed_dim": 32, "num_hidden_layers": 2, "n_layer": 2,
    "num_layers": 2, "n_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "num_attention_heads": 4, "n_head": 4,
    "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "ffn_dim": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "d_ff": 48, "n_inner": 48,
    "vocab_size": 99, "image_size": 32, "patch_size": 8, "max_position_embeddings": 64, "head_dim": 8, "d_kv": 8,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "moe_intermediate_size": 16, "embedding_size": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
"""What is set in a configuration of transformers that has such an entry."""


def of_transformers() -> list[Architecture]:
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return [
        Architecture("transformers", name, lambda name=name: build_transformers(name)) for name in MODEL_MAPPING_NAMES
    ]


def build_transformers(name: str) -> tuple[nn.Module, Callable[[], Any]]:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(name)
    for part in (config, *(value for value in vars(config).values() if hasattr(value, "to_diff_dict"))):
        for key, value in SMALL.items():
            if isinstance(getattr(part, key, None), int) and key in part.to_dict():
                setattr(part, key, value)
        if isinstance(getattr(part, "layer_types", None), list):
            with contextlib.suppress(AttributeError):  # some give it by the number of layers
                part.layer_types = part.layer_types[:2]
    with torch.device("meta"):
        refuse_large(AutoModel.from_config(config))
    torch.manual_seed(0)
    net = AutoModel.from_config(config, attn_implementation="eager")
    return net, lambda: batch_of(net)


def batch_of(net: nn.Module) -> dict[str, Tensor]:
    shapes = {"pixel_values": (3, 32, 32), "input_values": (4000,), "input_features": (80, 3000)}
    name = net.main_input_name
    if name in shapes:
        side = getattr(net.config, "image_size", 32)
        shape = (getattr(net.config, "num_channels", 3), side, side) if name == "pixel_values" else shapes[name]
        return {name: torch.randn(BATCH, *shape)}
    ids = torch.randint(3, 99, (BATCH, 16))
    return {"input_ids": ids} | ({"decoder_input_ids": ids} if net.config.is_encoder_decoder else {})


# ---- the run -------------------------------------------------------------------------------------------------------


def row(architecture: Architecture) -> dict[str, Any]:
    """The row of one architecture; one that cannot be built or trained bare is told apart from a fault of ours."""
    began = time.monotonic()
    told: dict[str, Any] = {"library": architecture.library, "architecture": architecture.name}
    signal.alarm(MOST_SECONDS)
    try:
        try:
            _, *bare = train(architecture, lambda _: contextlib.nullcontext())
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            told["result"] = f"not run: {type(error).__name__}: {' '.join(str(error).split())[:90]}"
        else:
            told |= judge(architecture, *bare)
    except Exception as error:  # noqa: BLE001 - a fault of relume or of this file
        traceback.print_exc()
        told["result"] = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:90]}"
    finally:
        signal.alarm(0)
    return told | {"seconds": round(time.monotonic() - began, 1)}


def late(*_: Any) -> None:
    raise TimeoutError(f"more than {MOST_SECONDS} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=("timm", "transformers"))
    parser.add_argument("--one-a-module", action="store_true", help="of each of timm's modules a small model")
    parser.add_argument("--shard", default="1/1", help="k/n: the k-th of n parts")
    parser.add_argument("--only", default="", help="these architectures, by comma; they are run again and not saved")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, late)
    part, parts = map(int, asked.shard.split("/"))
    found: list[Architecture] = []
    if asked.library != "transformers":
        found += of_timm(one_a_module=asked.one_a_module)
    if asked.library != "timm":
        found += of_transformers()
    only = set(filter(None, asked.only.split(",")))
    done = set() if only or not FILE.exists() else {tuple(line[:2]) for line in csv.reader(FILE.open())}
    for architecture in found[part - 1 :: parts]:
        if architecture[:2] not in done and (not only or architecture.name in only):
            told = row(architecture)
            print({key: told[key] for key in COLUMNS if key in told}, flush=True)
            if not only:
                save(told)


def save(told: dict[str, Any]) -> None:
    new = not FILE.exists()
    with FILE.open("a", newline="") as out:
        rows = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        if new:
            rows.writeheader()
        rows.writerow(told)


if __name__ == "__main__":
    main()
