"""Numbers that are too large are refused before anything is built, with the largest that fits."""

import dataclasses
import logging
import re
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from descentlab import Experiment, _memory, train
from descentlab._describe import replace_at
from descentlab._memory import TooLarge
from descentlab.experiment import MOST_STEPS, check
from descentlab.lanes import MOST_SEED, Lanes
from descentlab.measures.certification import certify
from descentlab.models import LinearNetwork, Transformer
from descentlab.probes import Loss
from descentlab.schedule import At, Every, LogSpaced
from descentlab.study import Section, Size, Study, requests
from descentlab.sweep import Request
from descentlab.sweep import run as sweep
from descentlab.tasks import Addition
from descentlab.training import check_lanes, segments
from support.problems import SMALL

GIB = 2**30
program = sys.modules["descentlab.training"]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of a gigabyte."""
    for module in ("experiment", "training"):
        monkeypatch.setattr(sys.modules[f"descentlab.{module}"], "machine", lambda: GIB)


@pytest.mark.parametrize("path", ["task.dim", "task.tokens", "data.samples"])
def test_a_size_beyond_memory_is_refused_with_the_largest_that_fits(path):
    with pytest.raises(TooLarge, match="this machine has 1 GiB") as caught:
        check(replace_at(Experiment(), path, 10**8))
    found = re.search(rf"the largest {path} that fits is (\d+)", str(caught.value))
    largest = int(found.group(1))
    check(replace_at(Experiment(), path, largest))
    with pytest.raises(TooLarge):
        check(replace_at(Experiment(), path, largest + 16))


def test_steps_are_counted_in_32_bits():
    Experiment(steps=MOST_STEPS)
    with pytest.raises(ValueError, match=f"Experiment.steps must be at most {MOST_STEPS}, got {10**12}"):
        Experiment(steps=10**12)
    with pytest.raises(ValueError, match=f"steps must be a whole number from 0 to {MOST_STEPS}, got {10**12}"):
        certify(Experiment(), steps=10**12)


def test_records_beyond_memory_are_refused():
    long = dataclasses.replace(Experiment(), steps=10**9, probes={"loss": Loss(Every())})
    with pytest.raises(TooLarge, match="the largest steps that fits is 134"):
        check(long)
    check(dataclasses.replace(long, probes={"loss": Loss(LogSpaced())}))


@pytest.mark.parametrize("seed", [5 * 10**9, MOST_SEED + 1, -1])
def test_seeds_are_numbers_of_32_bits(seed):
    with pytest.raises(ValueError, match=f"a seed must be a whole number from 0 to {MOST_SEED}, got {seed}"):
        Lanes((SMALL,), (seed,))
    with pytest.raises(ValueError, match="seed must be a whole number from 0"):
        certify(Experiment(), seed=seed)


@pytest.mark.usefixtures("without_type_checker")
def test_more_seeds_than_fit_are_refused_with_how_many_do():
    asked = 10**9
    section = Section("one", lambda bases, size: {"all": [Request(one, (0,)) for one in bases]}, lambda runs: [])
    study = Study("s", "t", "q", "p", SMALL, ("optimizer", [SMALL]), [section])
    calls = (
        lambda: requests(study, Size.SMOKE, seeds=asked),
        lambda: train(SMALL, seeds=asked),
        lambda: sweep([Request(SMALL, range(asked))]),
    )
    for call in calls:
        with pytest.raises(TooLarge, match=r"this machine has 1 GiB; ask for at most \d+ seeds") as caught:
            call()
    most = int(re.search(r"at most (\d+) seeds", str(caught.value)).group(1))
    check_lanes([SMALL], most)
    with pytest.raises(TooLarge):
        check_lanes([SMALL], most + 1)


@pytest.mark.parametrize(
    "make", [lambda: Transformer(depth=10**9), lambda: LinearNetwork(depth=10**9), lambda: Addition(digits=10**9)]
)
def test_what_is_written_out_in_a_program_is_bounded(make):
    with pytest.raises(ValueError, match="must be at most 10000, got 1000000000: every"):
        make()


@pytest.mark.parametrize("when", [Every(1), Every(7), At((0, 3, 90)), LogSpaced(1), LogSpaced(30), LogSpaced(10**12)])
@pytest.mark.parametrize("last", [0, 1, 12, 700])
def test_the_number_of_records_is_bounded_without_listing_them(when, last):
    assert len(when.steps(last)) <= when.most(last)
    assert when.most(10**15) >= 3


def test_dense_logarithmic_steps_are_all_steps():
    for last in (1, 12, 40):
        for per_decade in (30, 93, 100, 1000):
            spaced = np.round(np.logspace(0, np.log10(last), int(np.ceil(np.log10(last) * per_decade)) + 1))
            assert LogSpaced(per_decade).steps(last).tolist() == sorted({0, last, *spaced.astype(int).tolist()})


def test_records_are_placed_alike_by_table_and_by_search(monkeypatch):
    experiment = dataclasses.replace(SMALL, steps=40, probes={"a": Loss(At((0, 3, 9))), "b": Loss(LogSpaced(3))})
    by_table = train(experiment)
    monkeypatch.setattr(sys.modules["descentlab.step"], "LISTED_STEPS", 0)
    jax.clear_caches()
    by_search = train(experiment)
    for name in ("a", "b"):
        assert by_search[name].values.tobytes() == by_table[name].values.tobytes()


@pytest.mark.usefixtures("without_type_checker")
def test_a_run_beyond_a_month_says_so_and_goes_on(monkeypatch, caplog):
    def advance(lanes, constants, carry, first, stop):
        return SimpleNamespace(ended=np.asarray([-1]), parts=[*carry.parts, (first, stop)])

    monkeypatch.setattr(program, "advance", advance)
    lanes = Lanes((dataclasses.replace(SMALL, steps=200),), (0,))
    clock = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr(program.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.WARNING, "descentlab"):
        *_, (step, carry) = segments(lanes, None, SimpleNamespace(parts=[]), 0)
    assert step == 201
    assert [one[0] for one in carry.parts] == [0, *(one[1] for one in carry.parts[:-1])]
    (said,) = caplog.messages
    assert said == "169 steps are left, which at 6.2e+04 s each take 122 days; the run goes on"


def test_memory_that_the_device_refuses_is_a_sentence():
    with pytest.raises(TooLarge, match="does not fit into"), _memory.explained():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), _memory.explained():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_bytes_in_words():
    assert [_memory.in_words(n) for n in (0, 1023, 1024, 3 * 2**30 // 2)] == [
        "0 bytes",
        "1.02e+03 bytes",
        "1 KiB",
        "1.5 GiB",
    ]
    assert _memory.machine() > GIB
