"""What does a Transformer cost to run, and what would change it?

Kim et al. (2023) count the operations and the memory traffic of Transformers, model an accelerator that runs them, and
review what makes them cheaper. We count the same from the shapes, hold the counts against every table and figure that
is printed, and go on to what the survey could only cite: integer arithmetic with real integers, also for the Gaussian
kernel.

FLOPs are multiplications and additions; a byte is moved where an operand is read once or a result written once, one
byte an entry. Three numbers are not derived but *fitted* to the printed tables, and claims that contain one say so: 10
operations an entry of GELU, 8 of LayerNorm, and 17 entries that the nonlinear operators of an encoder's layer move a
token and column, where the definition gives 18. That tables are met says nothing about these three.

A claim whose source says *derived* or *proposed* is not printed in the survey but follows from its model or from public
code.
"""

from descentlab.studies.kim2023_inference import accelerator, compressed, integers, mappings, tables
from descentlab.studies.kim2023_inference.classifiers import BASES
from descentlab.studies.kim2023_inference.findings import FINDINGS
from descentlab.study import Study

study = Study(
    name="kim2023_inference",
    title="What a Transformer costs to run",
    question=__doc__ or "",
    paper="Kim et al. (2023), Full Stack Optimization of Transformer Inference: a Survey, arXiv:2302.14017",
    base=BASES[0],
    axis=("model.attention", BASES),
    sections=(tables.section, accelerator.section, mappings.section, integers.section, compressed.section),
    findings=FINDINGS,
)
