"""The callback of Hugging Face's Trainer, on a tiny BERT with random weights. Nothing is downloaded."""

from __future__ import annotations

import gc
import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from relume.artifacts.reader import read
from relume.doctor.diagnosis import diagnose
from relume.errors import WatchError
from relume.integrations.transformers import WatchCallback
from relume.torch.watching.schedule import taps

SITE = "bert.encoder.layer.0.intermediate.intermediate_act_fn"


def bert(*dead):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20,
        max_position_embeddings=16, hidden_act="relu",
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.bert.encoder.layer[0].intermediate.dense.bias[list(dead)] = -50
    return model


def rows(number=320):
    draws = torch.Generator().manual_seed(1)
    return [
        {"input_ids": torch.randint(30, (8,), generator=draws), "labels": torch.tensor(i % 2)} for i in range(number)
    ]


def trainer_of(folder, model, *callbacks, **options):
    options = {"report_to": "none", "logging_steps": 5, "eval_strategy": "epoch"} | options
    arguments = TrainingArguments(
        str(folder / "out"), per_device_train_batch_size=16, num_train_epochs=1, use_cpu=True, disable_tqdm=True,
        save_strategy="no", seed=0, **options,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=rows(), eval_dataset=rows(32), callbacks=list(callbacks))


def test_dead_units_are_logged_every_n_steps_and_at_the_last(tmp_path, kept, capsys):
    callback = WatchCallback(log=kept, every_n_steps=15, budget=1.0)
    trainer_of(tmp_path, bert(4, 11), callback).train()
    assert [step for step, _ in kept] == [15, 20]
    numbers = kept[-1][1]
    assert numbers[f"relume/{SITE}/dead"] == 2
    assert numbers[f"relume/{SITE}/dead_share"] == 2 / 20
    by_name = dict(zip(callback.findings.names, callback.findings.sites, strict=True))
    assert by_name[SITE].dead == (4, 11)
    assert by_name[SITE].total_examples == 320  # none of the evaluation's


def test_trainers_own_log_takes_them_to_its_reporters_and_loses_no_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    trainer = trainer_of(tmp_path, bert(4), report_to="tensorboard")
    trainer.add_callback(WatchCallback(log=trainer.log, every_n_steps=10, budget=1.0))
    trainer.train()
    history = trainer.state.log_history
    assert [row["step"] for row in history if f"relume/{SITE}/firing_rate" in row] == [10, 20]
    assert [row["step"] for row in history if "loss" in row] == [5, 10, 15, 20]
    events = EventAccumulator(str(tmp_path / "tb")).Reload()  # 160 examples were too few for dead ones
    assert [(e.step, e.value) for e in events.Scalars(f"train/relume/{SITE}/dead")] == [(20, 1)]


def test_without_a_log_they_are_in_the_history(tmp_path):
    trainer = trainer_of(tmp_path, bert(4), WatchCallback(every_n_steps=20, budget=1.0))
    trainer.train()
    (row,) = [row for row in trainer.state.log_history if f"relume/{SITE}/dead" in row]
    assert (row["step"], row["epoch"], row[f"relume/{SITE}/dead"]) == (20, 1.0, 1)
    json.dumps(trainer.state.log_history)


def test_training_is_the_same_bit_by_bit(tmp_path, kept):
    results = []
    for callbacks in ([], [WatchCallback(log=kept, every_n_steps=3, budget=1.0)]):
        model = bert(4)
        trainer_of(tmp_path, model, *callbacks).train()
        results.append([*model.parameters(), torch.get_rng_state()])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_two_trainings_are_two_recordings(tmp_path):
    callback = WatchCallback(path=tmp_path / "run.relume", budget=1.0)
    trainer = trainer_of(tmp_path, bert(4), callback)
    trainer.train()
    with torch.no_grad():
        trainer.model.bert.encoder.layer[0].intermediate.dense.bias[5] = -50
    trainer.train()
    for name, dead in (("run.relume", (4,)), ("run-2.relume", (4, 5))):
        recording = read(tmp_path / name)
        assert (4 in diagnose(recording).sites[0].dead, diagnose(recording).sites[0].dead) == (True, dead)
        assert recording.clocks[0].steps == 20


class Fails(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 10:
            raise ZeroDivisionError


@pytest.mark.parametrize("way", ["stop", "the trainer goes"])
def test_after_a_training_that_fails_the_watching_ends_and_is_saved(way, tmp_path):
    callback = WatchCallback(log=None, path=tmp_path / "run.relume", budget=1.0)
    trainer = trainer_of(tmp_path, bert(4), callback, Fails())
    callback._log = trainer.log
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    if way == "stop":
        callback.stop()
    del trainer, callback
    gc.collect()
    assert taps._subscribers == ()
    assert read(tmp_path / "run.relume").clocks[0].steps == 10


def test_an_error_in_logging_is_reported_once_and_the_training_continues(tmp_path, capsys):
    def log(metrics):
        raise ConnectionError("no server")

    trainer = trainer_of(tmp_path, bert(), WatchCallback(log=log, every_n_steps=2))
    trainer.train()
    assert trainer.state.global_step == 20
    assert capsys.readouterr().err.count("(ConnectionError: no server) [callback-failed]") == 1


def test_options_out_of_range_are_refused_before_the_training():
    with pytest.raises(WatchError, match="every_n_steps is -1"):
        WatchCallback(every_n_steps=-1)
