"""Ways in which people write networks, each with units that are made dead, and its own record of what really fired.

A network calls ``self.note(label, pre)`` with every pre-activation, before the activation: the truth that the watching
is held against. Labels come in the order of the sites' first calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import relume.torch as rt
import relume.torch.functional as rf

OFF = -50.0


class Noting(nn.Module):
    """A network that notes its pre-activations: label → how often each unit was above zero."""

    def __init__(self) -> None:
        super().__init__()
        self.fired: dict[str, Tensor] = {}

    def note(self, label: str, pre: Tensor, axis: int = -1) -> Tensor:
        if torch._C._current_graph_task_id() == -1 and self.training:
            with torch._C.DisableTorchFunction(), torch.no_grad():
                axis %= pre.ndim
                counts = (pre.detach() > 0).sum([d for d in range(pre.ndim) if d != axis]) if pre.ndim > 1 else pre > 0
                self.fired[label] = self.fired.get(label, 0) + counts
        return pre

    def noted(self, label: str, pre: Tensor) -> None:
        """As a forward hook, which must return nothing."""
        self.note(label, pre)


def kill(layer: nn.Module, *units: int) -> None:
    with torch.no_grad():
        for unit in units:
            layer.bias[unit] = OFF


class Modules(Noting):
    """nn.ReLU members of an nn.Sequential cannot note; plain attributes can."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(16, 32), nn.Linear(32, 24), nn.Linear(24, 4)
        self.relu1, self.relu2 = nn.ReLU(inplace), nn.ReLU(inplace)
        kill(self.a, 1, 7, 30)
        kill(self.b, 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.note("a", self.a(x)))
        return self.c(self.relu2(self.note("b", self.b(x))))


class Calls(Noting):
    """Functional, method and in-place calls, and clamps."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(6))
        self.stored = F.relu
        for number, layer in enumerate(self.layers):
            kill(layer, number, number + 5)

    def forward(self, x: Tensor) -> Tensor:
        one, two, three, four, five, six = self.layers
        x = F.relu(self.note("1", one(x)))
        x = torch.relu(self.note("2", two(x)))
        x = self.note("3", three(x)).relu_()
        x = self.note("4", four(x)).clamp(min=0)
        x = self.stored(self.note("5", five(x)))
        return torch.maximum(self.note("6", six(x)), torch.tensor(0.0))


class Shared(Noting):
    """One ReLU at two call sites of a block, in place, as in torchvision's ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        with torch.no_grad():
            self.bn1.weight[:5] = 0
            self.bn1.bias[:5] = -1

    def forward(self, x: Tensor) -> Tensor:
        skip = F.pad(x.view(-1, 4, 4, 4), (0, 0, 0, 0, 2, 2))
        x = self.relu(self.note("first", self.bn1(self.conv1(x.view(-1, 4, 4, 4))), 1))
        x = self.bn2(self.conv2(x))
        x += skip
        return self.relu(self.note("second", x, 1)).mean((2, 3))


class Loop(Noting):
    """The same instruction on other layers: a site each. A recurrent cell: one site."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.cell = nn.Linear(16, 16)
        for number, layer in enumerate(self.layers):
            kill(layer, 2 * number)
        kill(self.cell, 9)

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = F.relu(self.note(str(number), layer(x)))
        for _ in range(4):
            x = F.relu(self.note("cell", self.cell(x)))
        return x


class TimeFeatures(Noting):
    """(batch, time, features) out of a linear layer, and (batch, channels, time) out of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.conv = nn.Linear(16, 12), nn.Conv1d(12, 6, 3)
        kill(self.linear, 3)
        kill(self.conv, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1) * torch.linspace(0.5, 1.5, 12).view(1, 12, 1)  # time and features are both 12 wide
        x = F.relu(self.note("features", self.linear(x), 2))
        x = F.relu(self.note("channels", self.conv(x.transpose(1, 2)), 1))
        return x.mean(2)


class Moved(Noting):
    """Units that are carried through reshapes: normalisation, pooling, flatten, permute, cat, add."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.linear = nn.Linear(16, 8)
        with torch.no_grad():
            self.norm.weight[2] = 0
            self.norm.bias[2] = -1
        kill(self.linear, 6)

    def forward(self, x: Tensor) -> Tensor:
        flat, x = x, x.view(-1, 1, 4, 4)
        x = F.max_pool2d(F.dropout(self.norm(self.conv(x)), 0.0), 2)
        x = F.relu(self.note("permuted", x.permute(0, 2, 3, 1)))  # N, H, W, C
        x = x.permute(0, 3, 1, 2).flatten(1)  # units of four features each
        noted = self.note("flat", (x - 0.1).view(-1, 8, 4), 1)
        y = F.relu(noted.flatten(1))
        z = torch.cat([self.linear(flat), -self.linear(flat).abs()], dim=-1)
        return F.relu(self.note("joined", z)).sum(1, keepdim=True) + y.sum(1, keepdim=True)


class Encoder(Noting):
    """nn.TransformerEncoderLayer keeps F.relu in an attribute and applies it in torch's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        kill(self.layer.linear1, 4, 5)
        self.layer.linear1.register_forward_hook(lambda module, args, out: self.noted("feed-forward", out))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.unsqueeze(1) * torch.linspace(0.5, 1.5, 3).view(1, 3, 1)).mean(1)


