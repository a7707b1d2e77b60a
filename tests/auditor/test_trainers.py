"""Checkpoints as trainers and people write them: the deaths that were planted, at the layers where they were."""

from __future__ import annotations

import lightning.pytorch as lightning
import numpy as np
import optax
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import relume

STEPS = 160


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.body(x))


def kill(net):
    """Units 3 and 4 after the normalization, and unit 7 of the second layer: at once, so that all are born dead."""
    with torch.no_grad():
        net.body[1].bias[[3, 4]] = -1e3
        net.body[3].bias[7] = -1e3
    return net


def step(net, optimizers, steps=STEPS):
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss = net(torch.randn(32, 20, generator=draw)).square().sum()
        net.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return kill(Net())


def dead(findings):
    return {site.site.module: site.dead for site in findings.sites}


EXPECTED = {"body.1": (3, 4), "body.3": (7,), "head": ()}


def test_the_usual_dictionary(tmp_path, net):
    optimizer = torch.optim.AdamW(net.parameters())
    step(net, [optimizer])
    torch.save({"epoch": 1, "model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    findings = relume.audit(tmp_path / "a.pt")
    assert dead(findings) == EXPECTED
    assert findings.run["steps"] == STEPS
    assert [what for what, _, _ in findings.not_observed] == ["the activations"]


def test_weight_and_optimizer_in_two_files_of_a_folder(tmp_path, net):
    optimizer = torch.optim.Adam(net.parameters())
    step(net, [optimizer])
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    torch.save(optimizer.state_dict(), tmp_path / "optim.pt")
    assert dead(relume.audit(tmp_path)) == EXPECTED


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_of_wrappers_are_left_out(tmp_path, net, prefix):
    optimizer = torch.optim.Adam(net.parameters())
    step(net, [optimizer])
    wrapped = {prefix + name: tensor for name, tensor in net.state_dict().items()}
    torch.save([wrapped, optimizer.state_dict()], tmp_path / "a.pt")
    assert dead(relume.audit(tmp_path / "a.pt")) == EXPECTED


def test_groups_with_and_without_decay(tmp_path, net):
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}])
    step(net, [optimizer])
    torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    assert dead(relume.audit(tmp_path / "a.pt")) == EXPECTED


def test_an_optimizer_of_only_part_of_the_network(tmp_path, net):
    net.body[0].requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    step(net, [optimizer])
    torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    assert dead(relume.audit(tmp_path / "a.pt")) == EXPECTED


def test_parameters_of_equal_shape_in_two_groups_keep_their_numbers_rather_than_a_wrong_name(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 20))
    with torch.no_grad():
        net[0].bias[3] = -1e3
    optimizer = torch.optim.Adam([{"params": net[4].parameters()}, {"params": net[:4].parameters()}])
    step(net, [optimizer])
    torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    found = dead(relume.audit(tmp_path / "a.pt"))
    assert found["0"] == found["2"] == found["4"] == ()
    assert [units for name, units in found.items() if name.startswith("1.")] == [(), (3,), ()]


def test_names_in_the_optimizer_itself(tmp_path, net):
    named = list(net.named_parameters())
    optimizer = torch.optim.Adam([{"params": named[4:]}, {"params": named[:4]}])
    step(net, [optimizer])
    torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    assert dead(relume.audit(tmp_path / "a.pt")) == EXPECTED


def test_a_state_by_names_as_fsdp_consolidates_it(tmp_path, net):
    optimizer = torch.optim.Adam(net.parameters())
    step(net, [optimizer])
    names = [name for name, _ in net.named_parameters()]
    state = optimizer.state_dict()
    state["state"] = {names[key]: value for key, value in state["state"].items()}
    state["param_groups"] = [
        {**group, "params": [names[key] for key in group["params"]]} for group in state["param_groups"]
    ]
    torch.save({"model": net.state_dict(), "optim": state}, tmp_path / "a.pt")
    assert dead(relume.audit(tmp_path / "a.pt")) == EXPECTED


def test_a_moving_average_beside_the_network_is_not_judged_twice(tmp_path, net):
    optimizer = torch.optim.Adam(net.parameters())
    step(net, [optimizer])
    copy = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.save({"model": net.state_dict(), "ema": copy, "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    findings = relume.audit(tmp_path / "a.pt")
    assert dead(findings) == EXPECTED
    assert ("ema", "a second copy of the network, not judged") in [(w, why) for _, w, why in findings.not_observed]


def test_two_networks_with_an_optimizer_each(tmp_path, net):
    other = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 1))
    with torch.no_grad():
        other[0].bias[2] = -1e3
    both = [torch.optim.Adam(net.parameters()), torch.optim.Adam(other.parameters())]
    step(net, both[:1])
    draw = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        both[1].zero_grad()
        other(torch.randn(32, 5, generator=draw)).square().sum().backward()
        both[1].step()
    torch.save(
        {"generator": net.state_dict(), "critic": other.state_dict(), "optimizers": [o.state_dict() for o in both]},
        tmp_path / "a.pt",
    )
    expected = {f"generator.{name}": units for name, units in EXPECTED.items()}
    assert dead(relume.audit(tmp_path / "a.pt")) == expected | {"critic.0": (2,), "critic.2": ()}


