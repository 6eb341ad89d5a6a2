"""Run a study from Python and from the command line, read what it kept, change one field.

A study is a question, experiments that answer it, and claims about their runs. The one used here is in
`own_study.py`, next to this file; `song2024_convergence`, which comes with the package, works the same way.
"""

import dataclasses
import json
import sys
from pathlib import Path

import polars as pl

from descentlab import Size, Store, run_study, use_compilation_cache
from descentlab.cli import main
from descentlab.pages.study import study_page
from descentlab.study import requests

FOLDER = Path(__file__).parent
sys.path.append(str(FOLDER))
from own_study import study  # noqa: E402

use_compilation_cache()  # compiled programs are kept between processes, as the command line does

# What would be run: one request an experiment, by section and family.
wanted = requests(study, Size.SMOKE)
for section, families in wanted.items():
    for family, found in families.items():
        print(f"{section}/{family}: {len(found)} experiments, {len(found[0].seeds)} seeds each")

# Run it. Every finished lane goes to the store; a second call trains nothing.
store = Store("runs")
outcome = run_study(study, Size.SMOKE, wanted, store)
for claim in outcome.claims:
    print(f"{claim.verdict}: {claim.text} ({claim.measured:.3g} against {claim.expected:.3g})")
assert all(claim.verdict == "holds" for claim in outcome.claims)

# The same from the command line, as `descentlab run own_study.py --size smoke --json claims.json`. Nothing is
# trained, because the definitions are the same; the claims are judged again and a page is written.
before = len(store.table())
assert main(["run", str(FOLDER / "own_study.py"), "--size", "smoke", "--json", "claims.json"]) == 0
answer = json.loads(Path("claims.json").read_text())
print("page:", answer["report"])
assert len(store.table()) == before
assert [one["verdict"] for one in answer["claims"]] == [str(claim.verdict) for claim in outcome.claims]

# The page from Python; a notebook shows it with `IPython.display.HTML(page.html())`.
page = study_page(outcome)
print("page:", page.write("first_study.html"))

# All runs of a store are one table: digest, seed, step, probe, one column an axis, value.
table = store.table()
print(table.columns)
last = (
    table.filter(pl.col("probe") == "loss")
    .sort("step")
    .group_by("digest", "seed", maintain_order=True)
    .agg(pl.col("value").first().alias("first"), pl.col("value").last().alias("last"))
)
print(last)
assert (last["last"] < last["first"]).all()

# A digest leads back to its definition.
experiment = store.experiment(table["digest"][0])
print(experiment.optimizer, experiment.model.attention)

# Override a field: `descentlab run own_study.py --size smoke --model.heads 2` on the command line, a dotted path
# in Python. Another definition is another digest, so its runs are trained and lie beside the others.
changed = dataclasses.replace(study, overrides={"model.heads": 2})
narrow = run_study(changed, Size.SMOKE, requests(changed, Size.SMOKE), store)
assert store.table()["digest"].n_unique() == 2 * table["digest"].n_unique()
print({claim.id: str(claim.verdict) for claim in narrow.claims})
