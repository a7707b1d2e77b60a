"""What a script logs is caught, where it logs it; no logger does anything else than before, and none is contacted.

Each case runs in a process of its own, as a trial does: most in one that is forked from a process that has the
libraries loaded, as trials are; where it matters that the script imports them itself, in a fresh one. W&B and
tensorboardX are not among what the tests install: a minimal package of the test, with the calls that scripts use,
stands for each, so that what is shown for these two is the way through the import and the patches, not their releases.
By hand the same calls were made of wandb 0.31.0 and tensorboardX 2.6.5, without a network: the same was caught.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from relume.lab.capture.metrics import LOGGED, LOGGERS

AROUND = """
import contextlib, io, json, sys, warnings
warnings.simplefilter("ignore")
from relume.lab.capture import Capture
def body():
{body}
capture = Capture({options})
capture.start()
said = io.StringIO()
with contextlib.redirect_stdout(said):
    body()
found = capture.finish(said.getvalue())
told = {{"sources": found.sources, "text": said.getvalue(), "extra": globals().get("extra")}}
json.dump(told, open("../told.json", "w"))
"""
WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # TensorBoard would import it where it is installed, for many seconds
import {module}
del sys.modules["tensorflow"]
"""
SERVER = (
    WITHOUT_TENSORFLOW.format(module="torch.utils.tensorboard")
    + """
import json, os, traceback, warnings
warnings.simplefilter("ignore")
import torch, lightning.pytorch.loggers, pytorch_lightning.loggers
from transformers import Trainer, TrainingArguments
for line in sys.stdin:
    program, folder = json.loads(line)
    child = os.fork()
    if not child:
        status = 1
        try:
            os.chdir(folder)
            exec(compile(program, "program", "exec"), {"__name__": "__main__"})
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    print(os.waitpid(child, 0)[1], flush=True)
"""
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Runs a program in a folder, in a process forked from one that has everything loaded."""
    errors = tmp_path_factory.mktemp("server") / "stderr"
    with errors.open("w") as stderr, subprocess.Popen(
        [sys.executable, "-c", SERVER], env={**os.environ, **ENVIRONMENT}, cwd=errors.parent, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
    ) as process:  # fmt: skip

        def run(program, folder):
            before = errors.stat().st_size
            process.stdin.write(json.dumps([program, str(folder)]) + "\n")
            process.stdin.flush()
            status = process.stdout.readline()
            return status.strip(), errors.read_text()[before:]

        yield run
        process.stdin.close()


def fresh(program, folder, packages=""):
    env = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(packages)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=folder, capture_output=True, text=True, timeout=200
    )
    return str(done.returncode), done.stderr


def caught(run, tmp_path, body, options="", *, before=""):
    """What ``Capture`` finds while the body runs: its sources, what it printed, and its global ``extra``."""
    work = tmp_path / "work"
    work.mkdir()
    indented = textwrap.indent(textwrap.dedent(body), "    ")
    status, error = run(before + AROUND.format(body=indented, options=options), work)
    assert status == "0", error
    assert "capture-failed" not in error, error
    return json.loads((tmp_path / "told.json").read_text())


def with_package(folder, **modules):
    """``fresh`` where these modules of one package are there: ``a__b`` is ``a/b.py``."""
    for name, text in modules.items():
        package, _, module = name.partition("__")
        path = folder / "packages" / package / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return lambda program, work: fresh(program, work, folder / "packages")


def loggers(run, *arguments, **options):
    return caught(run, *arguments, **options)["sources"].get(LOGGERS, {})


# ---- relume.log ----------------------------------------------------------------------------------------------------


def test_relume_log_outside_a_trial_does_nothing_and_loads_nothing():
    program = """
import sys
import relume
class Odd:
    def __float__(self): raise SystemExit("looked at")
    item = __float__
assert relume.log(1, loss=Odd(), text="x") is None and relume.log() is None and relume.log(Odd()) is None
loaded = sorted(name for name in sys.modules if name.startswith("relume"))
assert loaded == ["relume", "relume.logged", "relume.tapped", "relume.version"], loaded
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_relume_log_in_a_trial_keeps_steps_counts_calls_and_takes_tensors(server, tmp_path):
    body = """
    import numpy, torch, relume
    for epoch in (10, 20):
        relume.log(epoch, accuracy=torch.tensor(epoch / 100.0), **{"val/loss": numpy.float32(0.5)})
        relume.log(loss=numpy.array([1.5]), text="high", many=torch.ones(3), nothing=None, flag=True)
    relume.log(step=30, accuracy=1)
    """
    found = caught(server, tmp_path, body)["sources"]
    assert list(found) == [LOGGED]
    assert found[LOGGED].pop("accuracy") == [[10, pytest.approx(0.1)], [20, pytest.approx(0.2)], [30, 1]]
    assert found[LOGGED] == {"val/loss": [[10, 0.5], [20, 0.5]], "loss": [[0, 1.5], [1, 1.5]]}


# ---- TensorBoard ---------------------------------------------------------------------------------------------------

WRITES = """
with SummaryWriter("runs/a") as writer:
    for step in (5, 6):
        writer.add_scalar("val/acc", torch.tensor(step / 10), step)
        writer.add_scalar(tag="loss", scalar_value=2.0, global_step=step)
    writer.add_scalar("unnumbered", 7)
    writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 3)
"""
WRITTEN = {
    "val/acc": [[5, 0.5], [6, pytest.approx(0.6)]],
    "loss": [[5, 2], [6, 2]],
    "unnumbered": [[0, 7]],
    "both/a": [[3, 1]],
    "both/b": [[3, 2]],
}


def test_tensorboards_scalars_are_captured_and_still_written(server, tmp_path):
    body = "import torch\nfrom torch.utils.tensorboard import SummaryWriter" + WRITES
    assert loggers(server, tmp_path, body) == WRITTEN
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "work" / "runs" / "a"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(5, 2), (6, 2)]


