"""Which attention kernel classifies better, and which learns faster?

Song et al. (2024) train a Transformer of two layers with the softmax and with the Gaussian kernel to classify film
reviews byte by byte and Pathfinder images pixel by pixel, and report higher accuracy and faster convergence for the
Gaussian kernel. We train the same model, each kernel with learning rates and an initial scale of its own, several
seeds each, and compare them with the uncertainty that the seeds leave. Rates are chosen on a development part of the
training data; the test part is looked at once, after the last step.

Neither learning rates nor batch sizes, lengths of training or seeds of the paper are known; the block, its sizes and
the batch are those of Chen et al. (2021), arXiv:2111.00035, whose Gaussian kernel it is. Their test accuracies after
50,000 steps of AdamW: 61.95 % (softmax) and 60.22 % (Gaussian) on reviews, 65.26 % and 70.73 % on Pathfinder.
"""

from descentlab.attention import Gaussian, Softmax
from descentlab.studies.song2024_tasks.experiments import BASE
from descentlab.studies.song2024_tasks.findings import FINDINGS
from descentlab.studies.song2024_tasks.sections import section
from descentlab.study import Study
from descentlab.sweep import grid

study = Study(
    name="song2024_tasks",
    title="Softmax and Gaussian attention on real tasks",
    question=__doc__ or "",
    paper="Song, Han, Zhang, Ding, Hong (2024), arXiv:2411.07538, section 6",
    base=BASE,
    axis=("model.attention", grid(BASE, {"model.attention": [Softmax(), Gaussian()]})),
    sections=(section("text"), section("pathfinder")),
    findings=FINDINGS,
)
