"""``PACKAGE survey PLAN SCRIPT`` or ``PACKAGE treat PLAN CONTENDER SEED FACTOR SCRIPT``: a trial as the lab runs it."""

import importlib
import json
import runpy
import sys
from pathlib import Path

from relume.artifacts.swap_plan import SwapPlan
from relume.framework import FRAMEWORKS
from relume.lab.contenders import parse_contender
from relume.treatment.seeding import Seeding
from relume.watching.patches import Patches

package, what, plan, *how, script = sys.argv[1:]
importlib.import_module(package)
framework = next(each for each in FRAMEWORKS if each.package == package)
name, seed, factor = how or ("", 0, 1.0)
seeds = Seeding(int(seed))
if what == "survey":
    running = framework.load_survey()(seeds)
else:
    told = SwapPlan.from_dict(json.loads(Path(plan).read_text()))
    running = framework.load_treatment()(parse_contender(name) if name else None, told, "", seeds, float(factor))
seeds.start(Patches())
running.start()
runpy.run_path(script, run_name="__main__")
if what == "survey":
    Path(plan).write_text(json.dumps(running.stop().to_dict()))
else:
    running.stop()
    facts = running.facts()
    print(len(facts.sites), facts.parameters_added, facts.steps, bool(facts.weights))
