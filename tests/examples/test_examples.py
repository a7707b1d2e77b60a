"""The scripts in examples/: they run alone, do what their docstrings say, and leave nothing behind."""

import ast
import gzip
import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from relume.doctor.reading import findings_of

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NETS = {  # the class of each net a script saves, under its key where the file holds more than one
    "dcgan_digits.py": {"generator": "Generator", "discriminator": "Discriminator"},
    "digits_mlp.py": "MLP",
    "fashion_784.py": "Net",
    "mobile_relu6.py": "MobileNet",
    "residual_cnn.py": "ResNet",
    "sparse_autoencoder.py": "SAE",
    "super_resolution.py": "Generator",
}
CLASSIFIER_LINE = r"epoch +1  loss \d+\.\d{4}  test accuracy \d+\.\d\d%"
QUICK = {  # flags of a quick run, and a pattern for each line it prints
    "dcgan_digits.py": (
        ["--epochs", "1"],
        [
            r"epoch +1  loss D \d\.\d{3}  loss G \d\.\d{3}",
            r"500 samples: RMSE to the nearest real digit 0\.\d{3}, classes seen \d+ of 10",
        ],
    ),
    "digits_mlp.py": (["--epochs", "1", "--lr", "0.25"], [CLASSIFIER_LINE]),
    "fashion_784.py": (
        ["--epochs", "1", "--limit", "4000"],
        [r"data: .+", r"torch\.Size\(\[32, 10\]\)", CLASSIFIER_LINE],
    ),
    "mobile_relu6.py": (["--epochs", "1"], [CLASSIFIER_LINE]),
    "residual_cnn.py": (["--epochs", "1"], [CLASSIFIER_LINE]),
    "sparse_autoencoder.py": (["--epochs", "1"], [r"epoch +1  loss \d\.\d{4}"]),
    "super_resolution.py": (
        ["--epochs", "1"],
        [
            r"epoch +1  loss 0\.\d{5}",
            # already 1 dB or more above bicubic
            r"held-out PSNR: bicubic \d+\.\d\d dB, network \d+\.\d\d dB, gain \+[1-9]\d*\.\d\d dB",
        ],
    ),
}


