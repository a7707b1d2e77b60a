"""A cure as an edit: only what is written out, every other byte as it was."""

from __future__ import annotations

import ast

import pytest

from relume.artifacts.swap_plan import Birth, FirstLayer, OptimizerRates, SwapPlan, SwapSite
from relume.lab.contenders import parse_contender
from relume.lab.edits import edit_of

SCRIPT = """\
import torch
import torch.nn.functional as F
from torch import nn


class Nét(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act = nn.Linear(4, 8), nn.ReLU(inplace=True)
        self.b = nn.Linear(8, 1)

    def forward(self, x):
        x = F.relu(self.b(torch.relu(self.a(x)))).relu()
        return self.act(x)


net = Nét()
opt = torch.optim.SGD(net.parameters(), lr=0.1 + 0.1)  # the rate
"""


def site(line, text, call, alone=False, key="Net@t.py:1", **facts):
    """A site whose call is this text in a line of the script."""
    owner, column = Birth("__main__:Net", 0), SCRIPT.splitlines()[line - 1].index(text)
    spot = ("t.py", line, line, column, column + len(text))
    return SwapSite(key, "relu", call, "t.py", line, owner, alone, spot, None, 1, 2, 8, **facts)


INNER = "torch.relu(self.a(x))"
OUTER = f"F.relu(self.b({INNER}))"
FUNCTIONS = (site(13, OUTER, "F.relu"), site(13, INNER, "torch.relu"))
METHOD = site(13, f"{OUTER}.relu()", "Tensor.relu")
PLAN = SwapPlan(
    sites=(*FUNCTIONS, site(14, "self.act(x)", "nn.ReLU", alone=True)), optimizers=(OptimizerRates("SGD", (0.2,)),)
)


def edited(tmp_path, cure, script=SCRIPT, plan=PLAN):
    (tmp_path / "t.py").write_text(script, encoding="utf-8")
    made = edit_of(parse_contender(cure), {"t.py": tmp_path / "t.py"}, plan)
    assert (tmp_path / "t.py").read_text(encoding="utf-8") == script  # the user's file stays
    return made


def added(made):
    assert made.why == ""
    ast.parse(made.sources["t.py"])
    return [line[1:] for line in made.diff.splitlines() if line.startswith("+") and not line.startswith("+++")]


def test_an_edit_multiplies_the_learning_rate_in_its_line(tmp_path):
    assert added(edited(tmp_path, "lr:1/4")) == [
        "opt = torch.optim.SGD(net.parameters(), lr=(0.1 + 0.1) * 0.25)  # the rate"
    ]


def test_an_edit_adds_a_learning_rate_that_is_not_written(tmp_path):
    script = SCRIPT.replace(", lr=0.1 + 0.1", "")
    plan = SwapPlan(optimizers=(OptimizerRates("SGD", (0.001,)),))
    assert added(edited(tmp_path, "lr:1/4", script, plan)) == [
        "opt = torch.optim.SGD(net.parameters(), lr=0.00025)  # the rate"
    ]


def test_the_rates_of_groups_are_multiplied_too(tmp_path):
    groups = SCRIPT.replace("net.parameters(), lr", '[{"params": net.parameters(), "lr": 1e-3}], lr')
    (line,) = added(edited(tmp_path, "lr:1/2", groups))
    assert '"lr": 1e-3 * 0.5}], lr=(0.1 + 0.1) * 0.5' in line


def test_weight_decay_is_set_to_0_in_the_optimizer_and_in_its_groups(tmp_path):
    groups = SCRIPT.replace("net.parameters(), lr", '[{"params": net.parameters(), "weight_decay": 1e-3}], lr')
    (line,) = added(edited(tmp_path, "no_decay", groups))
    assert '"weight_decay": 0.0}], lr=0.1 + 0.1, weight_decay=0.0)' in line
    written = SCRIPT.replace("lr=0.1 + 0.1", "lr=0.1, weight_decay=args.decay")
    assert "lr=0.1, weight_decay=0.0)" in added(edited(tmp_path, "no_decay", written))[0]


def test_nested_calls_are_each_replaced(tmp_path):
    (line,) = added(edited(tmp_path, "leaky_relu:0.1", plan=SwapPlan(sites=FUNCTIONS)))
    assert line.strip() == (
        "x = F.leaky_relu(self.b(torch.nn.functional.leaky_relu(self.a(x), negative_slope=0.1)), "
        "negative_slope=0.1).relu()"
    )
    (line,) = added(edited(tmp_path, "elu", plan=SwapPlan(sites=(*FUNCTIONS, METHOD))))
    assert line.strip() == "x = torch.nn.functional.elu(F.elu(self.b(torch.nn.functional.elu(self.a(x)))))"


