"""Super-resolution: an SRGAN-style generator learns to double the resolution of handwritten digits.

The network is SRGAN's generator in small: residual blocks with batch norm and per-channel `nn.PReLU`, a long
skip connection, and `nn.PixelShuffle` for the upsampling; it predicts what to add to the bicubic enlargement
and trains on the mean squared error alone (no adversary).

Data: scikit-learn's 8x8 digits, which ship inside the scikit-learn package (nothing is downloaded). The
low-resolution inputs are those images shrunk to 4x4 by bicubic interpolation with antialiasing.

    python super_resolution.py   # beats bicubic by about 7 dB on held-out digits
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class Generator(nn.Module):
    def __init__(self, channels: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, channels, kernel_size=3, padding=1), nn.PReLU(channels))
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.upsample = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, kernel_size=3, padding=1),
            nn.PixelShuffle(2),
            nn.PReLU(channels),
        )
        self.tail = nn.Conv2d(channels, 1, kernel_size=3, padding=1)

    def forward(self, low: Tensor) -> Tensor:
        features = self.head(low)
        features = features + self.body(features)
        return enlarge(low) + self.tail(self.upsample(features))


def shrink(high: Tensor) -> Tensor:
    return F.interpolate(high, scale_factor=0.5, mode="bicubic", antialias=True).clamp(0.0, 1.0)


def enlarge(low: Tensor) -> Tensor:
    return F.interpolate(low, scale_factor=2, mode="bicubic")


def psnr(predicted: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all pixels of all images, for a peak of 1."""
    return -10.0 * F.mse_loss(predicted.clamp(0.0, 1.0), target).log10().item()


def load_data() -> tuple[Tensor, Tensor]:
    images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16.0
    train, test = train_test_split(range(len(images)), test_size=0.2, random_state=0)
    return images[train], images[test]


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn to double the resolution of handwritten digits.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write the trained weights to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    train_high, test_high = load_data()
    train_set, test_low = TensorDataset(shrink(train_high), train_high), shrink(test_high)
    loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, drop_last=True)

    model = Generator()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for low, high in loader:
            optimizer.zero_grad()
            loss = criterion(model(low), high)
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        print(f"epoch {epoch:2d}  loss {total / len(loader):.5f}")

    model.eval()
    with torch.no_grad():
        bicubic, ours = psnr(enlarge(test_low), test_high), psnr(model(test_low), test_high)
    print(f"held-out PSNR: bicubic {bicubic:.2f} dB, network {ours:.2f} dB, gain {ours - bicubic:+.2f} dB")

    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
