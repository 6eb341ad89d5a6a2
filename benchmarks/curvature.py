"""How long do spectra of the Hessian of a Transformer take, against the tools for PyTorch?

Two layers of width 32 on 64 sequences of 32 tokens, single precision, the same weights and data on both sides. A tool
is timed at the loosest setting at which its five largest eigenvalues are right to 1e-3, against a reference in double
precision, and have true residuals ||Hv - lambda v|| below 1e-3 lambda; what no setting gets right says so. *verified*
adds fresh starts that bound the probability that one is missing, which no other tool has. Densities have 5 probes of
50 steps. The Gram matrix is that of 512 samples with 10 outputs each under a cap on memory, with its smallest
eigenvalue.

    python benchmarks/curvature.py
"""

import sys
import time
from importlib import util

import common
from encoder import Encoder, encoder, fill_encoder, tensor, torch_encoder

SIZE = Encoder(samples=64, length=32, width=32, heads=2, head=16, hidden=64, fused=False)
OUTPUTS = Encoder(samples=512, length=16, width=32, heads=2, head=16, hidden=64, classes=10, fused=False)
ACCURACY, PAIRS, PROBES, STEPS = 1e-3, 5, 5, 50
MEMORY = 2**30
OTHERS = ("torch", "curvlinops", "pyhessian", "hessian_eigenthings")
SIZES = "PyHessian, largest in size"
WANTED = {"top": 3, "density": 1.8, "gram": 2}


def twin(size):
    """Our objective and parameters, and the PyTorch module with inputs and targets."""
    import torch

    objective, params = encoder(size)
    module = torch_encoder(size)
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), fill_encoder(module, params, size), strict=True):
            parameter.copy_(value)
    inputs, targets = tensor(objective.inputs).long(), tensor(objective.targets).long()
    common.agree(objective.loss(params), torch.nn.functional.cross_entropy(module(inputs), targets).item(), "float32")
    return objective, params, module, (inputs, targets)


def exact(objective, params):
    """The largest eigenvalues in double precision, and those that are largest in size, which PyHessian finds."""
    import jax
    import numpy as np

    from descentlab.curvature import Hessian, Krylov, eigenpairs

    with jax.enable_x64(True):

        def double(leaf):
            return leaf.astype(np.float64) if hasattr(leaf, "dtype") and leaf.dtype == np.float32 else leaf

        wide, at = jax.tree.map(double, (objective, params))
        found = eigenpairs(Hessian(wide, at), top=PAIRS, bottom=PAIRS, method=Krylov(1e-8))
        assert found.converged.all()
        values = np.asarray(found.values.value)
        sizes = values[np.argsort(-np.abs(values))[:PAIRS]]
        return values[:PAIRS], np.sort(sizes)[::-1]


def operators(module, batch):
    """The Hessian as each tool has it."""
    import hessian_eigenthings
    import pyhessian
    import torch
    from curvlinops import HessianLinearOperator

    loss = torch.nn.CrossEntropyLoss()
    params = list(module.parameters())
    linear = HessianLinearOperator(module, loss, params, [batch], check_deterministic=False)
    supervised = hessian_eigenthings.supervised_loss(loss)
    things = hessian_eigenthings.HessianOperator(module, [batch], supervised)
    return linear, pyhessian.hessian(module, loss, data=batch, cuda=False), things


