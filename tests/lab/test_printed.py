"""Numbers in what scripts print: the lines are as the scripts of tutorials, examples and libraries print them."""

from __future__ import annotations

import math
import time

import pytest

from relume.errors import StudyError
from relume.lab.capture.stdout import detected, lines, matched, to_number

PRINTED = {
    "a plain line": ("test accuracy: 65.20\n", {"test_accuracy": [(0, 65.2)]}),
    "PyTorch's MNIST example": (
        "Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.305423\nTrain Epoch: 1 [640/60000 (1%)]\tLoss: 1.3\n\n"
        "Test set: Average loss: 0.0274, Accuracy: 9911/10000 (99%)\n",
        {
            "train_loss": [(0, 2.305423), (1, 1.3)],
            "test_average_loss": [(0, 0.0274)],
            "test_accuracy": [(0, 0.9911)],
        },
    ),
    "PyTorch's ImageNet example": (
        "Epoch: [0][ 10/391]\tTime  0.1 ( 0.2)\tLoss 2.3e+00 (2.4e+00)\tAcc@1  10.94 (  9.87)\n"
        "Test: [ 0/79]\tTime  1.2 (1.2)\tLoss 1.3 (1.3)\tAcc@1 50.1 (50.1)\n *   Acc@1 45.300 Acc@5 70.1\n",
        {
            "loss": [(0, 2.3)],
            "epoch_acc@1": [(0, 10.94)],
            "test_loss": [(0, 1.3)],
            "test_acc@1": [(0, 50.1)],
            "acc@1": [(0, 45.3)],
            "acc@5": [(0, 70.1)],
        },
    ),
    "PyTorch's CIFAR tutorial": (
        "[1,  2000] loss: 2.2\nAccuracy of the network on the 10000 test images: 54 %\n",
        {"loss": [(0, 2.2)], "test_accuracy": [(0, 54)]},
    ),
    "PyTorch's quickstart": (
        "loss: 2.303494  [   64/60000]\nTest Error: \n Accuracy: 65.6%, Avg loss: 0.785214 \n",
        {"loss": [(0, 2.303494)], "accuracy": [(0, 65.6)], "avg_loss": [(0, 0.785214)]},
    ),
    "dicts of Hugging Face's Trainer": (
        "{'loss': 0.5, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 1.0}\n"
        "{'eval_loss': '0.4', 'eval_accuracy': '0.91', 'eval_runtime': 0.3, 'epoch': 1.0}\n",
        {"loss": [(1, 0.5)], "eval_loss": [(1, 0.4)], "eval_accuracy": [(1, 0.91)]},
    ),
    "Keras": (
        "10/10 [====] - 1s 5ms/step - loss: 0.5 - accuracy: 0.8 - val_loss: 0.4\n",
        {"loss": [(0, 0.5)], "accuracy": [(0, 0.8)], "val_loss": [(0, 0.4)]},
    ),
    "a progress bar that overwrites itself": (
        "epoch 1:  10%|#| 1/10 [00:01<00:09, 1.1it/s, loss=2.3]\r\x1b[32mepoch 1: 100%|#| 10/10 [9.1it/s, loss=0.3]\n",
        {"loss": [(1, 0.3)]},
    ),
    "a table of Stable-Baselines3": (
        "| rollout/         |        |\n|    ep_rew_mean   | 21.5   |\n", {"ep_rew_mean": [(0, 21.5)]},
    ),
    "a table of rich": (
        "          Results          \n┏━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━┓\n┃ Epoch ┃ Train loss ┃ Val Acc ┃\n"
        "┡━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━┩\n│ 1     │ 0.500      │ 80.00%  │\n│ 2     │ 0.400      │ 85.00%  │\n"
        "└───────┴────────────┴─────────┘\nbest accuracy: 85%\n",
        {"train_loss": [(1, 0.5), (2, 0.4)], "val_acc": [(1, 80), (2, 85)], "best_accuracy": [(0, 85)]},
    ),
    "a table of skorch, with an empty cell": (
        "  epoch    train_loss    valid_acc    valid_loss    cp     dur\n"
        "-------  ------------  -----------  ------------  ----  ------\n"
        "      1        \x1b[36m0.6905\x1b[0m       0.5600        0.6830     +  0.0453\n"
        "      2        0.6648       0.6280        0.6901        0.0270\n",
        {"train_loss": [(1, 0.6905), (2, 0.6648)], "valid_acc": [(1, 0.56), (2, 0.628)],
         "valid_loss": [(1, 0.683), (2, 0.6901)]},
    ),
    "one name below headings of several parts": (
        "Training:\n  loss: 0.5\nValidation:\n  loss: 0.7\n\nloss: 0.6\n",
        {"train_loss": [(0, 0.5)], "val_loss": [(0, 0.7)], "loss": [(0, 0.6)]},
    ),
    "warnings and tracebacks": (
        "/home/me/train.py:7: UserWarning: acc is 3\n  warnings.warn('loss: 3')\nloss: 1\n"
        'Traceback (most recent call last):\n  File "/train.py", line 3, in <module>\n    loss: 3\n'
        "ValueError: loss: 4\n\nDuring handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n  acc: 3\nKeyError: 'acc: 3'\nloss: 2\n",
        {"loss": [(0, 1), (1, 2)]},
    ),
    "JSON": (
        '{"epoch": 1, "val_acc": 0.9, "name": "x", "loss": NaN}\n', {"val_acc": [(1, 0.9)], "loss": [(1, math.nan)]},
    ),
    "train and validation in a line": (
        "epoch 0 train loss 0.3 acc 0.8 | val loss 0.4 acc 0.7\n"
        "epoch 1 train loss 0.2 acc 0.9 | val loss inf acc 0.75\n",
        {
            "train_loss": [(0, 0.3), (1, 0.2)],
            "train_acc": [(0, 0.8), (1, 0.9)],
            "val_loss": [(0, 0.4), (1, math.inf)],
            "val_acc": [(0, 0.7), (1, 0.75)],
        },
    ),
    "a tensor": ("loss: tensor(0.93, grad_fn=<MeanBackward0>)\n", {"loss": [(0, 0.93)]}),
    "a log with times and thousands": (
        "2024-01-01 12:00:00,123 INFO root: step 1,000 | loss=1,234.5 | 3.2s\n", {"loss": [(1000, 1234.5)]}
    ),
    "steps that start anew are counted": (
        "Epoch [1/2], Step [100/200], Loss: 3\nEpoch [2/2], Step [100/200], Loss: 2\n", {"loss": [(0, 3), (1, 2)]}
    ),
    "signs and exponents": ("PSNR=-1.2e-3 dB\nreward -> +.5\n", {"psnr": [(0, -0.0012)], "reward": [(0, 0.5)]}),
    "a comma for the decimals": ("loss: 0,93\n", {"loss": [(0, 0.93)]}),
    "settings, versions, times and sizes": (
        "Namespace(lr=0.01, epochs=10, seed=0)\ntorch: 2.13.0\nat 12:00\nelapsed: 3.5\nlr: 0.1\ntook: 3.2s\n"
        "date: 2024-01-01\nepoch: 3\nstep 100\n", {},
    ),
    "no number": ("loss: high\n: 3\n= 4\n\n", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", PRINTED)
def test_numbers_are_found_beside_their_names(case):
    text, expected = PRINTED[case]
    assert repr(detected(text)) == repr({n: [(float(s), float(v)) for s, v in c] for n, c in expected.items()})


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"test acc: ([\d.]+)", {"test_acc": [(1, 0.5), (2, 0.75)]}),
        (r"(?P<mine>[\d.]+) of the rest", {"mine": [(0, 7)]}),
        (
            r"acc: (?P<acc>\S+) loss: (?P<loss>\S+)",
            {"acc": [(1, 0.5), (2, 0.75)], "loss": [(1, 1234.0), (2, math.nan)]},
        ),
        (r"([\d.]+)%", {"metric": [(0, 93.5)]}),
        (r"test acc: [\d.]+", {}),
        (r"(epoch)", {}),
        ("", {}),
    ],
)
def test_a_regular_expression_finds_the_number_in_its_group(regex, expected):
    text = "epoch 1 test acc: 0.5 loss: 1,234\nepoch 2 test acc: 0.75 loss: nan\n7 of the rest\nall: 93.5%\n"
    assert repr(matched(text, regex)) == repr({n: [(float(s), float(v)) for s, v in c] for n, c in expected.items()})


def test_an_invalid_regular_expression_is_refused():
    with pytest.raises(StudyError, match="is not a regular expression: missing \\), unterminated subpattern"):
        matched("x", "acc: (")


def test_a_rewritten_line_counts_in_its_last_form():
    assert list(lines("a\rb\r\nc\n\r\r\n\x1b[1md\x1b[0m")) == ["b", "c", "d"]


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "0x10", None, "--1"])
def test_words_are_not_numbers(text):
    assert to_number(text) is None


def test_long_and_hostile_output_takes_linear_time():
    hostile = ["a" * 100_000, "a " * 50_000, "1" * 100_000, "1," * 50_000, "= " * 50_000, "(" * 100_000, "\r" * 100_000]
    hostile += ["loss: 1 " * 50_000]
    began = time.process_time()
    for text in hostile:
        detected(text + "\nloss: 1\n")
    detected("epoch 1 train loss 0.3 acc 0.8\n" * 5_000)
    assert time.process_time() - began < 5