def test_a_writer_that_the_script_imports_itself_is_captured_too(tmp_path):
    body = "import sys, torch\nfrom torch.utils.tensorboard import SummaryWriter" + WRITES
    body += "global extra\nextra = [sys.modules.get(name) is not None for name in ('tensorflow', 'tensorboard')]\n"
    found = caught(fresh, tmp_path, body)
    assert found["sources"][LOGGERS] == WRITTEN
    assert found["extra"] == [False, True], "TensorFlow takes seconds, and hinders forking"


def test_two_writers_with_the_same_name_are_distinguished_by_their_folders(server, tmp_path):
    body = """
    from torch.utils.tensorboard import SummaryWriter
    train, test = SummaryWriter("runs/x/train"), SummaryWriter("runs/x/test")
    train.add_scalar("loss", 1, 0); test.add_scalar("loss", 2, 0); test.add_scalar("acc", 3, 0)
    SummaryWriter("runs/x/train").add_scalar("loss", 4, 1)
    """
    assert loggers(server, tmp_path, body) == {"train/loss": [[0, 1], [1, 4]], "test/loss": [[0, 2]], "acc": [[0, 3]]}


def test_metrics_of_add_hparams_are_captured_once(server, tmp_path):
    body = """
    from torch.utils.tensorboard import SummaryWriter
    SummaryWriter("runs").add_hparams({"lr": 0.1}, {"accuracy": 0.5})
    """
    assert loggers(server, tmp_path, body) == {"accuracy": [[0, 0.5]]}


TENSORBOARDX = """
class SummaryWriter:
    def __init__(self, logdir=None):
        self.logdir = logdir
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def add_scalar(self, tag, scalar_value, global_step=None, walltime=None, display_name="", summary_description=""):
        pass
    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None):
        pass
"""


def test_tensorboardx_is_captured_as_tensorboard(tmp_path):
    run = with_package(
        tmp_path, tensorboardX____init__="from .writer import SummaryWriter", tensorboardX__writer=TENSORBOARDX
    )
    body = "import torch\nfrom tensorboardX import SummaryWriter" + WRITES
    assert loggers(run, tmp_path, body) == WRITTEN


def test_numbers_of_relumes_callbacks_are_not_metrics(server, tmp_path):
    body = """
    from torch.utils.tensorboard import SummaryWriter
    SummaryWriter("runs").add_scalar("relume/dead", 3, 0)
    """
    assert loggers(server, tmp_path, body) == {}


# ---- Lightning -----------------------------------------------------------------------------------------------------