def top_contenders(objective, params, module, batch):
    """By tool a list of settings in words with the call that returns values and relative residuals, loosest first."""
    import hessian_eigenthings
    import numpy as np
    from scipy.sparse.linalg import eigsh

    from descentlab.curvature import Hessian, Krylov, eigenpairs

    linear, power, things = operators(module, batch)
    hessian, whole = Hessian(objective, params), linear.to_scipy()

    def ours(tolerance, verify):
        def call():
            found = eigenpairs(hessian, top=PAIRS, method=Krylov(tolerance, verify=verify))
            values, errors = (np.asarray(one) for one in found.values)
            return values, None, errors / values

        return call

    def arpack(tolerance):
        start = np.random.default_rng(0).normal(size=linear.shape[0]).astype(np.float32)
        return lambda: (*eigsh(whole, k=PAIRS, which="LA", tol=tolerance, v0=start), None)

    def powers(most, tolerance):
        def call():
            values, vectors = power.eigenvalues(maxIter=most, tol=tolerance, top_n=PAIRS)
            flat = [np.concatenate([part.ravel().numpy() for part in vector]) for vector in vectors]
            return np.asarray(values), np.stack(flat, axis=1), None

        return call

    def lanczos(steps):
        def call():
            found = hessian_eigenthings.lanczos(
                things, k=PAIRS, max_iter=steps, tol=1e-3, which="LA", reorthogonalize=True, seed=0
            )
            return np.asarray(found.eigenvalues), np.asarray(found.eigenvectors).T, None

        return call

    tolerances = (1e-1, 1e-2, 1e-3, 1e-4)
    return whole, {
        "descentlab": [(f"tolerance {one:g}", ours(one, False)) for one in tolerances],
        "descentlab, verified": [(f"tolerance {one:g}", ours(one, True)) for one in tolerances],
        "curvlinops, ARPACK": [(f"tol {one:g}", arpack(one)) for one in tolerances],
        SIZES: [(f"{n} iterations, tol {t:g}", powers(n, t)) for n, t in ((100, 1e-3), (300, 1e-4), (500, 1e-6))],
        "hessian-eigenthings": [(f"{n} steps", lanczos(n)) for n in (10, 15, 20, 25, 30, 40, 60, 80)],
    }


def settled(whole, contenders, largest, by_size):
    """By tool the first setting whose pairs are right: words, call, deviation and residual; no call where none is."""
    import numpy as np

    chosen = {}
    for tool, settings in contenders.items():
        for words, call in settings:
            values, vectors, residuals = call()
            if residuals is None:
                residuals = np.linalg.norm(whole @ vectors - values * vectors, axis=0) / np.abs(values)
            true = by_size if tool == SIZES else largest
            gap, residual = (float(np.max(one)) for one in (np.abs((np.sort(values)[::-1] - true) / true), residuals))
            right = gap <= ACCURACY and residual <= ACCURACY
            chosen[tool] = (f"{words}: off by {gap:.0e}, residual {residual:.0e}", call if right else None)
            if right:
                break
    return chosen


def density_contenders(objective, params, module, batch):
    """Densities of equal probes and steps. PyHessian calls `torch.eig`, which PyTorch no longer has."""
    import hessian_eigenthings
    import jax
    import torch
    from curvlinops import lanczos_approximate_spectrum

    from descentlab.curvature import Hessian, spectral_density

    linear, power, things = operators(module, batch)
    hessian = Hessian(objective, params)
    key = jax.random.key(0)

    def eig(matrix, **_):
        values, vectors = torch.linalg.eig(matrix)
        return torch.view_as_real(values), vectors.real

    torch.eig = eig

    def things_density():
        return hessian_eigenthings.spectral_density(things, num_runs=PROBES, lanczos_steps=STEPS, seed=0)

    return {
        "descentlab": lambda: jax.block_until_ready(spectral_density(hessian, probes=PROBES, steps=STEPS, key=key)),
        "curvlinops": lambda: lanczos_approximate_spectrum(linear, STEPS, num_points=512, num_repeats=PROBES),
        "PyHessian": lambda: power.density(iter=STEPS, n_v=PROBES),
        "hessian-eigenthings": things_density,
    }


def gram_contenders(objective, params, module, batch):
    """The smallest eigenvalue of the Gram matrix of outputs, Jacobians in pieces under the cap."""
    import torch

    from descentlab.curvature import Gram

    inputs, _ = batch
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
    count = inputs.shape[0]
    size = sum(one.numel() for one in weights.values())
    some = int((MEMORY - 4 * (count * OUTPUTS.classes) ** 2) // (3 * 4 * OUTPUTS.classes * size))

    def jacobian(part):
        def outputs(weights, example):
            return torch.func.functional_call(module, weights, (example[None],))[0]

        rows = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))(weights, part)
        return torch.cat([one.flatten(2) for one in rows.values()], dim=2).flatten(0, 1)

    def recipe():
        pieces = inputs.split(some)
        with torch.no_grad():
            rows = [torch.cat([jacobian(one) @ jacobian(other).T for other in pieces], dim=1) for one in pieces]
            return float(torch.linalg.eigvalsh(torch.cat(rows) / count)[0])

    return {
        "descentlab": lambda: Gram(objective, params).extremes(memory=MEMORY).smallest.value,
        "torch.func": recipe,
    }


