"""A DCGAN on handwritten digits, in the three passes of the well known PyTorch tutorial.

The generator is ConvTranspose2d + BatchNorm + ReLU, the discriminator Conv2d + BatchNorm + LeakyReLU(0.2) in
place; each step shows the discriminator a real batch, then a fake one, then trains the generator to fool it.
Data: scikit-learn's 8x8 digits, which ship inside its package (nothing is downloaded), enlarged to 16x16.

    python dcgan_digits.py   # the last line measures 500 samples against their nearest real digits
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

LATENT = 32
BATCH_SIZE = 64


class Generator(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(LATENT, 2 * width, kernel_size=4, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, 1, kernel_size=4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return self.main(noise)


class Discriminator(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, kernel_size=4, bias=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images).flatten()


def init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def load_data() -> tuple[Tensor, Tensor]:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    images = nn.functional.interpolate(images, size=16, mode="bilinear", align_corners=False)
    return images, torch.tensor(digits.target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a DCGAN on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write both nets' trained weights to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    images, labels = load_data()
    loader = DataLoader(TensorDataset(images), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)

    net_g, net_d = Generator().apply(init_weights), Discriminator().apply(init_weights)
    criterion = nn.BCEWithLogitsLoss()
    optimizer_g = torch.optim.Adam(net_g.parameters(), lr=args.lr, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(net_d.parameters(), lr=args.lr, betas=(0.5, 0.999))
    ones, zeros = torch.ones(BATCH_SIZE), torch.zeros(BATCH_SIZE)
    for epoch in range(1, args.epochs + 1):
        total_d = total_g = 0.0
        for (real,) in loader:
            # Discriminator: a real batch, then a fake one.
            net_d.zero_grad()
            loss_real = criterion(net_d(real), ones)
            loss_real.backward()
            fake = net_g(torch.randn(BATCH_SIZE, LATENT, 1, 1))
            loss_fake = criterion(net_d(fake.detach()), zeros)
            loss_fake.backward()
            optimizer_d.step()
            # Generator: the same fake batch, with the label it wants the discriminator to give.
            net_g.zero_grad()
            loss_g = criterion(net_d(fake), ones)
            loss_g.backward()
            optimizer_g.step()
            total_d += loss_real.item() + loss_fake.item()
            total_g += loss_g.item()
        print(f"epoch {epoch:2d}  loss D {total_d / len(loader):.3f}  loss G {total_g / len(loader):.3f}")

    # Sample quality: how far from the nearest real digit, and how many classes those digits cover.
    net_g.eval()
    with torch.no_grad():
        samples = net_g(torch.randn(500, LATENT, 1, 1))
    rmse, nearest = (torch.cdist(samples.flatten(1), images.flatten(1)) / images[0].numel() ** 0.5).min(dim=1)
    classes = len(labels[nearest].unique())
    print(f"500 samples: RMSE to the nearest real digit {rmse.mean():.3f}, classes seen {classes} of 10")

    if args.save:
        torch.save({"generator": net_g.state_dict(), "discriminator": net_d.state_dict()}, args.save)


if __name__ == "__main__":
    main()