FIT = """
import torch
import {package} as lightning
from {package}.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 1)
        self.seen = 0
    def training_step(self, batch, _):
        loss = self.fc(batch[0]).square().mean()
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss
    def validation_step(self, batch, _):
        self.log("val_acc", float(self.current_epoch))
        self.log("shown", 7.0, logger=False, prog_bar=True)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

loader = DataLoader(TensorDataset(torch.ones(64, 4)), batch_size=16)
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", devices=1, logger={logger}, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, num_sanity_val_steps=0,
)
trainer.fit(Net(), loader, loader)
"""
LOGGER = {
    "lightning": "[CSVLogger('.'), TensorBoardLogger('.')]",
    "pytorch_lightning": "TensorBoardLogger('.')",
}


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
@pytest.mark.parametrize("with_logger", [True, False], ids=["loggers", "no logger"])
def test_lightnings_metrics_are_captured_once_with_or_without_loggers(package, with_logger, server, tmp_path):
    logger = LOGGER[package.partition(".")[0]] if with_logger else False
    found = loggers(server, tmp_path, FIT.format(package=package, logger=logger))
    assert set(found) - {"epoch"} == {"train_loss_step", "train_loss_epoch", "val_acc", "shown"}
    assert [value for _, value in found["val_acc"]] == [0, 1]
    assert len(found["train_loss_step"]) == 8
    assert [value for _, value in found["shown"]] == [7]


def test_a_custom_logger_is_captured(server, tmp_path):
    body = """
    from lightning.pytorch.loggers.logger import Logger
    class Mine(Logger):
        name, version = "mine", 0
        kept = []
        def log_metrics(self, metrics, step=None):
            self.kept.append(metrics)
        def log_hyperparams(self, *_):
            pass
    mine = Mine()
    mine.log_metrics({"acc": 0.5, "hp_metric": -1}, 4)
    print(mine.kept)
    """
    told = caught(server, tmp_path, body)
    assert told["sources"][LOGGERS] == {"acc": [[4, 0.5]]}
    assert told["text"] == "[{'acc': 0.5, 'hp_metric': -1}]\n"


# ---- servers -------------------------------------------------------------------------------------------------------


def test_mlflow_is_captured_and_its_server_is_never_contacted(tmp_path):
    body = """
    import socket
    def refuse(*_, **__):
        raise AssertionError("the network was asked for")
    socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
    import mlflow
    from mlflow import MlflowClient
    mlflow.set_tracking_uri("http://tracking.example:5000")
    mlflow.set_experiment("mine")
    with mlflow.start_run() as run:
        mlflow.log_param("lr", 0.1)
        mlflow.log_metric("acc", 0.5, step=3)
        mlflow.log_metrics({"loss": 1.5, "acc": 0.75}, step=4)
    MlflowClient(tracking_uri="http://other.example").log_metric(run.info.run_id, "late", 9)
    print(mlflow.get_run(run.info.run_id).data.metrics["acc"])
    """
    told = caught(fresh, tmp_path, body)
    found = told["sources"][LOGGERS]
    assert {name: [tuple(p) for p in curve] for name, curve in found.items()} == {
        "acc": [(3, 0.5), (4, 0.75)],
        "loss": [(4, 1.5)],
        "late": [(0, 9)],
    }
    assert told["text"] == "0.75\n"
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["relume-mlruns"]


WANDB = """
class Run:
    def __init__(self, mode):
        self.mode = mode
    def log(self, data, step=None, commit=None, sync=None):
        assert self.mode == "disabled", "it would be sent"
    def finish(self):
        pass
run = None
def log(*_, **__):
    raise RuntimeError("You must call wandb.init() before wandb.log()")
def init(project=None, mode=None, **_):
    global run, log
    run = Run(mode)
    log = run.log
    return run
"""


def test_wandb_runs_are_disabled_and_captured(tmp_path):
    body = """
    import os, wandb
    run = wandb.init(project="x", mode="online")
    wandb.log({"val": {"acc": 0.5}, "epoch": 1, "picture": object()})
    run.log({"val": {"acc": 0.75}}, step=8)
    wandb.init().log({"loss": 2.0})
    print(os.environ["WANDB_MODE"])
    """
    told = caught(with_package(tmp_path, wandb____init__=WANDB), tmp_path, body)
    assert told["sources"][LOGGERS] == {"val.acc": [[0, 0.5], [8, 0.75]], "epoch": [[0, 1]], "loss": [[0, 2]]}
    assert told["text"] == "disabled\n"