class EarlyExit(Noting):
    """A layer that some batches skip: the sites behind it keep their names."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(16, 16) for _ in range(3))
        self.calls = 0
        kill(self.b, 3)
        kill(self.c, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = F.relu(self.note("a", self.a(x)))
        if self.calls % 3:
            x = F.relu(self.note("b", self.b(x)))
        return F.relu(self.note("c", self.c(x)))


class Checkpointed(Noting):
    """A recomputed forward is not counted twice."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
        kill(self.b, 2)

    def block(self, x: Tensor) -> Tensor:
        return F.relu(self.note("b", self.b(x)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.note("a", self.a(x)))
        return checkpoint(self.block, x, use_reentrant=self.reentrant)


class WeightNormed(Noting):
    """A weight that is computed anew on every call is still one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
        self.b = nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16))
        kill(self.a, 11)
        kill(self.b, 12)

    def forward(self, x: Tensor) -> Tensor:
        for label, layer in (("a", self.a), ("b", self.b)):
            x = F.relu(self.note(label, layer(x)))
        return x


class HalfPrecision(Noting):
    """bfloat16 by autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 64), nn.Linear(64, 16)
        kill(self.a, 33)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.b(F.relu(self.note("a", self.a(x)))).float()


class ChannelsLast(Noting):
    """A convolution whose units lie innermost in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(1, 8, 3), nn.ConvTranspose2d(8, 6, 2)
        kill(self.conv, 0)
        kill(self.up, 5)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 4, 4).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.note("conv", self.conv(x), 1))
        return F.relu(self.note("up", self.up(x), 1)).mean((2, 3))


class Products(Noting):
    """Layers written as products with parameters, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(16, 10) / 4), nn.Parameter(torch.zeros(10))
        self.v = nn.Parameter(torch.randn(10, 10) / 4)
        with torch.no_grad():
            self.b[4] = OFF

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.note("w", x @ self.w + self.b))
        return torch.relu(self.note("v", torch.matmul(x, self.v)))


class Graph(Noting):
    """A graph convolution: what a layer makes is mixed over the nodes by a product from the left, dense and sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(16, 10) / 4), nn.Linear(10, 8)
        kill(self.v, 3)

    def forward(self, x: Tensor) -> Tensor:
        neighbours = torch.eye(len(x)).roll(1, 0) + torch.eye(len(x))
        x = F.relu(self.note("w", neighbours @ (x @ self.w)))
        return torch.relu(self.note("v", torch.spmm(neighbours.to_sparse(), self.v(x))))


class Nested(Noting):
    """Blocks of blocks, and helper functions between a module and its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(16, 16)}) for _ in range(2))
        kill(self.blocks[1]["fc"], 15)

    def forward(self, x: Tensor) -> Tensor:
        def activate(label: str, pre: Tensor) -> Tensor:
            return F.relu(self.note(label, pre))

        for number, block in enumerate(self.blocks):
            x = activate(str(number), block["fc"](x))
        return x


class Ours(Noting):
    """relume.torch's modules and functions that can die, some of them composed of several operations."""

    def __init__(self) -> None:
        super().__init__()
        self.activations = nn.ModuleList(
            (
                *(rt.ReLU(), rt.ReLU(inplace=True), rt.LeakyReLU(0.0), rt.RReLU(0.0, 0.0), rt.RReLU(0.0, 0.0, True)),
                *(rt.ReLU6(), rt.ReLU6(inplace=True), rt.ELU(0.0), rt.ELU(0.0, inplace=True)),
            )
        )
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(len(self.activations) + 3))
        self.register_buffer("zeros", torch.zeros(16))
        for number, layer in enumerate(self.layers):
            kill(layer, number, 15)

    def forward(self, x: Tensor) -> Tensor:
        for number, activation in enumerate(self.activations):
            x = activation(self.note(str(number), self.layers[number](x)))
        x = rf.relu6(self.note("relu6", self.layers[-3](x)))
        x = rf.relu_(self.note("relu_", self.layers[-2](x)))
        return rf.prelu(self.note("prelu", self.layers[-1](x)), self.zeros, axis=-1)


