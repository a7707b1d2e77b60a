"""A driver as ``relume compare`` is one: claims, runs, records. ``python drive.py TOP TRIALS``."""

from __future__ import annotations

import sys
from pathlib import Path

from relume.artifacts.study import Study
from relume.artifacts.subject import Subject
from relume.artifacts.trial import Contender, Design, TrialKey
from relume.lab.executors.local import LocalExecutor
from relume.lab.trials.forked import Place
from relume.lab.trials.spec import Script, TrialSpec


def main(top: Path, count: int) -> None:
    folder = top / "home" / "project"
    study = Study.open(top / "study")
    study.begin(Design((Contender("elu", "elu"),)), Subject.of("train.py", (), folder, versions={}))
    keys = [TrialKey("elu", seed, 1.0, "confirm") for seed in range(count)]
    script = Script("train.py", ("{seed}", str(top / "ledger")), False, str(folder))
    orders = (TrialSpec(key, script, plan={}) for key in keys if study.claim(key))

    def place(order):
        return Place(str(study.log(order.key)), str(study.folder))

    with LocalExecutor(place, jobs=2, body="bodies:plain", preload=("json",)) as executor:
        for outcome in executor.run(orders):
            study.save(outcome.trial)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