def measure(what, seconds):
    from descentlab.curvature import Hessian, Krylov, eigenpairs

    if what == "linear":
        return growing()
    objective, params, module, batch = twin(OUTPUTS if what == "gram" else SIZE)
    details = {}
    begun = time.perf_counter()
    if what == "top":
        eigenpairs(Hessian(objective, params), top=PAIRS, method=Krylov(ACCURACY))
        first = time.perf_counter() - begun
        found = settled(*top_contenders(objective, params, module, batch), *exact(objective, params))
        details = {tool: words for tool, (words, _) in found.items()}
        calls = {tool: call for tool, (_, call) in found.items() if call is not None}
    else:
        make = density_contenders if what == "density" else gram_contenders
        calls = make(objective, params, module, batch)
        calls["descentlab"]()
        first = time.perf_counter() - begun
    if what == "gram":
        details = {tool: f"{call():.3e}" for tool, call in calls.items()}
    times = common.compete(calls, seconds=seconds, least=3)
    return {"first": first, "times": times, "details": details}


def growing():
    """Our time and temporary memory as probes and batches grow."""
    import equinox as eqx
    import jax

    from descentlab.curvature import Hessian, traces

    objective, params = encoder(SIZE)
    found = {}
    for probes in (8, 16, 32):
        for batch in (None, 8, 16, 32):
            if batch is not None and probes != 8:
                continue
            hessian, keys = Hessian(objective, params, batch), jax.random.split(jax.random.key(0), probes)
            program = eqx.filter_jit(lambda one, keys: traces._drawn(one, traces._TRACE, keys))
            memory = program.lower(hessian, keys).compile().compiled.memory_analysis().temp_size_in_bytes
            call = lambda: jax.block_until_ready(program(hessian, keys))  # noqa: B023, E731
            time_taken = common.compete({"one": call}, seconds=0, least=3)["one"]["wall"]
            found[f"{probes} probes, {'all' if batch is None else batch} examples at once"] = [
                time_taken,
                memory / 2**20,
            ]
    return found


def main(seconds):
    print(f"# Spectra of the Hessian\n\n{common.machine()}\n")
    missing = [name for name in OTHERS if util.find_spec(name) is None]
    if missing:
        print(f"{', '.join(missing)} not installed, so the comparison is SKIPPED: `make bench` installs them")
        return
    print("| what | threads | tool | setting or value | s | times slower, wall | CPU | wanted |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for what in ("top", "density", "gram"):
        for threads in common.thread_counts():
            found = common.in_process(__file__, threads, what=what, seconds=seconds)
            times = found["times"]
            for tool in dict.fromkeys([*found["details"], *(name for name in times if name != "turns")]):
                note = found["details"].get(tool, "")
                if tool not in times:
                    print(f"| {what} | {threads} | {tool} | {note} | not reached | | | |", flush=True)
                    continue
                ratios = [f"{times[tool][clock] / times['descentlab'][clock]:.3g}" for clock in ("wall", "cpu")]
                wanted = WANTED[what] if tool != "descentlab" else f"first call {found['first']:.3g} s"
                cells = [what, threads, tool, note, f"{times[tool]['wall']:.3g}", *ratios, wanted]
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print("\n| trace of our Hessian (one thread) | s | temporary MiB |\n|---|---|---|")
    for words, (taken, memory) in common.in_process(__file__, 1, what="linear", seconds=0).items():
        print(f"| {words} | {taken:.3g} | {memory:.3g} |")


if __name__ == "__main__":
    common.serve(measure) or main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
