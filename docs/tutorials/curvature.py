"""Train a small Transformer, look at its Hessian block by block, and draw the spectra.

Usage: python docs/tutorials/curvature.py [page.html]
"""

import sys

import jax
import numpy as np

from descentlab import Every, Experiment, FullBatch, Run, train
from descentlab.curvature import Functional, GaussNewton, Hessian, eigenpairs, frobenius_squared, spectral_density
from descentlab.models import AttentionLayer
from descentlab.optim import GD
from descentlab.plots.spectra import densities
from descentlab.probes import CriticalSharpness, Loss, Sharpness
from descentlab.tasks import TokenRegression

LR = 0.05
EXPERIMENT = Experiment(
    task=TokenRegression(tokens=6, dim=8),
    data=FullBatch(8),
    model=AttentionLayer(heads=2),
    optimizer=GD(LR),
    probes={"loss": Loss(Every(1)), "sharpness": Sharpness(Every(50)), "critical": CriticalSharpness(Every(1))},
    steps=300,
)

run = train(EXPERIMENT)
sharp = run["sharpness"].sel(eigenvalue="top.0", quantity="value")
critical = run["critical"].sel(quantity="sharpness")
print("  step   loss  sharpness  along the update  2 / step size")
for at, step in enumerate(sharp.steps):
    loss = run["loss"].values[0, step]
    along = critical.values[0, step]
    print(f"{step:6} {loss:6.3f} {sharp.values[0, at]:10.2f} {along:17.2f} {2 / LR:14.1f}")

with jax.enable_x64(True):
    lane = Run(EXPERIMENT, run).lane(0)
    hessian = Hessian(lane.objective, lane.end)

    found = eigenpairs(hessian, top=3, bottom=1)
    for value, error, converged in zip(*found.values, found.converged, strict=True):
        print(f"eigenvalue {value:9.4f}, residual {error:.0e}, {'converged' if converged else 'a bound'}")
    print(f"verified: {bool(found.verified)}, but with probability {float(found.risk):g}")

    print("\nblock     parameters      |H|    |H_o|    |H_f|")
    for name, size in hessian.blocks.items():
        norms = [
            float(np.sqrt(frobenius_squared(kind(lane.objective, lane.end)[name], key=jax.random.key(1)).value))
            for kind in (Hessian, GaussNewton, Functional)
        ]
        print(f"{name:8} {size:11} " + " ".join(f"{norm:8.3f}" for norm in norms))

    curves = {}
    for name in hessian.blocks:
        density = spectral_density(hessian[name], probes=20, steps=40, key=jax.random.key(2))
        curves[name] = (density.grid, density.density.value, density.density.error)
figure = densities("Spectra of the diagonal blocks of the Hessian", curves)
figure.write_html(sys.argv[1] if len(sys.argv) > 1 else "spectra.html")
