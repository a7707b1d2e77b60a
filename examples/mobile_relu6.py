"""A small MobileNetV2: inverted residual blocks, depthwise convolutions and ReLU6.

Every block widens its input with a 1x1 convolution, filters each channel alone with a depthwise 3x3, and
narrows it again with a linear 1x1; the two wide stages end in `nn.ReLU6`, which clips at 6 as well as at 0.
Trains on scikit-learn's 8x8 handwritten digits enlarged to 16x16; the digits ship inside the scikit-learn
package (nothing is downloaded).

    python mobile_relu6.py          # about 98 % test accuracy
    python mobile_relu6.py --int8   # and what is left of it in 8 bits, with ReLU6 and with ReLU

`--int8` exports the net to ONNX, quantizes it with ONNX Runtime (static, 8 bits for weights and activations, ranges
from training images), and prints its accuracy and each activation's signal-to-noise ratio, then does the same with
`nn.ReLU` in place of `nn.ReLU6`. It needs the packages onnx, onnxruntime and onnxscript.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class ConvBNReLU6(nn.Sequential):
    activation: type[nn.Module] = nn.ReLU6

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
            self.activation(inplace=True),
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


def train(model: nn.Module, train_set: TensorDataset, test_loader: DataLoader, args: argparse.Namespace) -> None:
    loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, drop_last=True)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        accuracy = evaluate(model, test_loader)
        print(f"epoch {epoch:2d}  loss {total / len(loader):.4f}  test accuracy {accuracy:.2%}")


def run_with(model, names: list[str], images) -> list:
    """The model's output and the tensors of these names, in ONNX Runtime without its own rewriting."""
    import onnx
    import onnxruntime

    model = onnx.shape_inference.infer_shapes(model)
    outputs = [*(output.name for output in model.graph.output), *names]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, {session.get_inputs()[0].name: images})


def quantise(model: nn.Module, train_set: TensorDataset, test_set: TensorDataset) -> None:
    import onnx
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self.batches = iter([{name: train_set.tensors[0][i : i + 64].numpy()} for i in range(0, 512, 64)])

        def get_next(self):
            return next(self.batches, None)

    images, labels = (tensor.numpy() for tensor in test_set.tensors)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, small = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        example = (torch.from_numpy(images),)
        torch.onnx.export(model.eval(), example, dynamo=True, verbose=False, dynamic_shapes=({0: "n"},)).save(
            str(whole)
        )
        exact = onnx.load(whole)
        quantization.quantize_static(whole, small, Images(exact.graph.input[0].name), per_channel=False)
        rounded = onnx.load(small)
    sites = [node.output[0] for node in exact.graph.node if node.op_type in ("Relu", "Clip")]
    before = run_with(exact, sites, images)
    after = run_with(rounded, [f"{name}_DequantizeLinear_Output" for name in sites], images)
    for kind, scores in (("float", before[0]), ("int8", after[0])):
        print(f"{kind:5s} test accuracy {(scores.argmax(1) == labels).mean():.2%}")
    for name, signal, rough in zip(sites, before[1:], after[1:], strict=True):
        ratio = 10 * np.log10((signal**2).mean() / ((signal - rough) ** 2).mean())
        print(f"  {name:12s} greatest value {signal.max():6.2f}  signal-to-noise {ratio:5.1f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small MobileNetV2 on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--int8", action="store_true", help="quantize the net, and one with ReLU, and compare")
    parser.add_argument("--save", type=Path, help="write the trained weights to this file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    train_set, test_set = load_data()
    test_loader = DataLoader(test_set, batch_size=256)
    model = MobileNet()
    train(model, train_set, test_loader, args)
    if args.int8:
        quantise(model, train_set, test_set)
        print("the same with ReLU")
        ConvBNReLU6.activation = nn.ReLU
        torch.manual_seed(args.seed)
        unbounded = MobileNet()
        train(unbounded, train_set, test_loader, args)
        quantise(unbounded, train_set, test_set)

    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
