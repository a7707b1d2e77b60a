"""Damaged and hostile files, by seeded mutation: a reader gives an answer or an error of relume's, and nothing else.

A case is a sound file, changed a little, and read by what the commands read it with. Its number is its seed."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import resource
import signal
import sqlite3
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from helpers import made_runs, made_study

from relume.artifacts.plan import read_plan, to_json, write_plan
from relume.artifacts.save import save
from relume.artifacts.study import Study
from relume.auditor.audit import audit
from relume.doctor.plan import plan
from relume.doctor.reading import findings_of
from relume.errors import RelumeError
from relume.lab.findings import read_findings
from relume.reports.formats import render

SECONDS = 10
MOST_MEMORY = 512 << 20
VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf, "",
    "x", "nan", "1e999", "\x00", "<script>", "../..", "x" * 10_000, [], {}, [[]], [None], {"": None}, [0] * 1000,
)  # fmt: skip


# ---- sound files, and what reads them ------------------------------------------------------------------------------


def recording(folder):
    save(made_runs.small_recording(), folder / "run.relume")
    return folder / "run.relume"


def read_recording(file):
    findings = findings_of(file)
    for form in ("json", "md", "github"):
        render(form, "run", findings)
    plan(findings, str(file))


def a_plan(folder):
    write_plan(plan(made_runs.small(), "run.relume"), folder / "plan.json")
    return folder / "plan.json"


def study(folder):
    made = made_study.study({"elu": made_study.TOLD["elu"]})
    study = Study.open(folder / "study")
    study.begin(made.design, made.subject)
    for trial in made.trials:
        study.save(replace(trial, weights=str(trial.key)))
    study.close()
    return folder / "study" / "study.json"


def trial(folder):
    return sorted((study(folder).parent / "trials").glob("*.json"))[3]


def read_study(file):
    Study.read(next(parent for parent in file.parents if (parent / "study.json").exists())).trials()


def judge_study(file):
    for form in ("json", "md", "csv"):
        render(form, "study", read_findings([file.parent]))


def arrays():
    rng = np.random.default_rng(0)
    return {
        f"{layer}.{name}": rng.standard_normal(shape).astype("f4")
        for layer, shapes in {"0": ((8, 4), (8,)), "2": ((3, 8), (3,))}.items()
        for name, shape in zip(("weight", "bias"), shapes, strict=True)
    }


def pytorch(folder):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        model(torch.ones(5, 4)).sum().backward()
        optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "a.pt")
    return folder / "a.pt"


def safetensors(folder):
    header, data = {}, b""
    for name, array in arrays().items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    (folder / "a.safetensors").write_bytes(with_header(json.dumps(header).encode()) + data)
    return folder / "a.safetensors"


def with_header(text):
    return len(text).to_bytes(8, "little") + text


def numpy(folder):
    np.savez(folder / "a.npz", **arrays())
    return folder / "a.npz"


def hdf5(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        for name, array in arrays().items():
            file["model_weights/" + name.replace(".", "/")] = array
    return folder / "a.h5"


def keras(folder):
    h5py = pytest.importorskip("h5py")
    within = io.BytesIO()
    with h5py.File(within, "w") as file:
        for number, name in enumerate(("dense", "dense_1")):
            file[f"layers/{name}/vars/0"] = arrays()[f"{2 * number}.weight"].T
            file[f"layers/{name}/vars/1"] = arrays()[f"{2 * number}.bias"]
    config = {"config": {"layers": [{"class_name": "Dense", "config": {"name": "dense"}}]}}
    with zipfile.ZipFile(folder / "a.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", within.getvalue())
    return folder / "a.keras"


# ---- mutations: what a disk, a careless edit or an attacker makes of a file ------------------------------------------


def of_bytes(content, rng):
    """Cut off, bits turned, a stretch removed, repeated, or overwritten with a huge, negative or zero number."""
    content, at = bytearray(content), rng.randrange(max(len(content), 1))
    match rng.randrange(5):
        case 0:
            return bytes(content[:at])
        case 1:
            for _ in range(rng.choice((1, 1, 4, 64))):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case 2:
            del content[at : at + rng.randrange(1, 64)]
        case 3:
            content[at:at] = content[at : at + rng.randrange(1, 64)] * rng.choice((1, 100))
        case 4:
            size = rng.choice((1, 2, 4, 8))
            content[at : at + size] = rng.choice((b"\xff", b"\x00", b"\x7f")) * size
    return bytes(content)


def of_json(text, rng):
    """One value becomes another's type, a key goes or comes, or everything is nested too deep."""
    told = json.loads(text)
    places = []
    for inner in _walk(told):
        places += [(inner, key) for key in (inner if isinstance(inner, dict) else range(len(inner)))]
    for _ in range(rng.choice((1, 1, 1, 3))):
        holder, key = rng.choice(places)
        kind = rng.randrange(8)
        with contextlib.suppress(LookupError):  # it went with an earlier mutation
            if kind == 0:
                del holder[key]
            elif kind == 1 and isinstance(holder, dict):
                holder["another"] = holder.pop(key)
            elif kind == 2:
                holder[key] = {"x": holder[key]}
            elif kind == 3 and isinstance(holder[key], list):
                holder[key] = holder[key] * rng.choice((0, 2, 50))
            else:
                holder[key] = rng.choice(VALUES)
    text = json.dumps(told)
    return text if rng.random() > 0.03 else text.replace(":", ":" + "[" * 100_000, 1)


