"""The smallest image classifier: two linear layers with a ReLU between them, on Fashion-MNIST.

Reads the IDX files that Debian's `dataset-fashion-mnist` package installs. Where the package is missing,
it trains on scikit-learn's digits enlarged to 28x28 instead, and says so. Nothing is downloaded.

    python fashion_784.py                          # about 87 % test accuracy
    python fashion_784.py --epochs 1 --limit 6000  # a quick look
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

DATA = Path("/usr/share/datasets/fashion-mnist")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, 128)
        self.relu = nn.ReLU()
        self.out = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.hidden(x.flatten(1))))


def read_idx(path: Path) -> Tensor:
    """Read one gzipped IDX file: two zero bytes, the type, the number of axes, their sizes, the bytes."""
    raw = gzip.decompress(path.read_bytes())
    axes = raw[3]
    shape = np.frombuffer(raw, dtype=">u4", count=axes, offset=4).tolist()
    return torch.from_numpy(np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape).copy())


def load_fashion(split: str) -> tuple[Tensor, Tensor]:
    images = read_idx(DATA / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(DATA / f"{split}-labels-idx1-ubyte.gz")
    return images.float() / 255.0, labels.long()


def load_enlarged_digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    images = F.interpolate(images, size=28, mode="bilinear", align_corners=False).squeeze(1)
    labels = torch.tensor(digits.target, dtype=torch.long)
    train, test = train_test_split(range(len(labels)), test_size=0.2, random_state=0, stratify=digits.target)
    return (images[train], labels[train]), (images[test], labels[test])


def load_data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    if DATA.is_dir():
        print("data: Fashion-MNIST")
        return load_fashion("train"), load_fashion("t10k")
    print("data: scikit-learn digits enlarged to 28x28 (Fashion-MNIST is not installed)")
    return load_enlarged_digits()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    return (model(images).argmax(dim=1) == labels).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train 784-128-10 on Fashion-MNIST.")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="train on the first N images only")
    parser.add_argument("--save", type=Path, help="write the trained weights to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    (images, labels), test = load_data()
    train_set = TensorDataset(images[: args.limit], labels[: args.limit])
    loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)

    model = Net()
    print(model(images[: args.batch_size]).shape)

    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        print(f"epoch {epoch}  loss {total / len(train_set):.4f}  test accuracy {accuracy(model, *test):.2%}")

    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