class Recurrent(Noting):
    """nn.RNN with relu, batch first: all its steps in one call. Its outputs are above 0 where its units fire."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(16, 10, nonlinearity="relu", batch_first=True), nn.Linear(10, 4)
        with torch.no_grad():
            self.rnn.bias_ih_l0[[2, 5]] = OFF

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(torch.stack((x, -x, 2 * x), 1))
        self.note("rnn", y)
        return self.head(y[:, -1])


class Upwards(Noting):
    """Transposed convolutions, as in a decoder, of one axis and of two."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.ConvTranspose1d(4, 6, 3, stride=2), nn.ConvTranspose2d(2, 5, 2)
        kill(self.one, 1)
        kill(self.two, 0, 4)

    def forward(self, x: Tensor) -> Tensor:
        one = F.relu(self.note("one", self.one(x.view(-1, 4, 4)), 1))
        two = F.relu(self.note("two", self.two(one[:, :, :8].reshape(-1, 2, 4, 6)), 1))
        return two.flatten(1)


class Grouped(Noting):
    """Three axes, groups, a group norm without which the units are the convolution's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(4, 8, (1, 2, 2), groups=2), nn.GroupNorm(4, 8)
        with torch.no_grad():
            self.norm.bias[[0, 7]] = OFF

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.note("a", self.norm(self.conv(x.view(-1, 4, 1, 2, 2))), 1)).flatten(1)


class LayerNormed(Noting):
    """A norm over the features between the layer and the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Linear(16, 12), nn.LayerNorm(12)
        with torch.no_grad():
            self.norm.bias[[3, 4]] = OFF

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.note("a", self.norm(self.a(x))))


class Embedded(Noting):
    """A table of vectors: its features are the units."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        with torch.no_grad():
            self.table.weight[:, 5] = -1.0

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.note("table", self.table((x.abs() * 4).long().clamp(max=19))))


class TwoHeads(Noting):
    """Two heads on one trunk, one of them wider, through one shared activation module."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.policy, self.value = nn.Linear(16, 16), nn.Linear(16, 6), nn.Linear(16, 3)
        self.act = nn.ReLU()
        kill(self.trunk, 8)
        kill(self.policy, 0)
        kill(self.value, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.note("trunk", self.trunk(x)))
        policy = self.act(self.note("policy", self.policy(x)))
        value = self.act(self.note("value", self.value(x)))
        return torch.cat((policy, value), -1)


class Residual(Noting):
    """Pre-activation blocks in a loop: the sum's units are the stem's wherever it has got to, so it is one site."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(16, 16)
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        kill(self.stem, 11)
        for block in self.blocks:
            block.bias.data[11] = 0.0
            block.weight.data[11] = 0.0
            block.weight.requires_grad_(False)
            block.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(F.relu(self.note("sum", x)))
        return x


class Thresholds(Noting):
    """Other spellings of a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.threshold, self.hard = nn.Threshold(0.0, 0.0), nn.Hardtanh(0.0, 3.0)
        for number, layer in enumerate(self.layers):
            kill(layer, number)

    def forward(self, x: Tensor) -> Tensor:
        x = self.threshold(self.note("0", self.layers[0](x)))
        x = self.hard(self.note("1", self.layers[1](x)))
        x = torch.clip(self.note("2", self.layers[2](x)), 0)
        return self.note("3", self.layers[3](x)).clamp_min_(0)


class Lengths(Noting):
    """Sequences of another length at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.calls = nn.Linear(4, 9), 0
        kill(self.a, 6)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        length = 1 + self.calls % 4
        return F.relu(self.note("a", self.a(x[:, : 4 * length].view(len(x), length, 4)))).mean(1)


@dataclass
class Way:
    make: Callable[[], Noting]
    steps: int = 40
    options: dict[str, object] = field(default_factory=dict)


WAYS: dict[str, Way] = {
    "modules": Way(Modules),
    "modules_in_place": Way(lambda: Modules(inplace=True)),
    "calls": Way(Calls),
    "shared_relu": Way(Shared),
    "loop": Way(Loop),
    "batch_time_features": Way(TimeFeatures),
    "moved_axes": Way(Moved),
    "encoder_layer": Way(Encoder),
    "early_exit": Way(EarlyExit),
    "checkpoint": Way(lambda: Checkpointed(reentrant=False)),
    "checkpoint_reentrant": Way(lambda: Checkpointed(reentrant=True)),
    "weight_norm": Way(WeightNormed),
    "autocast": Way(HalfPrecision),
    "channels_last": Way(ChannelsLast),
    "products": Way(Products),
    "graph": Way(Graph),
    "nested": Way(Nested),
    "relume_torch": Way(Ours),
    "recurrent": Way(Recurrent),
    "transposed_convolutions": Way(Upwards),
    "groups": Way(Grouped),
    "layer_norm": Way(LayerNormed),
    "embedding": Way(Embedded),
    "two_heads": Way(TwoHeads),
    "residual": Way(Residual),
    "other_spellings": Way(Thresholds),
    "lengths": Way(Lengths),
}
