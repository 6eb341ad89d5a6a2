"""Colours: readable on light and dark pages, and apart for readers who see fewer of them."""

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest

from descentlab.plots.style import PALETTE, REFERENCE, TEMPLATE, case_color, free_color, translucent

PAPER, SCREEN = "#fcfcfa", "#121417"

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    dark, light = sorted(XYZ[1] @ linear(color) for color in (first, second))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    scaled = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("color", [*PALETTE, REFERENCE])
def test_every_color_stands_out_from_paper_and_screen(color):
    assert contrast(color, PAPER) >= 3
    assert contrast(color, SCREEN) >= 3


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colors_are_told_apart(vision):
    seen = [lab(VISION[vision] @ linear(color)) for color in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20


def test_a_kernel_has_one_color_however_it_is_spelled():
    assert case_color("NormalizedGaussian") == case_color("normalized_gaussian") == case_color("normalized gaussian")
    assert len({case_color(name) for name in ("softmax", "gaussian", "normalized gaussian", "linear", "relu")}) == 5
    assert case_color("my own") == case_color("my own")
    assert case_color("my own") in PALETTE


def test_colors_of_a_figure_repeat_only_after_the_palette_is_used_up():
    figure = go.Figure()
    given = []
    for position in range(len(PALETTE) + 1):
        given.append(free_color(figure, f"series {position}"))
        figure.add_scatter(y=[1], line={"color": given[-1]})
    assert given == [*PALETTE, PALETTE[0]]


def test_translucency_keeps_the_color():
    assert translucent("#3b93ec", 0.18) == "rgba(59, 147, 236, 0.18)"


def test_the_template_leaves_the_background_to_the_page():
    assert TEMPLATE.layout.paper_bgcolor == TEMPLATE.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