def test_a_replaced_module_keeps_its_inplace(tmp_path):
    lines = added(edited(tmp_path, "elu", plan=SwapPlan(sites=(PLAN.sites[2],))))
    assert lines == ["        self.a, self.act = nn.Linear(4, 8), nn.ELU(inplace=True)"]


def first(alone=True):
    """A plan in which the first layer of the script takes the data."""
    return SwapPlan(inputs=(FirstLayer(Birth("Linear", 0), ("t.py", 9, 9, 27, 42), "BatchNorm1d", alone),))


def test_a_normalization_comes_before_the_first_layer(tmp_path):
    (line,) = added(edited(tmp_path, "normalize", plan=first()))
    norm = "nn.BatchNorm1d(4, affine=False), nn.Linear(4, 8)"
    assert line.strip() == f"self.a, self.act = nn.Sequential({norm}), nn.ReLU(inplace=True)"
    inside = "self.a, self.act = nn.Sequential(nn.Linear(in_features=4, out_features=8)), nn.ReLU()"
    script = SCRIPT.replace("self.a, self.act = nn.Linear(4, 8), nn.ReLU(inplace=True)", inside)
    column = script.splitlines()[8].index("nn.Linear")
    spot = ("t.py", 9, 9, column, column + len("nn.Linear(in_features=4, out_features=8)"))
    plan = SwapPlan(inputs=(FirstLayer(Birth("Linear", 0), spot, "BatchNorm1d", True),))
    (line,) = added(edited(tmp_path, "normalize", script, plan))
    assert "nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(in_features=4, out_features=8))" in line


def test_a_layer_made_with_others_by_one_call_is_left_to_the_user(tmp_path):
    assert "add nn.BatchNorm1d before the first by hand" in edited(tmp_path, "normalize", plan=first(False)).why


def test_lines_come_after_the_optimizer_with_the_import_that_they_need(tmp_path):
    assert added(edited(tmp_path, "revive:redo:0.1")) == [
        "import relume",
        'relume.Reviver(net, optimizer=opt, rule="redo", tau=0.1).start()',
    ]
    assert "opt.register_step_pre_hook(clip_gradients)" in added(edited(tmp_path, "clip:2"))
    assert added(edited(tmp_path, "init"))[0] == "for layer in net.modules():"
    assert "min(1.0, (step + 1) / 50)" in added(edited(tmp_path, "warmup:50"))[0]


@pytest.mark.parametrize(
    ("cure", "old", "new", "why"),
    [
        ("lr:1/2", "torch.optim.SGD(", "make(", "do not call SGD"),
        ("lr:1/2", "lr=0.1 + 0.1", "**{}", "lr of SGD on line 18 of t.py is not written out"),
        ("revive", "opt = torch", "torch", "is not assigned to one name"),
        ("init", "net.parameters()", "held", "does not say model.parameters()"),
        ("elu", "nn.ReLU(inplace=True)", "nn.ReLU", "is not called there"),
        ("elu", "nn.ReLU(inplace=True)", "made()", "created outside the script"),
        ("elu", "F.relu(self", "f(self", "is not in the script"),
        ("prelu", "", "", "needs sizes"),
    ],
)
def test_an_optimizer_that_is_not_written_out_gets_a_reason_instead_of_an_edit(tmp_path, cure, old, new, why):
    made = edited(tmp_path, cure, SCRIPT.replace(old, new) if old else SCRIPT)
    assert made.diff == ""
    assert why in made.why


def test_a_warm_up_beside_a_scheduler_is_left_to_the_user(tmp_path):
    made = edited(tmp_path, "warmup", plan=SwapPlan(optimizers=PLAN.optimizers, schedulers=("StepLR",)))
    assert "a scheduler already (StepLR)" in made.why


def test_modules_of_which_one_stays_are_left_to_the_user(tmp_path):
    stays = site(14, "self.act(x)", "nn.ReLU", alone=True, key="Net.last@t.py:9", hidden=False, why="an output")
    made = edited(tmp_path, "elu", plan=SwapPlan(sites=(PLAN.sites[2], stays)))
    assert "also created for Net.last" in made.why
