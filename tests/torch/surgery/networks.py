"""Networks as people write them, with a batch for each and the layers in which units are killed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(10, 32), nn.Linear(32, 24), nn.Linear(24, 3)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        x = self.drop(F.relu(self.fc1(x)))
        return self.fc3(F.relu(self.fc2(x)))


class VGG(nn.Module):
    """Convolution, BatchNorm and ReLU in place, pooling, flatten, a classifier."""

    def __init__(self):
        super().__init__()
        layers, width = [], 3
        for out in (8, "M", 16, 16, "M"):
            if out == "M":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            width = out
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(16 * 4 * 4, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 5))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class Block(nn.Module):
    def __init__(self, width, out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.down = None
        if stride > 1 or width != out:
            self.down = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        identity = x if self.down is None else self.down(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.layer1, self.layer2 = Block(8, 8), Block(8, 16, 2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Inverted(nn.Module):
    """MobileNetV2's block: expand, depthwise, project."""

    def __init__(self, width, out, expand=4):
        super().__init__()
        hidden = width * expand
        self.same = width == out
        self.conv = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x):
        return x + self.conv(x) if self.same else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.blocks = nn.Sequential(Inverted(8, 8), Inverted(8, 12))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))


class UNet(nn.Module):
    """Concatenation over a skip connection."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up1, self.out = nn.Conv2d(24, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        first = F.relu(self.down1(x))
        second = F.relu(self.down2(F.max_pool2d(first, 2)))
        joined = torch.cat([F.interpolate(second, scale_factor=2), first], dim=1)
        return self.out(F.relu(self.up1(joined)))


class Grouped(nn.Module):
    """A grouped convolution after a plain one, in one dimension."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(4, 12, 3, padding=1), nn.Conv1d(12, 8, 3, padding=1, groups=2)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.conv2(torch.relu(self.conv1(x)))).mean(-1))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(2)
        )
        self.head = nn.Linear(16, 20)

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Siamese(nn.Module):
    """One encoder, applied to two inputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.fc1, self.fc2, self.head = nn.Linear(8, 12), nn.Linear(12, 6), nn.Linear(12, 3)

    def encode(self, x):
        x = self.act(self.norm(self.conv(x))).mean((2, 3))
        return self.fc2(self.act(self.fc1(x)))

    def forward(self, x):
        return self.head(torch.cat([self.encode(x), self.encode(x.flip(0) * 0.5)], 1))


class Groups(nn.Module):
    """Convolutions in groups, and a depthwise one with two outputs a channel."""

    def __init__(self):
        super().__init__()
        self.stem, self.group1 = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 1, groups=3, bias=False)
        self.bn1, self.depth = nn.BatchNorm2d(12), nn.Conv2d(12, 24, 3, padding=1, groups=12)
        self.bn2, self.group2 = nn.BatchNorm2d(24), nn.Conv2d(24, 12, 1, groups=3)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        x = F.relu(self.bn1(self.group1(F.relu(self.stem(x)))))
        x = F.relu(self.bn2(self.depth(x)))
        return self.fc(F.relu(self.group2(x)).mean((2, 3)))


def double(width, out):
    layers = []
    for given in (width, out):
        layers += [nn.Conv2d(given, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class TransposedUNet(nn.Module):
    """Double convolutions, transposed convolutions on the way up, padding to the size of the skip connection."""

    def __init__(self):
        super().__init__()
        self.inc, self.down, self.bottom = double(3, 6), double(6, 12), double(12, 12)
        self.up1, self.conv1 = nn.ConvTranspose2d(12, 12, 2, stride=2), double(24, 12)
        self.up2, self.conv2 = nn.ConvTranspose2d(12, 6, 2, stride=2), double(12, 6)
        self.outc = nn.Conv2d(6, 2, 1)

    def join(self, x, skip):
        missing = skip.size()[2] - x.size()[2]
        return torch.cat([skip, F.pad(x, [missing // 2, missing - missing // 2] * 2)], 1)

    def forward(self, x):
        one = self.inc(x)
        two = self.down(F.max_pool2d(one, 2))
        three = self.bottom(F.max_pool2d(two, 2))
        x = self.conv1(self.join(self.up1(three), two))
        return self.outc(self.conv2(self.join(self.up2(x), one)))


class Generator(nn.Module):
    """DCGAN's: transposed convolutions, BatchNorm and ReLU."""

    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(10, 12, 4, 1, 0, bias=False), nn.BatchNorm2d(12), nn.ReLU(True),
            nn.ConvTranspose2d(12, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
            nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return self.main(z)


class Feedforward(nn.Module):
    """A transformer's block: attention, then an MLP with a squared ReLU, or with one factor through a ReLU."""

    def __init__(self, gated=False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.fc, self.proj, self.drop = nn.Linear(16, 32), nn.Linear(32, 16), nn.Dropout(0.1)
        self.up = nn.Linear(16, 32) if gated else None

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        h = self.norm2(x)
        inner = F.relu(self.fc(h)).square() if self.up is None else F.relu(self.fc(h)) * self.up(h)
        return x + self.drop(self.proj(inner))


class GPT(nn.Module):
    """Two blocks over tokens, the head tied to the embedding."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(20, 16), nn.Embedding(7, 16)
        self.blocks = nn.Sequential(Feedforward(), Feedforward(gated=True))
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))
        return self.head(self.blocks(x))


class Squeezing(nn.Module):
    """Squeeze and excitation: each channel is scaled by a number made of all channels."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.fc1, self.fc2 = nn.Linear(8, 6), nn.Linear(6, 8)
        self.conv2, self.fc = nn.Conv2d(8, 6, 3), nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        scale = self.fc2(F.relu(self.fc1(x.mean((2, 3))))).sigmoid()
        x = x * scale.view(*scale.shape, 1, 1)
        return self.fc(F.relu(self.conv2(x)).mean((2, 3)))


def images():
    return torch.randn(16, 3, 16, 16)


# class → (its batch, the path of each layer whose bias kills units)
NETWORKS = {
    MLP: (lambda: torch.randn(64, 10), ("fc1", "fc2")),
    VGG: (images, ("features.1", "features.8", "classifier.0")),
    ResNet: (images, ("layer1.bn1", "layer2.bn1")),
    MobileNet: (images, ("blocks.0.conv.1", "blocks.1.conv.4")),
    UNet: (images, ("down1", "down2", "up1")),
    Grouped: (lambda: torch.randn(32, 4, 20), ("conv1", "conv2")),
    Transformer: (lambda: torch.randint(20, (16, 7)), ("layers.0.linear1", "layers.1.linear1")),
    Siamese: (images, ("norm", "fc1")),
    Groups: (images, ("stem", "bn1", "bn2", "group2")),
    TransposedUNet: (images, ("inc.1", "down.4", "bottom.4", "conv1.4", "conv2.1")),
    Generator: (lambda: torch.randn(16, 10, 1, 1), ("main.1", "main.4")),
    GPT: (lambda: torch.randint(20, (16, 7)), ("blocks.0.fc", "blocks.1.fc")),
    Squeezing: (images, ("bn1", "fc1", "conv2")),
}


def kill(model, paths, units=(1, 4)):
    """Make these units silent for whatever may come in."""
    with torch.no_grad():
        for path in paths:
            layer = model.get_submodule(path)
            layer.bias[list(units)] = -100.0
