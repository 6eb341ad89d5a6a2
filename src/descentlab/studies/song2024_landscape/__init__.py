"""Is the loss landscape of Gaussian attention smoother than that of softmax?

Song et al. (2024) train in two stages and draw the loss around the second one on a plane: the landscapes of a task
differ only by the attention kernel of the second stage, and the Gaussian one looks smoother. Which plane, which weights
move in stage two, and on what scale is not known, and one picture proves little. We train stage one once and stage two
with each kernel from its end, all weights or the query block alone, under several seeds, and look at three kinds of
planes: *random* ones through the end (directions scaled to the weights, the same draw for both kernels), the *plane of
the path*, and the *common* plane through the common start and both ends, on which the kernel is the only difference.

Pictures are not claims. On every plane we count the strict local minima, take the mean and the largest absolute
Laplacian and the share of the plane where the loss curves downwards in some direction; at the ends the largest Hessian
eigenvalue; between the two stages the height that has to be climbed on the straight line. Each number is compared
between the kernels seed by seed, and the verdict is that of the 95 % interval over seeds.

A random plane is measured in units of the weights, so that the scaling symmetry of query and key changes nothing; the
other planes in units of length. A loss that is larger everywhere also has larger curvature: stage two starts from
weights of the other kernel, and that is part of what is compared.
"""

from descentlab.attention import Gaussian, Softmax
from descentlab.studies.song2024_landscape.experiments import BASE
from descentlab.studies.song2024_landscape.findings import FINDINGS
from descentlab.studies.song2024_landscape.sections import section
from descentlab.study import Study
from descentlab.sweep import grid

study = Study(
    name="song2024_landscape",
    title="Loss landscapes of softmax and Gaussian attention",
    question=__doc__ or "",
    paper="Song, Han, Zhang, Ding, Hong (2024), arXiv:2411.07538, figure 4",
    base=BASE,
    axis=("model.attention", grid(BASE, {"model.attention": [Softmax(), Gaussian()]})),
    sections=(section("layer"), section("layer, Gaussian first"), section("text"), section("pathfinder")),
    findings=FINDINGS,
)