# ---- Hugging Face --------------------------------------------------------------------------------------------------


def test_hugging_faces_trainer_is_captured(server, tmp_path):
    body = """
    import torch
    from transformers import Trainer, TrainingArguments
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(4, 1)
        def forward(self, x, labels=None):
            out = self.fc(x)
            return {"loss": out.square().mean(), "logits": out}
    data = [{"x": torch.ones(4), "labels": torch.tensor(0)}] * 16
    arguments = TrainingArguments(
        "out", max_steps=4, logging_steps=2, report_to=[], per_device_train_batch_size=4, use_cpu=True,
        disable_tqdm=True, save_strategy="no",
    )
    Trainer(Net(), arguments, train_dataset=data).train()
    """
    found = loggers(server, tmp_path, body)
    assert [step for step, _ in found["loss"]] == [2, 4]


# ---- stdout ---------------------------------------------------------------------------------------------------------

PRINTS = "import relume\nrelume.log(acc=1.0)\nprint('val accuracy: 0.5')\nprint('at the end 7 points')"


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        ("", {"relume.log": ["acc"], "stdout": ["val_accuracy"]}),
        ("metric='acc'", {"relume.log": ["acc"]}),
        ("metric='acc', tune_metric='val_accuracy'", {"relume.log": ["acc"], "stdout": ["val_accuracy"]}),
        ("regex=r'(?P<at>[0-9]+) points', metric='at'", {"relume.log": ["acc"], "--metric": ["at"]}),
    ],
)
def test_printed_numbers_are_used_if_no_logger_has_the_metric(options, sources, server, tmp_path):
    found = caught(server, tmp_path, PRINTS, options)["sources"]
    assert {source: list(curves) for source, curves in found.items()} == sources


# ---- ends ----------------------------------------------------------------------------------------------------------


def test_everything_is_restored_at_the_end(server, tmp_path):
    body = """
    import lightning.pytorch.loggers as l, mlflow, relume
    from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry as registry
    from torch.utils.tensorboard import SummaryWriter as writer
    def state():
        return [writer.add_scalar, writer.add_scalars, l.CSVLogger.log_metrics, mlflow.MlflowClient.log_batch,
                l.Logger.__init_subclass__.__func__ if "__init_subclass__" in vars(l.Logger.__mro__[1]) else None,
                registry.get_store]
    global extra
    before = state()
    inner = Capture()
    inner.start()
    during = state()
    inner.finish("")
    extra = [[a == b for a, b in zip(before, during)], before == state()]
    """
    changed, restored = caught(server, tmp_path, body)["extra"]
    assert not any(changed)
    assert restored


LOSSES = """
import relume
for step, loss in enumerate({losses}):
    relume.log(step, train_loss=float(loss), other=float("nan"))
"""


@pytest.mark.parametrize(
    ("losses", "ends_at"),
    [("['1'] + 20 * ['nan']", 6), ("['1', 'inf', 'nan', 'inf', 'inf', '1', 'nan', 'nan']", None)],
    ids=["gone for good", "a few batches"],
)
def test_a_loss_that_stays_not_finite_ends_the_script(losses, ends_at, server, tmp_path):
    body = "class Over(BaseException):\n    pass\n"
    body += "def over(name):\n    raise Over(name)\n"
    body += "inner = Capture(diverged=over)\ninner.start()\nglobal extra\n"
    body += "try:\n" + textwrap.indent(LOSSES.format(losses=losses), "    ") + "    extra = 'to the end'\n"
    body += "except Over as error:\n    extra = str(error)\n"
    body += "extra = [extra, len(inner.finish('').sources['relume.log']['train_loss'])]\n"
    expected = ["train_loss", ends_at] if ends_at else ["to the end", 8]
    assert caught(server, tmp_path, body)["extra"] == expected


def test_an_error_in_the_capture_is_reported_once_and_the_script_continues(capsys):
    from relume.lab.capture.recorder import Recorder

    recorder = Recorder()
    done = []
    for _ in range(2):
        recorder.guarded(lambda: done.append(1) or 1 / 0)
    assert done == [1, 1]
    assert capsys.readouterr().err.count("[capture-failed]") == 1