def test_momentum_of_sgd_is_named_as_not_read(tmp_path, net):
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    step(net, [optimizer])
    torch.save([net.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    findings = relume.audit(tmp_path / "a.pt")
    assert any("momentum_buffer" in why for _, _, why in findings.not_observed)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's own, of this PyTorch
def test_a_checkpoint_of_lightning(tmp_path):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters()
            self.net = kill(Net())

        def training_step(self, batch, _):
            return self.net(batch[0]).square().mean()

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 100)]

    torch.manual_seed(0)
    data = DataLoader(TensorDataset(torch.randn(32 * STEPS, 20)), batch_size=32)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Module(), data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert dead(relume.audit(tmp_path / "last.ckpt")) == {f"net.{name}": units for name, units in EXPECTED.items()}


def test_a_folder_of_hugging_face(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20,
        max_position_embeddings=16, hidden_act="relu",
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.bert.encoder.layer[0].intermediate.dense.bias[[4, 11]] = -50
    draw = torch.Generator().manual_seed(1)
    rows = [
        {"input_ids": torch.randint(30, (8,), generator=draw), "labels": torch.tensor(i % 2)} for i in range(16 * 120)
    ]
    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=16, num_train_epochs=1, use_cpu=True, disable_tqdm=True,
        save_strategy="epoch", seed=0, report_to="none",
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=rows).train()
    findings = relume.audit(tmp_path)
    found = dead(findings)
    assert found.pop("bert.encoder.layer.0.intermediate.dense") == (4, 11)
    assert {name: units for name, units in found.items() if units} == {}
    assert any(where == "training_args.bin" and "TrainingArguments" in why for _, where, why in findings.not_observed)


def test_shards_of_safetensors(tmp_path, net):
    with torch.no_grad():
        net.body[1].bias[[3, 4]] = -1e4
        net.body[3].weight[7] = 0
    tensors = {name: tensor for name, tensor in net.state_dict().items() if tensor.ndim}
    names = sorted(tensors)
    safetensors.torch.save_file({n: tensors[n] for n in names[:5]}, tmp_path / "model-00001-of-00002.safetensors")
    safetensors.torch.save_file({n: tensors[n] for n in names[5:]}, tmp_path / "model-00002-of-00002.safetensors")
    assert dead(relume.audit(tmp_path)) == EXPECTED


def test_safetensors_are_sorted_by_name_and_normalizations_find_their_layers(tmp_path):
    net = nn.ModuleDict()
    for number in (1, 2, 3):
        net[f"conv{number}"], net[f"bn{number}"] = nn.Conv1d(8, 8, 3, bias=False), nn.BatchNorm1d(8)
        with torch.no_grad():
            net[f"bn{number}"].bias[number] = -1e4
    safetensors.torch.save_file({n: t for n, t in net.state_dict().items() if t.ndim}, tmp_path / "a.safetensors")
    found = {site.site.module: (site.site.layer, site.dead) for site in relume.audit(tmp_path / "a.safetensors").sites}
    assert found == {f"bn{number}": (f"conv{number}", (number,)) for number in (1, 2, 3)}


def test_a_state_of_optax(tmp_path):
    draw = np.random.default_rng(0)
    parameters = {
        "Dense_0": {"kernel": draw.normal(size=(20, 32)).astype(np.float32), "bias": np.zeros(32, np.float32)},
        "Dense_1": {"kernel": draw.normal(size=(32, 5)).astype(np.float32), "bias": np.zeros(5, np.float32)},
    }
    optimizer = optax.adam(1e-3)
    state = optimizer.init(parameters)
    for count in range(400):
        gradients = {
            k: {n: draw.normal(size=a.shape).astype(np.float32) for n, a in v.items()} for k, v in parameters.items()
        }
        if count > 150:
            gradients["Dense_0"]["kernel"][:, 6], gradients["Dense_0"]["bias"][6] = 0, 0
        _, state = optimizer.update(gradients, state)
    flat = {f"params/{k}/{n}": a for k, v in parameters.items() for n, a in v.items()}
    for kind in ("mu", "nu"):
        flat |= {
            f"opt_state/0/{kind}/{k}/{n}": np.asarray(a)
            for k, v in getattr(state[0], kind).items()
            for n, a in v.items()
        }
    np.savez(tmp_path / "a.npz", **flat, **{"opt_state/0/count": np.asarray(state[0].count)})
    site = relume.audit(tmp_path / "a.npz").sites[0]
    assert (site.site.module, site.site.units, site.dead) == ("Dense_0", 32, (6,))
    assert site.events[0][1] == pytest.approx(151, abs=20)
    assert "if β1 = 0.9 and β2 = 0.999" in site.cause[6].says


def test_variables_of_keras_by_their_paths(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(5)])
    bias = np.zeros(32, np.float32)
    bias[9] = -1e3
    model.layers[0].bias.assign(bias)
    model.compile("adam", "mse")
    draw = np.random.default_rng(0)
    model.fit(draw.normal(size=(32 * 150, 20)), draw.normal(size=(32 * 150, 5)), batch_size=32, verbose=0)
    arrays = {v.path: v.numpy() for v in [*model.variables, *model.optimizer.variables]}
    np.savez(tmp_path / "a.npz", **arrays)
    sites = relume.audit(tmp_path / "a.npz").sites
    assert [(site.site.units, site.dead) for site in sites] == [(32, (9,)), (5, ())]
