"""Starts at which the certificates are evaluated, and the constants found there."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from descentlab.attention import Gaussian
from descentlab.lanes import Lanes
from descentlab.models import Normal
from descentlab.point import evaluate
from descentlab.probes import FeatureSpectrum
from descentlab.theory.certificate import Certified
from descentlab.theory.theorem_b import TheoremB
from descentlab.theory.theorem_c import TRAINED, TheoremC
from descentlab.training import prepare
from support.problems import SMALL
from support.quantities import by_quantity

PROBES = {"features": FeatureSpectrum(), "b": Certified(certificate=TheoremB()), "c": Certified(certificate=TheoremC())}


def start(kernel=None, *, scale=1.0, value=0.0, trained=TRAINED, task=None, **model):
    """Six targets, eight features; nothing is trained."""
    layer = dataclasses.replace(
        SMALL.model, attention=kernel or Gaussian(0.5), value=Normal(value), output=Normal(scale), **model
    )
    tokens = dataclasses.replace(SMALL.task, **(task or {}))
    return dataclasses.replace(SMALL, model=layer, task=tokens, trained=trained, steps=0)


def constants(experiments, probes=None):
    """What the probes see at each start, by probe and quantity; compiled unoptimised, which is much faster."""
    probes = probes or PROBES
    lanes = Lanes(tuple(experiments), (0,) * len(experiments))
    held, _ = prepare(lanes)

    def measure(objective, params):
        point = evaluate(objective, params, jnp.asarray(0, jnp.int32), params, jnp.asarray(jnp.nan))
        return {name: probe(point) for name, probe in probes.items()}

    with jax.enable_x64(True):
        compiled = eqx.filter_jit(eqx.filter_vmap(measure), compiler_options={"xla_backend_optimization_level": 0})
        values = {name: np.asarray(value) for name, value in compiled(held.objective, held.start).items()}
    return [
        {name: by_quantity(probe, values[name][lane].tolist()) for name, probe in probes.items()}
        for lane in range(len(experiments))
    ]
