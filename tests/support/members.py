"""Every interface of the package, found by walking it, and example instances of every final class of each."""

import importlib
import inspect
import pkgutil

import equinox as eqx
import numpy as np

import descentlab
from descentlab import (
    attention,
    curvature,
    data,
    datasets,
    experiment,
    losses,
    models,
    optim,
    probes,
    schedule,
    stopping,
    tasks,
)
from descentlab.given import Given
from descentlab.theory import (
    certificate,
    endings,
    lipschitz_search,
    query_block,
    theorem_a,
    theorem_a_prime,
    theorem_b,
    theorem_c,
)
from support.counting import Counting

TEXT = Given("text", np.frombuffer(b"It was a bright cold day in April, and the clocks were striking.", dtype=np.uint8))

LABELLED = Given("rows.csv", np.frombuffer(b"text,label\nfine,1\nshort,0\nlonger than that,1\nbad,0", dtype=np.uint8))

EXAMPLES = {
    attention.Softmax: [
        attention.Softmax(),
        attention.Softmax(0.6, scaling=attention.Power(0.8)),
    ],
    attention.Gaussian: [
        attention.Gaussian(),
        attention.Gaussian(0.3),
        attention.Gaussian(scaling=attention.NoScaling()),
    ],
    attention.NormalizedGaussian: [
        attention.NormalizedGaussian(),
        attention.NormalizedGaussian(0.3),
        attention.NormalizedGaussian(scaling=attention.Power(1.0)),
    ],
    attention.Linear: [attention.Linear(), attention.Linear(scaling=attention.Power(0.3))],
    attention.ReLU: [attention.ReLU(), attention.ReLU(scaling=attention.NoScaling())],
    attention.ALiBi: [attention.ALiBi(), attention.ALiBi(learned=True, scaling=attention.NoScaling())],
    attention.HeadGaussian: [attention.HeadGaussian((0.6,)), attention.HeadGaussian(learned=True)],
    attention.InverseSqrt: [attention.InverseSqrt()],
    attention.NoScaling: [attention.NoScaling()],
    attention.Power: [attention.Power(0.8)],
    models.Normal: [models.Normal(0.5)],
    models.FanIn: [models.FanIn(0.5)],
    models.Orthogonal: [models.Orthogonal(2.0)],
    models.Uniform: [models.Uniform(0.5)],
    models.FanInUniform: [models.FanInUniform(0.5)],
    models.Signs: [models.Signs(0.5)],
    models.Zero: [models.Zero()],
    models.Fixed: [models.Fixed(Given("ones", np.ones((2, 4, 3))))],
    models.AttentionLayer: [
        models.AttentionLayer(attention.Gaussian(0.5), heads=2, head_dim=2),
        models.AttentionLayer(heads=1, head_dim=2, value_dim=6, output=models.Signs(), readout=models.SumPool()),
    ],
    models.Transformer: [
        models.Transformer(width=4, depth=1, heads=2, hidden=6, readout=models.Classify(2, 3)),
        models.Transformer(
            attention.Gaussian(),
            width=4,
            heads=1,
            hidden=None,
            causal=True,
            norm=models.PostNorm(),
            positions=models.NoPositions(),
            chunk=2,
            readout=models.EachToken(2),
        ),
        models.Transformer(
            width=4,
            depth=1,
            hidden=6,
            norm=models.PreNorm(models.RMSNorm()),
            positions=models.SinusoidalPositions(),
            readout=models.ClassToken(3),
        ),
    ],
    models.LinearNetwork: [models.LinearNetwork(width=5, outputs=2), models.LinearNetwork(1, 4, 3, places=(-2, -1))],
    models.NoNorm: [models.NoNorm()],
    models.PreNorm: [models.PreNorm(), models.PreNorm(models.RMSNorm())],
    models.PostNorm: [models.PostNorm()],
    models.LayerNorm: [models.LayerNorm()],
    models.RMSNorm: [models.RMSNorm()],
    models.LearnedPositions: [models.LearnedPositions()],
    models.SinusoidalPositions: [models.SinusoidalPositions()],
    models.NoPositions: [models.NoPositions()],
    models.ClassToken: [models.ClassToken(3)],
    models.Classify: [models.Classify(3, 5)],
    models.EachToken: [models.EachToken(3), models.EachToken(3, places=(-2, -1))],
    models.GELU: [models.GELU()],
    models.Rectifier: [models.Rectifier()],
    models.Identity: [models.Identity()],
    models.PerToken: [models.PerToken()],
    models.MeanPool: [models.MeanPool()],
    models.SumPool: [models.SumPool()],
    tasks.TokenRegression: [
        tasks.TokenRegression(tokens=3, dim=4, target=tasks.InRange(("value", "output"), 0.3)),
        tasks.TokenRegression(tokens=3, dim=4, distribution=tasks.GaussianTokens(), duplicates=1),
    ],
    tasks.TextWindows: [tasks.TextWindows(TEXT, window=3, dim=4), tasks.TextWindows(TEXT, 3, 4, position_scale=0.0)],
    tasks.Classification: [tasks.Classification(Counting())],
    tasks.Arrays: [
        tasks.Arrays(Given("inputs", np.arange(24.0).reshape(2, 3, 4) / 24), Given("targets", np.ones((2, 3))))
    ],
    tasks.Addition: [tasks.Addition(), tasks.Addition(2, tasks.SamePlaces())],
    tasks.NextDigits: [tasks.NextDigits()],
    tasks.SamePlaces: [tasks.SamePlaces()],
    tasks.UnitNorm: [tasks.UnitNorm()],
    tasks.GaussianTokens: [tasks.GaussianTokens(0.5)],
    tasks.Noise: [tasks.Noise(0.5)],
    tasks.SoftmaxHull: [tasks.SoftmaxHull(), tasks.SoftmaxHull(-0.5, -0.25)],
    tasks.Teacher: [tasks.Teacher(models.AttentionLayer(attention.Softmax(), heads=1, head_dim=3))],
    tasks.InRange: [tasks.InRange(("value",), 0.5), tasks.InRange(("query", "key"), 0.1)],
    tasks.Vowel: [tasks.Vowel()],
    tasks.LetterClass: [tasks.LetterClass()],
    optim.GD: [optim.GD(0.05)],
    optim.GramGD: [optim.GramGD(0.9)],
    optim.Momentum: [optim.Momentum(0.02, 0.5)],
    optim.Armijo: [optim.Armijo()],
    optim.Adam: [optim.Adam(0.05), optim.Adam(0.05, weight_decay=0.01)],
    optim.SignGD: [optim.SignGD(0.01)],
    optim.Scheduled: [optim.Scheduled(optim.GD(0.1), optim.OneCycle(60, 5))],
    optim.Clipped: [optim.Clipped(optim.GD(0.1), 0.5)],
    optim.OneCycle: [optim.OneCycle(60, 5)],
    optim.Cosine: [optim.Cosine(60, 5)],
    optim.GradientFlow: [optim.GradientFlow(0.5, 1e-6)],
    probes.AttentionShape: [probes.AttentionShape()],
    probes.LayerAttention: [probes.LayerAttention(examples=2)],
    probes.Distance: [probes.Distance()],
    probes.GradientNorm: [probes.GradientNorm()],
    probes.PLRatio: [probes.PLRatio()],
    probes.Loss: [probes.Loss()],
    probes.HeldOut: [probes.HeldOut(part="test", examples=3)],
    probes.PopulationLoss: [probes.PopulationLoss()],
    probes.RelativeDistance: [probes.RelativeDistance()],
    probes.ZeroGradients: [probes.ZeroGradients()],
    probes.GramShares: [probes.GramShares()],
    probes.Rank: [probes.Rank("query")],
    probes.Margin: [probes.Margin()],
    probes.Products: [probes.Products("query", ("signal", "noise"))],
    probes.Saturation: [probes.Saturation(0.9)],
    probes.Changed: [probes.Changed(probes.WithKernel(attention.Gaussian(0.5)), probes.Loss())],
    probes.WithKernel: [probes.WithKernel(attention.Gaussian(0.5))],
    probes.StepSize: [probes.StepSize()],
    probes.Parameters: [probes.Parameters()],
    probes.FeatureSpectrum: [probes.FeatureSpectrum()],
    probes.GramSpectrum: [probes.GramSpectrum()],
    probes.ModalSpectrum: [probes.ModalSpectrum()],
    probes.Sharpness: [probes.Sharpness(bottom=1, method=curvature.Krylov(1e-3, 200))],
    probes.CriticalSharpness: [probes.CriticalSharpness()],
    probes.TokenRank: [probes.TokenRank()],
    theorem_a.TheoremA: [theorem_a.TheoremA()],
    theorem_a_prime.TheoremAPrime: [theorem_a_prime.TheoremAPrime()],
    theorem_b.TheoremB: [theorem_b.TheoremB()],
    theorem_c.TheoremC: [theorem_c.TheoremC()],
    lipschitz_search.LipschitzSearch: [lipschitz_search.LipschitzSearch(points=1, rounds=1)],
    certificate.Certified: [
        certificate.Certified(certificate=theorem_b.TheoremB()),
        certificate.Certified(certificate=theorem_c.TheoremC()),
        certificate.Certified(certificate=query_block.QueryBlock()),
    ],
    datasets.IMDb: [datasets.IMDb(), datasets.IMDb(length=16, development=0)],
    data.FullBatch: [data.FullBatch(3)],
    data.Minibatch: [data.Minibatch(2), data.Minibatch(2, 5)],
    data.Online: [data.Online(3)],
    data.Padded: [data.Padded(2, 3)],
    losses.SquaredError: [losses.SquaredError()],
    losses.CrossEntropy: [losses.CrossEntropy(), losses.CrossEntropy(ignored=-100)],
    losses.Logistic: [losses.Logistic()],
    probes.Growth: [probes.Growth(), probes.Growth(scales=(0.5, 1.0), draws=2)],
    datasets.Marked: [datasets.Marked(tokens=8, train=8, development=2, test=2)],
    datasets.Pathfinder: [datasets.Pathfinder(path_length=6, train=8, development=2, test=2)],
    datasets.MNIST: [datasets.MNIST(), datasets.MNIST(14, ("test",), 100)],
    datasets.OwnText: [datasets.OwnText(LABELLED, 6, development=1, test=1)],
    query_block.QueryBlock: [query_block.QueryBlock()],
    endings.EndState: [endings.EndState()],
    schedule.Every: [schedule.Every(), schedule.Every(7)],
    schedule.At: [schedule.At((5, 0, 3))],
    schedule.LogSpaced: [schedule.LogSpaced(), schedule.LogSpaced(3)],
    schedule.AtEnd: [schedule.AtEnd()],
    stopping.LossBelow: [stopping.LossBelow(0.1)],
    stopping.GradientBelow: [stopping.GradientBelow(0.1)],
}

OTHERS = [experiment.Experiment(), TEXT, curvature.Krylov()]
"""Definitions that are members of no interface."""

MATRICES = curvature.AbstractCurvature
"""An interface whose members are no definitions."""


def _modules():
    yield descentlab
    for found in pkgutil.walk_packages(descentlab.__path__, "descentlab."):
        yield importlib.import_module(found.name)


def _classes():
    found = {
        kind
        for module in _modules()
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, eqx.Module) and kind.__module__ == module.__name__
    }
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def interfaces():
    """The interfaces of the package: classes of modules that leave something open."""
    return [kind for kind in _classes() if inspect.isabstract(kind) or kind.__name__.startswith("Abstract")]


def members(interface):
    """The final classes of an interface."""
    return [kind for kind in _classes() if issubclass(kind, interface) and kind not in interfaces()]


def examples(interface):
    """Example instances of every member of an interface; `None` stands for those of a class that has none."""
    return [example for kind in members(interface) for example in EXAMPLES.get(kind, [None])]


def name(example):
    """How a test of this example is called."""
    return type(example).__name__