def _walk(told):
    """Every container within."""
    waiting = [told]
    while waiting:
        now = waiting.pop()
        if isinstance(now, (dict, list)):
            yield now
            waiting += now.values() if isinstance(now, dict) else now


def of_rows(file, rng):
    """One field of a database takes another value, rows go or come twice, a table goes, a number of the schema lies."""
    with contextlib.closing(sqlite3.connect(file)) as db, contextlib.suppress(sqlite3.IntegrityError):
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = [name for name in tables if db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]]
        table = rng.choice(filled)
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        column = rng.choice(columns)
        row, was = rng.choice(db.execute(f"SELECT rowid, {column} FROM {table}").fetchall())
        match rng.randrange(8):
            case 0:
                db.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
            case 1:
                db.execute(f"DROP TABLE {table}")
            case 2:
                db.execute(f"PRAGMA user_version = {rng.choice((-1, 0, 1, 2, 3, 4, 5, 2**31 - 1))}")
            case _:
                db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (_field(was, rng), row))
        db.commit()


def _field(was, rng):
    if isinstance(was, bytes) and rng.random() < 0.7:
        words = np.frombuffer(was[: len(was) // 8 * 8], np.int64).copy()
        words[rng.randrange(max(len(words), 1)) :][:1] = rng.choice(
            (-1, -(2**63), 2**63 - 1, 0x7FF8 << 48, 0x7FF0 << 48)
        )
        return rng.choice((words.tobytes(), of_bytes(was, rng)))
    if isinstance(was, str) and was[:1] in ("{", "[") and len(was) > 2:
        return of_json(was, rng)
    simple = [v for v in VALUES if isinstance(v, (str, float)) or (isinstance(v, int) and abs(v) < 2**63)]
    return rng.choice((*simple, b"", b"\xff" * 64))


def of_members(file, rng):
    """One member of an archive changes, and the archive is whole: its sums hold."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    members[name] = of_bytes(members[name], rng)
    with zipfile.ZipFile(
        file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def mutate(file, rng):
    content = file.read_bytes()
    if rng.random() < 0.3:
        file.write_bytes(of_bytes(content, rng))
    elif file.suffix == ".relume":
        of_rows(file, rng)
    elif file.suffix == ".json":
        file.write_text(of_json(content, rng))
    elif file.suffix == ".safetensors":
        end = 8 + int.from_bytes(content[:8], "little")
        file.write_bytes(with_header(of_json(content[8:end], rng).encode()) + content[end:])
    elif content.startswith(b"PK"):
        of_members(file, rng)
    else:
        file.write_bytes(of_bytes(of_bytes(content, rng), rng))


# ---- the cases -----------------------------------------------------------------------------------------------------

KINDS = {  # name: what makes a sound file, what reads it, and how many cases the normal suite has
    "recording": (recording, read_recording, 350),
    "plan": (a_plan, lambda file: to_json(read_plan(file)), 400),
    "study": (study, read_study, 150),
    "trial": (trial, read_study, 150),
    "verdicts": (study, judge_study, 8),
    "pytorch": (pytorch, lambda file: audit([file]), 250),
    "safetensors": (safetensors, lambda file: audit([file]), 250),
    "numpy": (numpy, lambda file: audit([file]), 150),
    "hdf5": (hdf5, lambda file: audit([file]), 150),
    "keras": (keras, lambda file: audit([file]), 150),
}


def late(*_):
    raise TimeoutError(f"not read within {SECONDS} s")


def outcome(name, number, files):
    """Write the sound files, mutate the first, and read it: "answer" or "error". Any other exception passes."""
    for path, content in files.items():
        path.write_bytes(content)
    file = next(iter(files))
    mutate(file, random.Random(f"{name} {number}"))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        KINDS[name][1](file)
    except RelumeError:
        return "error"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "answer"


@pytest.mark.parametrize("times", [1, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", KINDS)
def test_a_bad_file_gives_an_answer_or_a_clear_error(name, times, tmp_path):
    make, reads, cases = KINDS[name]
    file = make(tmp_path)
    reads(file)  # what is sound is answered
    before = signal.signal(signal.SIGALRM, late)
    files = {path: path.read_bytes() for path in (file, *tmp_path.rglob("*.json"))}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = set()
    try:
        for number in range(cases * times):
            try:
                found.add(outcome(name, number, files))
            except Exception as error:
                raise AssertionError(f"case {number} of {name}: {type(error).__name__}: {error}") from error
    finally:
        signal.signal(signal.SIGALRM, before)
    assert found == {"answer", "error"}
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024 < MOST_MEMORY
