"""A small MobileNetV2: inverted residual blocks, depthwise convolutions and ReLU6.

Every block widens its input with a 1x1 convolution, filters each channel alone with a depthwise 3x3, and
narrows it again with a linear 1x1; the two wide stages end in `nn.ReLU6`, which clips at 6 as well as at 0.
Trains on scikit-learn's 8x8 handwritten digits enlarged to 16x16; the digits ship inside the scikit-learn
package (nothing is downloaded).

    python mobile_relu6.py   # about 98 % test accuracy
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class ConvBNReLU6(nn.Sequential):
    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int, expand: int = 4) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.use_shortcut = stride == 1 and in_channels == channels
        self.conv = nn.Sequential(
            ConvBNReLU6(in_channels, hidden, kernel=1),
            ConvBNReLU6(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_shortcut else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvBNReLU6(1, 16, kernel=3, stride=2),
            InvertedResidual(16, 16, stride=1),
            InvertedResidual(16, 24, stride=2),
            InvertedResidual(24, 24, stride=1),
            ConvBNReLU6(24, 96, kernel=1),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(96, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def load_data() -> tuple[TensorDataset, TensorDataset]:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    images = F.interpolate(images, size=16, mode="bilinear", align_corners=False)
    labels = torch.tensor(digits.target, dtype=torch.long)
    train, test = train_test_split(range(len(labels)), test_size=0.25, random_state=0, stratify=digits.target)
    return TensorDataset(images[train], labels[train]), TensorDataset(images[test], labels[test])


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    correct = sum((model(images).argmax(dim=1) == labels).sum().item() for images, labels in loader)
    return correct / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small MobileNetV2 on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write the trained weights to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    train_set, test_set = load_data()
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, drop_last=True)
    test_loader = DataLoader(test_set, batch_size=256)

    model = MobileNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        accuracy = evaluate(model, test_loader)
        print(f"epoch {epoch:2d}  loss {total / len(train_loader):.4f}  test accuracy {accuracy:.2%}")

    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
