"""The callback of Lightning, in real fits on the CPU. That each leaves no hook behind is in conftest.py."""

from __future__ import annotations

import csv
import warnings

import lightning.pytorch as lightning
import pytest
import pytorch_lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from relume.artifacts.reader import read
from relume.doctor.diagnosis import diagnose
from relume.errors import WatchError
from relume.integrations import lightning as ours
from relume.integrations import pytorch_lightning as ours_too

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(pytorch_)?lightning")
EITHER = pytest.mark.parametrize(("package", "callbacks"), [(lightning, ours), (pytorch_lightning, ours_too)])


def net_of(package, dead=(2, 5)):
    class Net(package.LightningModule):
        def __init__(self):
            super().__init__()
            self.fc, self.relu, self.head = nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)

        def forward(self, x):
            return self.head(self.relu(self.fc(x)))

        def training_step(self, batch, _):
            loss = self(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def validation_step(self, batch, _):
            self.log("val", self(batch[0]).square().mean())

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.fc.bias[list(dead)] = -50
    return net


def loader(examples=640):
    x = torch.randn(examples, 8, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x), batch_size=32)


def trainer_of(package, folder, *callbacks, **options):
    options = {"max_epochs": 1, "logger": False, "enable_checkpointing": False} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return package.Trainer(
            accelerator="cpu", devices=1, callbacks=list(callbacks), enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder, **options,
        )  # fmt: skip


def fit(package, folder, *callbacks, net=None, **options):
    net = net or net_of(package)
    trainer = trainer_of(package, folder, *callbacks, **options)
    trainer.fit(net, loader(), loader(64))
    return net, trainer


@EITHER
def test_dead_units_are_logged_at_their_number_every_n_steps_and_at_the_last(package, callbacks, tmp_path, kept):
    callback = callbacks.WatchCallback(log=kept, every_n_steps=15, budget=1.0)
    fit(package, tmp_path, callback)
    assert [step for step, _ in kept] == [15, 20]
    for _, metrics in kept:
        assert metrics["relume/dead"] == metrics["relume/relu/dead"] == 2
        assert metrics["relume/dead_share"] == metrics["relume/relu/dead_share"] == 2 / 16
    assert callback.findings.sites[0].total_examples == 640  # none of the validation's


def test_loggers_get_the_numbers_beside_the_users_own(tmp_path):
    logger = lightning.loggers.CSVLogger(tmp_path)
    fit(lightning, tmp_path, ours.WatchCallback(every_n_steps=10, budget=1.0), logger=logger, log_every_n_steps=5)
    with open(f"{logger.log_dir}/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["step"]: row["relume/dead"] for row in rows if row["relume/dead"]} == {"10": "2", "20": "2"}
    assert sum(bool(row["loss"]) for row in rows) == 4


def test_early_stopping_can_monitor_the_dead_share(tmp_path):
    stop = lightning.callbacks.EarlyStopping("relume/dead_share", stopping_threshold=0.5, check_on_train_epoch_end=True)
    _, trainer = fit(lightning, tmp_path, stop, ours.WatchCallback(budget=1.0), max_epochs=3)
    assert trainer.global_step == 20
    assert trainer.callback_metrics["relume/dead_share"] == 2 / 16


def test_training_is_the_same_bit_by_bit(tmp_path, kept):
    bare, _ = fit(lightning, tmp_path)
    state = torch.get_rng_state()
    watched, _ = fit(lightning, tmp_path, ours.WatchCallback(log=kept, every_n_steps=3, budget=1.0))
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(bare.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_two_fits_are_two_recordings(tmp_path):
    callback = ours.WatchCallback(path=tmp_path / "run.relume", budget=1.0)
    fit(lightning, tmp_path, callback)
    fit(lightning, tmp_path, callback, net=net_of(lightning, dead=(1,)))
    assert [site.dead for site in callback.findings.sites] == [(1,)]
    for name, dead in (("run.relume", (2, 5)), ("run-2.relume", (1,))):
        recording = read(tmp_path / name)
        assert [site.dead for site in diagnose(recording).sites] == [dead]
        assert recording.clocks[0].steps == 20


def test_a_fit_that_fails_leaves_its_recording(tmp_path):
    net = net_of(lightning)
    net.on_train_batch_end = lambda *_: 1 / 0 if net.global_step == 15 else None
    with pytest.raises(ZeroDivisionError):
        fit(lightning, tmp_path, ours.WatchCallback(path=tmp_path / "run.relume", budget=1.0), net=net)
    assert read(tmp_path / "run.relume").clocks[0].steps == 15


def test_an_error_in_logging_or_saving_is_reported_once_and_the_training_continues(tmp_path, capsys):
    def log(metrics):
        raise ConnectionError("no server")

    (tmp_path / "mine.txt").write_text("mine")
    _, trainer = fit(lightning, tmp_path, ours.WatchCallback(log=log, every_n_steps=2, path=tmp_path / "mine.txt"))
    assert trainer.global_step == 20
    said = capsys.readouterr().err
    assert said.count("relume: logging failed; the training continues without it (ConnectionError: no server)") == 1
    assert said.count("relume: saving the recording failed") == said.count("RecordingError") == 1
    assert said.count("[callback-failed]") == 2
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_options_out_of_range_are_refused_before_the_training():
    for options in ({"every_n_steps": 0}, {"budget": 0}, {"phase": "test"}):
        with pytest.raises(WatchError, match="bad-option"):
            ours.WatchCallback(**options)
    with pytest.raises(TypeError, match="windows"):
        ours.WatchCallback(windows=3)
