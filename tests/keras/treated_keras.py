"""``survey PLAN`` or ``treat PLAN CONTENDER SEED FACTOR``, each with a script: what the lab does in a trial's process."""

import json
import runpy
import sys
from pathlib import Path

import keras  # noqa: F401 - the treatment begins when it is imported

from relume.artifacts.swap_plan import SwapPlan
from relume.keras.treatment import KerasSurvey, KerasTreatment
from relume.lab.contenders import parse_contender
from relume.treatment.seeding import Seeding
from relume.watching.patches import Patches

what, plan, *how, script = sys.argv[1:]
name, seed, factor = how or ("", 0, 1.0)
seeds = Seeding(int(seed))
if what == "survey":
    running = KerasSurvey(seeds)
else:
    told = SwapPlan.from_dict(json.loads(Path(plan).read_text()))
    running = KerasTreatment(parse_contender(name) if name else None, told, "", seeds, float(factor))
seeds.start(Patches())
running.start()
runpy.run_path(script, run_name="__main__")
if what == "survey":
    Path(plan).write_text(json.dumps(running.stop().to_dict()))
else:
    running.stop()
    facts = running.facts()
    print(len(facts.sites), facts.parameters_added, facts.steps, bool(facts.weights))
