"""A loop of one's own: any function of a dict, MLflow's file store, and TensorBoard's event files."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import relume
from relume.artifacts.reader import read
from relume.errors import WatchError
from relume.integrations import _session
from relume.integrations.log import WatchLog
from relume.integrations.tensorboard import WatchWriter, write


def net_and_optimizer(*dead):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    with torch.no_grad():
        net[0].bias[list(dead)] = -50
    return net, torch.optim.SGD(net.parameters(), lr=1e-3)


def train(net, optimizer, steps=20, after=lambda: None):
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(32, 8)).square().mean().backward()
        optimizer.step()
        after()


def test_a_loop_is_logged_every_n_steps_and_at_the_last_and_saved(tmp_path, kept):
    net, optimizer = net_and_optimizer(3)
    log = WatchLog(net, kept, every_n_steps=15, path=tmp_path / "run.relume", every=1)
    with log:
        train(net, optimizer, after=log.step)
    assert [step for step, _ in kept] == [15, 20]
    assert [metrics["relume/1/dead"] for _, metrics in kept] == [1, 1]
    assert log.findings.sites[0].dead == (3,)
    assert read(tmp_path / "run.relume").clocks[0].steps == 20
    with log:  # another training
        log.step(30)
    assert kept[-1][0] == 30


def test_a_function_that_takes_only_the_numbers_is_accepted(kept):
    net, optimizer = net_and_optimizer()
    numbers = {}
    with WatchLog(net, numbers.update, every_n_steps=20, budget=1.0) as log:
        train(net, optimizer, after=log.step)
    assert numbers["relume/dead_share"] == 0


def test_a_loop_that_fails_logs_no_last_step_and_keeps_its_recording(tmp_path, kept):
    net, optimizer = net_and_optimizer()
    log = WatchLog(net, kept, every_n_steps=2, path=tmp_path / "run.relume", budget=1.0)
    after = iter([log.step, log.step, log.step, lambda: 1 / 0])
    with pytest.raises(ZeroDivisionError), log:
        train(net, optimizer, after=lambda: next(after)())
    assert [step for step, _ in kept] == [2]
    assert read(tmp_path / "run.relume").clocks[0].steps == 4


def test_a_model_that_cannot_be_watched_is_reported_once_and_the_loop_continues(kept, capsys):
    with WatchLog(lambda x: x, kept, every_n_steps=1) as log:
        for _ in range(3):
            log.step()
    said = capsys.readouterr().err
    assert said.count("relume: watching failed") == said.count("[not-a-module]") == 1
    assert kept == []


def test_an_error_in_the_watching_is_reported_once_and_ends_the_logging(kept, capsys):
    net, optimizer = net_and_optimizer()
    with WatchLog(net, kept, every_n_steps=5, budget=1.0) as log:
        train(net, optimizer, steps=5, after=log.step)
        for site in log._session._watch._observer._probes[0].sites:
            site.accumulator._visits = None  # planted
        train(net, optimizer, steps=15, after=log.step)
    assert [step for step, _ in kept] == [5]
    assert capsys.readouterr().err.count("relume: ") == 1


@pytest.mark.parametrize(("options", "expected"), [({}, [1, 440, 460]), ({"every": 1}, [*range(1, 461)])])
def test_a_slow_log_is_called_at_fewer_steps_and_at_the_last(options, expected, monkeypatch):
    net, _ = net_and_optimizer()
    now, logged = [0.0], []
    monkeypatch.setattr(_session, "perf_counter", lambda: now[0])

    def log(metrics, step):
        logged.append(step)
        now[0] += 10

    with WatchLog(net, log, every_n_steps=1, **options) as watching:
        for _ in range(460):
            now[0] += 1
            watching.step()
    assert logged == expected


def test_training_is_the_same_bit_by_bit(kept, tmp_path):
    def trained(around):
        net, optimizer = net_and_optimizer(3)
        around(net, optimizer)
        return [*net.parameters(), torch.get_rng_state()]

    def logged(net, optimizer):
        with SummaryWriter(tmp_path) as writer, WatchWriter(net, writer, every_n_steps=3, budget=1.0) as log:
            train(net, optimizer, after=log.step)

    for one, other in zip(trained(train), trained(logged), strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow", "ignore::FutureWarning:relume")
def test_mlflow_takes_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    net, optimizer = net_and_optimizer(1, 4)
    with mlflow.start_run() as run, WatchLog(net, mlflow.log_metrics, every_n_steps=10, budget=1.0) as log:
        train(net, optimizer, after=log.step)
    client = mlflow.MlflowClient()
    stored = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "relume/1/dead")}
    assert stored == {10: 2, 20: 2}
    numbers = client.get_run(run.info.run_id).data.metrics
    assert numbers == pytest.approx(log.findings.to_metrics())


def test_tensorboard_reads_back_scalars_and_histograms(tmp_path):
    net, optimizer = net_and_optimizer(0, 7)
    with SummaryWriter(tmp_path) as writer, WatchWriter(net, writer, every_n_steps=8, every=1) as log:
        train(net, optimizer, after=log.step)
    events = EventAccumulator(str(tmp_path)).Reload()
    numbers = log.findings.to_metrics()
    assert set(events.Tags()["scalars"]) == set(numbers)
    assert [(e.step, e.value) for e in events.Scalars("relume/dead_share")] == [(16, 0.125), (20, 0.125)]
    for name, number in numbers.items():
        assert events.Scalars(name)[-1].value == pytest.approx(number)
    latest = events.Histograms("relume/1/firing_rates")[-1]
    rates = np.asarray(log.findings.sites[0].firing_rate)
    assert latest.step == 20
    assert latest.histogram_value.num == 16
    assert latest.histogram_value.sum == pytest.approx(rates.sum())
    (low,) = [
        number
        for limit, number in zip(latest.histogram_value.bucket_limit, latest.histogram_value.bucket, strict=True)
        if abs(limit - 0.05) < 1e-9
    ]
    assert low == np.sum(rates < 0.05) == 2


def test_findings_of_any_watching_are_written(tmp_path):
    net, optimizer = net_and_optimizer(0)
    with relume.watch(net, budget=1.0) as watch:
        train(net, optimizer)
    with SummaryWriter(tmp_path) as writer:
        write(writer, watch.findings(), 7)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("relume/1/dead")] == [(7, 1)]


def test_options_out_of_range_are_refused():
    with pytest.raises(WatchError, match="every_n_steps is 0"):
        WatchLog(nn.ReLU(), print, every_n_steps=0)
    with pytest.raises(WatchError, match="budget is 2"):
        WatchWriter(nn.ReLU(), None, budget=2)
