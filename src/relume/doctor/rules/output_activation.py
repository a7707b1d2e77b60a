"""An activation on the network's output that the loss does not expect.

## What it finds
A ReLU, ReLU6 or softmax whose output goes straight into a cross-entropy (`F.cross_entropy`, `nn.CrossEntropyLoss`), and
a ReLU or ReLU6 whose output goes straight into a regression loss (mean squared or absolute error, Huber). A reshape
between them is allowed; a pooling or a layer is not.

## Why it hurts
A cross-entropy takes logits and applies softmax itself. After a ReLU no logit is below 0, so the network cannot rule
out a class. After a softmax no class of K can get more than e / (e + K − 1) of the probability, and the gradients are
small. A regressor that ends in a ReLU predicts nothing below 0, and an output that dies stays 0 for every example,
without a gradient.

## Evidence
The call of the loss with this output; for a regression also the share of targets below 0.

## False alarms
Targets that cannot be negative (counts, prices, rectified features) suit a ReLU, but softplus has the same range and
cannot die. A loss between features of two networks is not reported.

## Cure and its safety
Remove the last activation. This changes the meaning of the outputs: code that reads them as probabilities must apply
softmax itself.

## Sources
PyTorch, `torch.nn.CrossEntropyLoss`: "the input is expected to contain the unnormalized logits for each class";
Goodfellow, Bengio & Courville 2016, section 6.2.2, https://www.deeplearningbook.org/contents/mlp.html
"""

from math import e

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import percent
from relume.artifacts.recording import LOSSES
from relume.doctor.rules.rule import Rule


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if "loss" not in site.statistics:
        return None
    loss, name = LOSSES[int(site.statistics["loss"])], site.site.activation
    if loss != "cross_entropy":
        share = site.statistics.get("negative_targets", 0.0)
        below = f"; {percent(share)} of the targets are" if share > 0 else ""
        advice = "remove the activation, or use softplus if the targets cannot be negative"
        return (), f"its output goes straight into {loss}, and is never below 0{below}", advice
    evidence = "its output goes straight into cross_entropy, which takes logits"
    if name == "softmax":
        return (), f"{evidence}: no class gets more than {percent(e / (e + site.site.units - 1))}", _REMOVE
    return (), f"{evidence}: none is below 0", _REMOVE


_REMOVE = "remove the activation: the loss applies softmax itself"

RULE = Rule("RLM019", "output_activation", "warning", _examine, proven=True)
