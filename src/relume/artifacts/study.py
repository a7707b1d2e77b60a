"""The study: a folder that keeps every trial, however often the comparison is interrupted.

::

    relume-study/
    ├─ study.json        what is compared, the generations of the script, the looks
    ├─ trials/<stem>.json  one trial, however it ended; never written a second time
    ├─ trials/<stem>.log   what it printed
    └─ locks/<stem>        a trial that is being run, for as long as its process lives

A file is written under another name, brought to the disk, and then renamed: it is there whole, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from relume.artifacts.locks import Lock, waiting_for
from relume.artifacts.study_file import SCHEMA, damaged, read_json, write_json, writing
from relume.artifacts.subject import Subject, without_folder
from relume.artifacts.trial import Design, InterimAnalysis, Trial, TrialKey
from relume.artifacts.trial_json import (
    design_from_json,
    design_to_json,
    look_from_json,
    trial_from_json,
    trial_to_json,
)
from relume.artifacts.typed import typed
from relume.errors import StudyError

DEFAULT = "relume-study"
"""The folder where none is named."""

_FOLDERS = ("trials", "locks")

_OLD = 3600.0
"""Seconds after which a temporary file is no longer being written."""

_FIXED = ("metric", "mode", "at", "tune_metric", "delta", "alpha")
"""Fields of the design that may not change after a verdict was printed."""


@dataclass(frozen=True)
class Generation:
    """The trials of one and the same subject. ``began``: seconds since 1970."""

    number: int
    subject: Subject
    began: float = 0.0


class Begun(NamedTuple):
    """How a study continues: "new", "resumed", or "changed" if the script changed; then the change, in words."""

    how: Literal["new", "resumed", "changed"]
    changes: tuple[str, ...]


class Study:
    """A study folder, read or added to. Several processes may hold the same one.

    Attributes:
        folder: its path. ``design``: the latest one; None before :meth:`begin`.
        generations: all that there were, the oldest first. ``generation``: the one whose trials count, 0 without one.
        subject: of that generation.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.design: Design | None = None
        self.generations: tuple[Generation, ...] = ()
        self.generation = 0
        self._looks: list[dict[str, Any]] = []
        self._locks: dict[TrialKey, Lock] = {}

    # ---- reading -------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, folder: str | Path) -> Study:
        """A study that is there.

        Raises: StudyError: it is missing, damaged, not a study, or of a newer relume.
        """
        study = cls(Path(folder))
        if not study._file.exists():
            raise StudyError(
                f"There is no study in {study.folder}: it has no study.json. Make one with "
                f"`relume compare --study {study.folder} SCRIPT`, or give the folder of a study.",
                slug="study-absent",
            )
        study._load()
        return study

    @property
    def subject(self) -> Subject | None:
        """What the trials that count were runs of."""
        return self.generations[self.generation - 1].subject if self.generation else None

    @property
    def looks(self) -> tuple[InterimAnalysis, ...]:
        """The verdicts that were printed of this generation, in their order."""
        return tuple(look_from_json(look) for look in self._looks if look["generation"] == self.generation)

    def trials(self, generation: int | None = None) -> tuple[Trial, ...]:
        """The trials of a generation, by default of the one that counts, in the order of their keys.

        Raises: StudyError: a file is damaged or foreign; its message says how to continue without it.
        """
        wanted = self.generation if generation is None else generation
        found = []
        for path in sorted((self.folder / "trials").glob("*.json")):
            told = read_json(
                path, "trial", "The other trials are not affected: delete this file, and its trial runs again."
            )
            try:
                if told["generation"] == wanted:
                    found.append(trial_from_json(told))
            except (KeyError, TypeError, ValueError) as error:
                raise damaged(
                    path, f"{type(error).__name__}: {error}", "Delete it, and its trial runs again."
                ) from error
        return tuple(sorted(found, key=lambda trial: (trial.key.stage, *trial.key[:3])))

    def __contains__(self, key: TrialKey) -> bool:
        """Whether the trial is recorded, perhaps a moment ago by another process."""
        return self._trial_file(key).exists()

    def stem(self, key: TrialKey) -> str:
        """The name of a trial's files without their endings: readable and unique."""
        exact = json.dumps([self.generation, *key])
        shown = re.sub(r"[^A-Za-z0-9_.]+", "-", key.activation).strip("-.")[:40]
        digest = hashlib.sha256(exact.encode()).hexdigest()[:8]
        return f"g{self.generation}-{key.stage}-seed{key.seed}-{shown}-lr{key.lr_factor:g}-{digest}"

    def log(self, key: TrialKey) -> Path:
        """The file for what a trial prints."""
        return self.folder / "trials" / f"{self.stem(key)}.log"

    # ---- writing -------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, folder: str | Path) -> Study:
        """The study of a folder; created if missing.

        Raises: StudyError: the folder holds something else or cannot be written.
        """
        study = cls(Path(folder))
        if study._is_foreign():
            raise StudyError(
                f"{study.folder} is not empty and is not a study: it has no study.json. Nothing was written to it. "
                "Give an empty or a new folder with --study.",
                slug="study-foreign",
            )
        if study._file.exists():
            study._load()
        with writing(study.folder):
            for name in _FOLDERS:
                (study.folder / name).mkdir(parents=True, exist_ok=True)
            for left in (
                *study.folder.glob(".*.tmp"),
                *(study.folder / "trials").glob(".*.tmp"),
            ):  # by a killed process
                with contextlib.suppress(FileNotFoundError):  # or by one that is just done with it
                    if time.time() - left.stat().st_mtime > _OLD:
                        left.unlink()
        return study

    def _is_foreign(self) -> bool:
        """Whether the folder has other files; files of a process that is just creating a study do not count."""
        if not self.folder.is_dir():
            return self.folder.is_file()
        names = [path.name for path in self.folder.iterdir() if path.name not in _FOLDERS]
        others = any(not (name.startswith(".") and name.endswith(".tmp")) for name in names)
        return others and not self._file.exists()  # asked for last: it may have come meanwhile

    def find(self, subject: Subject) -> int:
        """The generation of this very subject, the newest of several; 0 if it was not run before."""
        return next((g.number for g in reversed(self.generations) if not subject.differences(g.subject)), 0)

    def local_modules(self, script: str) -> tuple[str, ...]:
        """The files next to the script that it loaded when it was last surveyed, by their paths from the folder."""
        shown = without_folder(script)
        known = [g.subject for g in self.generations if g.subject.script == shown]
        return tuple(name for name in known[-1].sources if name != script) if known else ()

    def begin(self, design: Design, subject: Subject) -> Begun:
        """Take the generation of this subject, an earlier one where it was run before, and keep the design.

        Raises: StudyError: verdicts were printed of this generation, and the design asks another question of it.
        """
        with self._alone():
            before = self.generations[-1].subject if self.generations else subject
            number = self.find(subject)
            if number:
                begun = Begun("resumed", ())
            else:
                begun = Begun("changed" if self.generations else "new", subject.differences(before))
                number = len(self.generations) + 1
                self.generations += (Generation(number, subject, round(time.time(), 3)),)
            self.generation = number
            self._keep_to(design)
            self.design = design
            self._save()
        return begun

    def save(self, trial: Trial) -> None:
        """Record a trial, and give its lock back. One that is recorded is left as it is.

        Raises: StudyError: it cannot be written; what was recorded before is as it was.
        """
        path = self._trial_file(trial.key)
        told = {"schema": SCHEMA, "is": "trial", "generation": self.generation, **trial_to_json(trial)}
        try:
            if not path.exists():
                write_json(path, told)
        finally:
            self.release(trial.key)

    def add_look(self, look: InterimAnalysis) -> None:
        """Keep that a verdict was printed, before it is.

        Raises: StudyError: it cannot be written: then nothing should be printed.
        """
        with self._alone():
            self._looks.append({**asdict(look), "generation": self.generation})
            self._save()

    def claim(self, key: TrialKey) -> bool:
        """Whether the trial is this process's to run: it is not recorded, and no other process runs it.

        Raises: StudyError: the folder cannot be written.
        """
        if key in self or key in self._locks:
            return False
        lock = Lock(self.folder / "locks" / self.stem(key))
        with writing(self.folder):
            if not lock.take():
                return False
        if key in self:  # recorded between the two
            lock.release()
            return False
        self._locks[key] = lock
        return True

    def release(self, key: TrialKey) -> None:
        """Give back what was claimed and is not to be run now."""
        lock = self._locks.pop(key, None)
        if lock is not None:
            lock.release()

    def close(self) -> None:
        """Give back everything that was claimed."""
        for key in list(self._locks):
            self.release(key)

    # ---- study.json ------------------------------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self.folder / "study.json"

    def _trial_file(self, key: TrialKey) -> Path:
        return self.folder / "trials" / f"{self.stem(key)}.json"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process alters study.json meanwhile; what they have added is taken over."""
        with writing(self.folder):
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
        with waiting_for(self.folder / "locks" / "study"):
            own = self.generation
            if self._file.exists():
                self._load()
            self.generation = own or self.generation
            yield

    def _load(self) -> None:
        told = read_json(self._file, "study", "Its trials in trials/ are not affected.")
        try:
            self.generations = typed(tuple[Generation, ...], told["generations"], "generations")
            self.generation = typed(int, told["generation"], "generation")
            self.design = design_from_json(told["design"])
            self._looks = [dict(look) for look in told["looks"]]
            if [g.number for g in self.generations] != list(range(1, len(self.generations) + 1)):
                raise ValueError("generations are missing")
            if self.generation not in range(len(self.generations) + 1):
                raise ValueError(f"there is no generation {self.generation}")
            [look_from_json(look) for look in self._looks]
        except (KeyError, TypeError, ValueError) as error:
            advice = "Its trials in trials/ are not affected. Restore study.json, or start a new study."
            raise damaged(self._file, f"{type(error).__name__}: {error}", advice) from error

    def _save(self) -> None:
        if self.design is None:
            return
        told = {
            "schema": SCHEMA,
            "is": "study",
            "generation": self.generation,
            "design": design_to_json(self.design),
            "generations": [asdict(generation) for generation in self.generations],
            "looks": self._looks,
        }
        write_json(self._file, told)

    def _keep_to(self, design: Design) -> None:
        if self.design is None or not self.looks:
            return
        other = [name for name in _FIXED if getattr(design, name) != getattr(self.design, name)]
        if other:
            was = ", ".join(f"{name} {getattr(self.design, name)!r}" for name in other)
            now = ", ".join(f"{name} {getattr(design, name)!r}" for name in other)
            raise StudyError(
                f"A verdict of this study was already printed, with {was}; it cannot be repeated with {now}, because "
                "the question is fixed before the first result. Ask the same question, or start another study with "
                "--study.",
                slug="study-question-fixed",
            )


def read_all(folders: Iterable[str | Path]) -> list[Study]:
    """Several studies, in the order given, each once.

    Raises: StudyError: one of them cannot be read.
    """
    return [Study.read(folder) for folder in dict.fromkeys(Path(folder).resolve() for folder in folders)]


def in_shard(key: TrialKey, shard: int, shards: int) -> bool:
    """Whether a trial is run by this shard (1 … shards): each trial by one of them, whoever asks."""
    exact = hashlib.sha256(json.dumps(list(key)).encode()).digest()
    return int.from_bytes(exact[:8], "big") % shards == shard - 1
