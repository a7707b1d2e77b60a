"""A top-k sparse autoencoder, and how an input that is not centered kills its latents.

Trains a 32-512-32 autoencoder with 8 active latents a token on made-up activations: sums of a few of 256 directions,
as a layer of a language model might have them.

    python sparse_autoencoder.py               # the data as they are, with a mean of twice their standard deviation
    python sparse_autoencoder.py --center      # the same, with their mean subtracted
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn


class SAE(nn.Module):
    def __init__(self, inputs: int = 32, latents: int = 512, k: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Linear(inputs, latents)
        self.decoder = nn.Linear(latents, inputs)
        self.k = k
        with torch.no_grad():
            self.decoder.weight.copy_(self.encoder.weight.T)

    def forward(self, x: Tensor) -> Tensor:
        acts = torch.relu(self.encoder(x))
        top = acts.topk(self.k, dim=-1, sorted=False)
        code = torch.zeros_like(acts).scatter_(-1, top.indices, top.values)
        return self.decoder(code)


def load_data(tokens: int = 16384, *, center: bool = False) -> Tensor:
    """Make up activations, shape (tokens, 32)."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(256, 32, generator=generator) / 32**0.5
    active = torch.rand(tokens, 256, generator=generator) < 0.02
    x = (active * torch.rand(tokens, 256, generator=generator)) @ directions
    x = (x - x.mean(dim=0)) / (x - x.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    mean = torch.randn(32, generator=generator)
    return x if center else x + 2 * mean / mean.norm()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a sparse autoencoder on made-up activations.")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--center", action="store_true", help="subtract the mean of the activations")
    parser.add_argument("--save", type=Path, help="write the trained weights to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    data = load_data(center=args.center)
    sae = SAE()
    optimizer = torch.optim.Adam(sae.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for x in data[torch.randperm(len(data))].split(args.batch_size):
            loss = (sae(x) - x).square().sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch:2d}  loss {total / len(data):.4f}")

    if args.save:
        torch.save(sae.state_dict(), args.save)


if __name__ == "__main__":
    main()
