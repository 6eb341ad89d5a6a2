"""The public names and how they load."""

import subprocess
import sys

import pytest

import descentlab


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True
    ).stdout.split()


def test_importing_the_package_imports_no_jax():
    assert python("import descentlab, sys; print('jax' in sys.modules)") == ["False"]


def test_figures_need_no_jax():
    assert python("import descentlab.plots, descentlab.plots.landscape, sys; print('jax' in sys.modules)") == ["False"]


@pytest.mark.parametrize("first", ["from descentlab import Experiment", "import descentlab.sweep"])
def test_train_is_the_function_and_not_the_module(first):
    code = (
        f"{first}; from descentlab import train; import descentlab; print(callable(train), descentlab.train is train)"
    )
    assert python(code) == ["True", "True"]


@pytest.mark.parametrize("name", descentlab.__all__)
def test_every_public_name_loads_and_is_listed(name):
    assert getattr(descentlab, name) is not None
    assert name in dir(descentlab)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        descentlab.nothing  # noqa: B018
