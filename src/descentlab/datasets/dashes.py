"""Images of dashed paths: geometry, labels and pixels, many at once.

Only NumPy is needed here, because this file is also what the processes of `pathfinder.py` run: a process that starts
JAX would spend more time on that than on its images. Lengths are in units of 1/32 of an image's side.

In an image lie two long paths and some short ones, drawn one after the other. A path is a chain of links, each with a
dash in its middle; it turns a little at every link and keeps its distance from itself and from all others. The label is
drawn only then, and decides which ends get the two dots: both ends of one long path, or one end of each.
"""

import json
import sys
from typing import NamedTuple

import numpy as np

from descentlab.mistake import Mistake

__all__ = ["CHUNK", "METHOD", "Scene", "geometries", "images", "render"]

METHOD = 1
"""Raised when a change here changes images; cached ones of another number are not used."""

CHUNK = 512
"""Images that are drawn together, from a random stream of their own."""

UNITS = 32.0
LINK = 2.7
DASH = 1.4
THICKNESS = 1.1
DOT = 1.4
CLEARANCE = 3.0
BORDER = 2.6
TURN = 0.9
"""Largest turn between two links, radians: a full turn takes seven of them."""

TOLERANCE = 2.0
"""Root mean square by which the dots of a pair of images may differ."""

_SYMMETRIES = np.array([[[a, 0], [0, b]] for a in (1, -1) for b in (1, -1)], np.float32)
_SYMMETRIES = np.concatenate([_SYMMETRIES, _SYMMETRIES[:, ::-1]])
_AHEAD = np.array([0.5, 1.0, 2.0, 3.0], np.float32)[:, None]
_CANDIDATES = 8
_ATTEMPTS = 16
_ROUNDS = 200


class Scene(NamedTuple):
    """What lies in images, by image.

    Attributes:
        long: nodes of the two long paths: image, path, node, coordinate (x and y).
        short: nodes of the distractors, with the same axes.
        dots: centres of the two dots: image, dot, coordinate.
        joined: 1 where one path leads from dot to dot, else 0.
    """

    long: np.ndarray
    short: np.ndarray
    dots: np.ndarray
    joined: np.ndarray

    def of(self, which: np.ndarray) -> "Scene":
        """Those of some images."""
        return Scene(*(value[which] for value in self))


def _samples(nodes: np.ndarray) -> np.ndarray:
    """Nodes of a path and the middles of its links, in their order."""
    middles = (nodes[:, :-1] + nodes[:, 1:]) / 2
    both = np.empty((len(nodes), nodes.shape[1] + middles.shape[1], 2), nodes.dtype)
    both[:, ::2], both[:, 1::2] = nodes, middles
    return both