@pytest.fixture
def run(tmp_path):
    """Run an example in an empty folder, with an empty home and an empty folder for temporary files."""

    def run(name, *flags, under=("-W", "error"), leaves=()):
        places = {place: tmp_path / place for place in ("cwd", "home", "tmp")}
        for place in places.values():
            place.mkdir(exist_ok=True)
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HOME": str(places["home"]),
            "TMPDIR": str(places["tmp"]),
        }
        before = set(EXAMPLES.rglob("*"))
        done = subprocess.run(
            [sys.executable, *under, str(EXAMPLES / name), *flags],
            cwd=places["cwd"], env=env, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == "" or "relume" in under
        # torch makes itself an empty folder for compiled code: only files count.
        left = {path for place in places.values() for path in place.rglob("*") if path.is_file()}
        assert left == {places["cwd"] / name for name in leaves}
        assert set(EXAMPLES.rglob("*")) == before
        return done.stdout

    return run


@pytest.fixture
def load_example(monkeypatch):
    """Import an example as a module, with no __pycache__ left beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"example_{Path(name).stem}", EXAMPLES / name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def final_accuracy(stdout):
    return float(re.findall(r"test accuracy (\d+\.\d\d)%", stdout)[-1])


def losses(stdout):
    return [float(text) for text in re.findall(r"loss (\S+)", stdout)]


def dead_units(example, weights):
    """Per hidden layer, how many units have no training image with a pre-activation above 0."""
    images = example.load_data()[0].tensors[0]
    first = images @ weights["fc1.weight"].T + weights["fc1.bias"]
    second = first.clamp(min=0) @ weights["fc2.weight"].T + weights["fc2.bias"]
    return [int((~(pre > 0).any(dim=0)).sum()) for pre in (first, second)]


def test_the_lists_above_name_every_script():
    names = {path.name for path in SCRIPTS}
    assert names == set(QUICK) == set(NETS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {name for name in names if f"| [`{name}`]({name}) |" in readme} == names


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_knows_nothing_of_relume_and_stays_short(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= {
        *sys.stdlib_module_names,
        "numpy",
        "sklearn",
        "torch",
        *(("onnx", "onnxruntime") if path.name == "mobile_relu6.py" else ()),  # with --int8
    }
    assert "relume" not in text
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= (185 if path.name == "mobile_relu6.py" else 120)


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return torch.equal(one, other)


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_run_prints_its_lines_and_ends_with_the_same_weights_when_watched(name, run, load_example, tmp_path):
    flags, patterns = QUICK[name]
    stdout = run(name, *flags, "--save", "weights.pt", leaves=["weights.pt"])
    lines = stdout.splitlines()
    assert len(lines) == len(patterns), stdout
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line

    weights = torch.load(tmp_path / "cwd" / "weights.pt")
    example, saved, nets = load_example(name), weights, NETS[name]
    if isinstance(nets, str):
        saved, nets = {"": saved}, {"": nets}
    assert saved.keys() == nets.keys()
    for key, net in nets.items():
        getattr(example, net)().load_state_dict(saved[key])
        assert all(tensor.isfinite().all() for tensor in saved[key].values())

    for options in ((), ("--every", "1")):
        under = ("-m", "relume", "run", *options)
        assert run(name, *flags, "--save", "weights.pt", under=under, leaves=["weights.pt", "run.relume"]) == stdout
        assert equal(torch.load(tmp_path / "cwd" / "weights.pt"), weights)
        findings = findings_of(tmp_path / "cwd" / "run.relume").to_dict()
        assert findings["run"]["exit"] == 0
        assert findings["run"].get("fault") is None
        assert len(findings["sites"]) >= 1
        assert all("layer" in row["why"] for row in findings["not_observed"])  # pictures that are clamped to [0, 1]
    assert findings["run"]["looked"] == findings["run"]["steps"]


@pytest.mark.slow
def test_the_mobile_net_in_8_bits_prints_both_accuracies_and_each_site(tmp_path):
    pytest.importorskip("onnxscript")
    command = [sys.executable, str(EXAMPLES / "mobile_relu6.py"), "--epochs", "3", "--int8"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for half, first in zip(done.stdout.split("the same with ReLU\n"), ("hardtanh", "relu"), strict=True):
        exact, rounded = (
            float(x) for x in re.findall(r"^(?:float|int8 ) test accuracy ([\d.]+)%$", half, re.MULTILINE)
        )
        assert exact > 80
        assert abs(exact - rounded) < 3
        sites = re.findall(r"^  (\S+) +greatest value +([\d.]+)  signal-to-noise +([\d.]+) dB$", half, re.MULTILINE)
        assert len(sites) == 8
        assert sites[0][0] == first
        assert all(float(ratio) > 15 for _, _, ratio in sites)
        assert first == "relu" or all(float(greatest) <= 6 for _, greatest, _ in sites)


def test_two_runs_print_the_same_and_another_seed_does_not(run):
    first = run("digits_mlp.py", "--epochs", "2")
    assert run("digits_mlp.py", "--epochs", "2") == first
    assert run("digits_mlp.py", "--epochs", "2", "--seed", "1") != first


def test_the_digits_mlp_trains_well_and_keeps_its_units(run, load_example, tmp_path):
    stdout = run("digits_mlp.py", "--save", "weights.pt", leaves=["weights.pt"])
    weights = torch.load(tmp_path / "cwd" / "weights.pt")
    assert final_accuracy(stdout) >= 95.0
    assert sum(dead_units(load_example("digits_mlp.py"), weights)) <= 0.02 * 192


def test_the_digits_mlp_loses_units_to_the_learning_rate_its_docstring_names(run, load_example, tmp_path):
    example = load_example("digits_mlp.py")
    (lr,) = re.findall(r"--lr (\S+)", example.__doc__)
    stdout = run("digits_mlp.py", "--lr", lr, "--save", "weights.pt", leaves=["weights.pt"])
    weights = torch.load(tmp_path / "cwd" / "weights.pt")
    assert len(losses(stdout)) == 20
    assert all(map(math.isfinite, losses(stdout)))
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert sum(dead_units(example, weights)) >= 0.10 * 192


def test_fashion_784_reads_idx_files_from_debians_folder(load_example, monkeypatch, tmp_path, capsys):
    example = load_example("fashion_784.py")
    pixels = np.random.default_rng(0).integers(0, 256, size=(3, 28, 28), dtype=np.uint8)
    labels = np.array([7, 0, 9], dtype=np.uint8)
    for split in ("train", "t10k"):
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (tmp_path / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    assert Path("/usr/share/datasets/fashion-mnist") == example.DATA
    monkeypatch.setattr(example, "DATA", tmp_path)

    for images, targets in example.load_data():
        np.testing.assert_array_equal(images.numpy(), pixels.astype(np.float32) / 255)
        assert targets.tolist() == labels.tolist()
    assert capsys.readouterr().out == "data: Fashion-MNIST\n"


def test_fashion_784_falls_back_on_digits_and_says_so(load_example, monkeypatch, tmp_path, capsys):
    example = load_example("fashion_784.py")
    monkeypatch.setattr(example, "DATA", tmp_path / "absent")

    train, test = example.load_data()
    assert train[0].shape == (1437, 28, 28)
    assert test[0].shape == (360, 28, 28)
    for images, labels in (train, test):
        assert images.min() >= 0
        assert images.max() <= 1
        assert set(labels.tolist()) == set(range(10))
    assert capsys.readouterr().out == ("data: scikit-learn digits enlarged to 28x28 (Fashion-MNIST is not installed)\n")


def test_the_residual_block_calls_one_relu_twice(load_example):
    example = load_example("residual_cnn.py")
    block = example.BasicBlock(4, 8, stride=2)
    calls = []
    block.relu.register_forward_hook(lambda *_: calls.append("relu"))
    block.bn1.register_forward_hook(lambda *_: calls.append("bn1"))
    block.bn2.register_forward_hook(lambda *_: calls.append("bn2"))
    block(torch.ones(2, 4, 8, 8))
    assert calls == ["bn1", "relu", "bn2", "relu"]
    assert block.relu.inplace
    assert sum(isinstance(module, torch.nn.ReLU) for module in block.modules()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pattern", "least"),
    [
        ("dcgan_digits.py", r"classes seen (\d+)", 8),
        ("fashion_784.py", r"test accuracy (\S+)%", 85.0),
        ("mobile_relu6.py", r"test accuracy (\S+)%", 97.0),
        ("residual_cnn.py", r"test accuracy (\S+)%", 97.0),
        ("super_resolution.py", r"gain (\S+) dB", 5.0),
    ],
)
def test_the_default_settings_give_the_figures_of_the_readme(name, pattern, least, run):
    assert float(re.findall(pattern, run(name))[-1]) >= least