def _free(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which points (image, point, coordinate) are inside and clear of others (image, other point, coordinate)."""
    px, py = points[..., 0], points[..., 1]
    one = np.stack([px, py, px * px + py * py, np.ones_like(px)], axis=1)
    qx, qy = others[..., 0], others[..., 1]
    other = np.stack([-2 * qx, -2 * qy, np.ones_like(qx), qx * qx + qy * qy], axis=2)
    nearest = (other @ one).min(axis=1, initial=UNITS**2)  # squared distances; the points on the last axis are faster
    inside = (px > BORDER) & (px < UNITS - BORDER) & (py > BORDER) & (py < UNITS - BORDER)
    return inside & (nearest > CLEARANCE**2)


def _grow(random: np.random.Generator, links: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One path for each image, clear of its others.

    Args:
        random: where chance comes from.
        links: of the path.
        others: points of the paths that are there: image, point, coordinate.

    Returns:
        Nodes (image, node, coordinate), and whether the path could be laid to its end.
    """
    rows = np.arange(len(others))
    nodes = np.empty((len(others), links + 1, 2), np.float32)
    starts = BORDER + (UNITS - 2 * BORDER) * random.random((len(others), _CANDIDATES, 2), np.float32)
    free = _free(starts, others)
    nodes[:, 0] = starts[rows, free.argmax(axis=1)]
    rows = rows[free.any(axis=1)]
    angles = 2 * np.pi * random.random(len(rows), np.float32)
    for i in range(links):
        turns = (TURN if i else np.pi) * (2 * random.random((len(rows), _CANDIDATES), np.float32) - 1)
        tried = angles[:, None] + turns
        step = LINK * np.stack([np.cos(tried), np.sin(tried)], axis=-1)
        # The middle and the end of this link, and how a straight path would go on: that only ranks what is free.
        points = nodes[rows, i, None, None] + step[:, :, None] * _AHEAD
        taken = np.concatenate([others[rows], _samples(nodes[rows, : max(i - 1, 0)])], axis=1)
        free = _free(points.reshape(len(rows), points.shape[1] * points.shape[2], 2), taken).reshape(points.shape[:3])
        worth = np.cumprod(free, axis=2).sum(axis=2)
        chosen = worth.argmax(axis=1)[:, None]
        good = np.take_along_axis(worth, chosen, axis=1)[:, 0] >= 2
        rows, chosen = rows[good], chosen[good]
        nodes[rows, i + 1] = np.take_along_axis(points[good, :, 1], chosen[..., None], axis=1)[:, 0]
        angles = np.take_along_axis(tried[good], chosen, axis=1)[:, 0]
    done = np.zeros(len(others), dtype=bool)
    done[rows] = True
    return nodes, done


def _lay(random: np.random.Generator, links: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_grow`, trying again where a path led nowhere."""
    nodes = np.zeros((len(others), links + 1, 2), np.float32)
    waiting = np.arange(len(others))
    for _ in range(_ATTEMPTS):
        laid, good = _grow(random, links, others[waiting])
        nodes[waiting[good]] = laid[good]
        waiting = waiting[~good]
        if not len(waiting):
            break
    done = np.ones(len(others), dtype=bool)
    done[waiting] = False
    return nodes, done


def _paths(random: np.random.Generator, count: int, links: int, distractors: int) -> tuple[np.ndarray, np.ndarray]:
    """Long and short paths of about `count` images; those where a path found no place are left out."""
    lengths = [links] * 2 + [max(2, links // 3)] * distractors
    laid: list[np.ndarray] = []
    others = np.zeros((count, 0, 2), np.float32)
    for length in lengths:
        nodes, done = _lay(random, length, others)
        laid = [one[done] for one in [*laid, nodes]]
        others = np.concatenate([others, _samples(nodes)], axis=1)[done]
    short = np.stack(laid[2:], axis=1) if distractors else np.zeros((len(others), 0, 0, 2), np.float32)
    return np.stack(laid[:2], axis=1), short


def _paired(random: np.random.Generator, long: np.ndarray, short: np.ndarray) -> Scene:
    """Labels and dots: pairs of a joined and a not joined image with their dots at the same places, within `TOLERANCE`.

    Ends of one path lie otherwise than ends of two, on average: closer, further out. Without pairs the label could be
    guessed from the dots alone. Half of the images, taken before anything is known of them, are joined, and one of
    their long paths gets the dots. Each looks for its partner among the others, with any two of the ends there and any
    reflection or quarter turn: all of these are equally likely images.
    """
    half = len(long) // 2
    path = (random.random(half) < 0.5).astype(int)
    joined = long[:half][np.arange(half), path][:, [0, -1]]
    ends = long[half:, :, [0, -1]]
    dots = np.stack([ends[:, 0, [0, 0, 1, 1]], ends[:, 1, [0, 1, 0, 1]]], axis=2)
    options = _turned(np.concatenate([dots, dots[:, :, ::-1]], axis=1)[:, None], _SYMMETRIES[:, None])
    options = options.reshape(len(ends), len(_SYMMETRIES) * 8, 2, 2)
    pairs, chosen = _closest(joined.reshape(half, 4), options.reshape(*options.shape[:2], 4))
    yes, no = pairs[:, 0], half + pairs[:, 1]
    symmetry, placed = _SYMMETRIES[chosen // 8], options[pairs[:, 1], chosen]

    def in_turn(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.stack([one, other], axis=1).reshape(2 * len(one), *one.shape[1:])

    return Scene(
        in_turn(long[yes], _turned(long[no], symmetry[:, None])),
        in_turn(short[yes], _turned(short[no], symmetry[:, None])),
        in_turn(joined[yes], placed),
        in_turn(np.ones(len(yes), np.int32), np.zeros(len(no), np.int32)),
    )


def _turned(points: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """Points, in rows, under reflections and turns of the image about its middle."""
    return (points - UNITS / 2) @ symmetry + UNITS / 2


def _closest(wanted: np.ndarray, options: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a wanted vector (row) and one that has it among its options (row, option), the closest first.

    Returns:
        Pairs of rows, each row at most once, in the order of the wanted ones; and which option it was.
    """
    flat = options.reshape(options.shape[0] * options.shape[1], options.shape[2])
    squares = (wanted**2).sum(1)[:, None] + (flat**2).sum(1) - 2 * wanted @ flat.T
    squares = squares.reshape(len(wanted), *options.shape[:2])
    best = squares.min(axis=2)
    rows, columns = np.nonzero(best < 2 * TOLERANCE**2)
    partner = np.full(len(wanted), -1)
    free = np.ones(len(options), dtype=bool)
    for i in np.argsort(best[rows, columns], kind="stable").tolist():
        if partner[rows[i]] < 0 and free[columns[i]]:
            partner[rows[i]], free[columns[i]] = columns[i], False
    found = np.flatnonzero(partner >= 0)
    return np.stack([found, partner[found]], axis=1), squares[found, partner[found]].argmin(axis=1)


def geometries(stream: tuple[int, ...], links: int, distractors: int) -> Scene:
    """The geometry of one chunk of images, joined and not joined in turn.

    Args:
        stream: which chunk of which data set: the start of the random numbers.
        links: dashes of a long path.
        distractors: number of short paths, of a third of the length.

    Returns:
        `CHUNK` of them.

    Raises:
        Mistake: if so many paths find no place.
    """
    random = np.random.default_rng(stream)
    pool = None
    for _ in range(_ROUNDS):
        count = CHUNK * 3 // 2 if pool is None else CHUNK // 2  # three of four find a place and a partner
        drawn = _paths(random, count, links, distractors)
        pool = drawn if pool is None else tuple(np.concatenate(both) for both in zip(pool, drawn, strict=True))
        found = _paired(random, *pool)
        if len(found.joined) >= CHUNK:
            return Scene(*(value[:CHUNK] for value in found))
    raise Mistake(
        f"two paths of {links} dashes and {distractors} distractors find too rarely a place in one image; "
        "make paths shorter or distractors fewer"
    )


def _draw(image: np.ndarray, ends: np.ndarray, width: float) -> None:
    """Draw one segment with round ends into each image, smoothly, where nothing brighter is.

    Args:
        image: brightness from 0 to 1: image, row, column.
        ends: of the segments in pixels: image, end, coordinate.
        width: in pixels.
    """
    side = image.shape[1]
    centre = ends.mean(axis=1)
    reach = int(np.ceil(np.abs(ends[:, 1] - ends[:, 0]).max() / 2 + width / 2 + 1))
    offsets = np.arange(-reach, reach + 1)
    columns, rows = np.floor(centre).astype(int).T
    columns = np.clip(columns[:, None] + offsets, 0, side - 1)[:, None, :]
    rows = np.clip(rows[:, None] + offsets, 0, side - 1)[:, :, None]
    start, along = ends[:, 0, :, None, None], (ends[:, 1] - ends[:, 0])[:, :, None, None]
    x, y = columns + np.float32(0.5) - start[:, 0], rows + np.float32(0.5) - start[:, 1]
    length = np.maximum(along[:, 0] ** 2 + along[:, 1] ** 2, np.float32(1e-6))
    place = np.clip((x * along[:, 0] + y * along[:, 1]) / length, 0, 1)
    away = np.hypot(x - place * along[:, 0], y - place * along[:, 1])
    which = np.arange(len(image))[:, None, None]
    image[which, rows, columns] = np.maximum(image[which, rows, columns], np.clip(width / 2 + 0.5 - away, 0, 1))


def render(geometry: Scene, side: int) -> np.ndarray:
    """Images as grey levels from 0 to 255 (uint8): image, row, column."""
    scale = side / UNITS
    image = np.zeros((len(geometry.dots), side, side), np.float32)
    for paths in (geometry.long, geometry.short):
        for path in range(paths.shape[1]):
            for i in range(paths.shape[2] - 1):
                link = paths[:, path, i : i + 2]
                middle, half = link.mean(axis=1), (link[:, 1] - link[:, 0]) * np.float32(DASH / LINK / 2)
                _draw(image, scale * np.stack([middle - half, middle + half], axis=1), scale * THICKNESS)
    for dot in range(2):
        _draw(image, scale * geometry.dots[:, [dot, dot]], scale * 2 * DOT)
    return np.rint(255 * image).astype(np.uint8)


def images(stream: tuple[int, ...], side: int, links: int, distractors: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels (image, row, column) and labels of one chunk."""
    geometry = geometries(stream, links, distractors)
    return render(geometry, side), geometry.joined


def _main(order: str) -> None:
    """Write the chunks of an order, as JSON, to the file that it names."""
    wanted = json.loads(order)
    chunks = [images(tuple(stream), *wanted["shape"]) for stream in wanted["streams"]]
    greys, labels = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    with open(wanted["file"], "wb") as file:
        np.savez(file, greys=greys, labels=labels)


if __name__ == "__main__":
    _main(sys.argv[1])
