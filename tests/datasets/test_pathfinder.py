"""Pathfinder: labels are right by the geometry, paths keep apart, and nothing but the paths tells the classes apart."""

import re

import numpy as np
import pytest

from descentlab.datasets import Pathfinder, dashes, pathfinder

CASES = {"14 dashes": (14, 2), "9 dashes": (9, 4), "6 dashes": (6, 6), "no distractors": (14, 0)}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def geometry(request):
    return dashes.geometries((3, 0, 1), *request.param)


def chunks(count, first=0):
    found = [dashes.geometries((11, 0, first + i), 14, 2) for i in range(count)]
    return dashes.Scene(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


@pytest.fixture(scope="module")
def seen():
    return chunks(5)


@pytest.fixture(scope="module")
def unseen():
    return chunks(5, first=100)


def between(a, b):
    """Distance between segments a and b (each image, end, coordinate), which do not cross where it is above zero."""

    def to_segment(p, s):
        along = s[:, 1] - s[:, 0]
        place = np.clip(((p - s[:, 0]) * along).sum(1) / (along**2).sum(1), 0, 1)[:, None]
        return np.linalg.norm(p - s[:, 0] - place * along, axis=1)

    def side(s, p):
        return np.cross(np.pad(s[:, 1] - s[:, 0], ((0, 0), (0, 1))), np.pad(p - s[:, 0], ((0, 0), (0, 1))))[:, 2]

    crossing = (side(a, b[:, 0]) * side(a, b[:, 1]) < 0) & (side(b, a[:, 0]) * side(b, a[:, 1]) < 0)
    nearest = np.min([to_segment(p, s) for s, t in ((a, b), (b, a)) for p in (t[:, 0], t[:, 1])], axis=0)
    return np.where(crossing, 0.0, nearest)


def paths(geometry):
    both = [geometry.long[:, i] for i in range(2)]
    return both + [geometry.short[:, i] for i in range(geometry.short.shape[1])]


def links(path):
    return [path[:, i : i + 2] for i in range(path.shape[1] - 1)]


def test_the_label_says_whether_the_dots_are_the_ends_of_one_path(geometry):
    ends = geometry.long[:, :, [0, -1]]
    at = [np.abs(ends - dot[:, None, None]).max(axis=-1) < 1e-4 for dot in np.moveaxis(geometry.dots, 1, 0)]
    assert all((one.sum(axis=(1, 2)) == 1).all() for one in at)
    path, end = zip(*(np.divmod(one.reshape(-1, 4).argmax(axis=1), 2) for one in at), strict=True)
    assert np.array_equal(path[0] == path[1], geometry.joined == 1)
    assert np.all((path[0] != path[1]) | (end[0] != end[1]))
    assert geometry.joined.tolist() == [1, 0] * (dashes.CHUNK // 2)


def test_a_path_is_a_chain_of_equal_links_that_turns_little(geometry):
    for path in paths(geometry):
        steps = np.diff(path, axis=1)
        np.testing.assert_allclose(np.linalg.norm(steps, axis=-1), dashes.LINK, atol=1e-4)
        turns = (steps[:, 1:] * steps[:, :-1]).sum(-1) / dashes.LINK**2
        assert turns.min() >= np.cos(dashes.TURN) - 1e-4
        assert path.min() > dashes.BORDER
        assert path.max() < dashes.UNITS - dashes.BORDER


def test_paths_neither_cross_nor_touch(geometry):
    """The gap between paths is wider than the gap between two dashes of one, which is what the eye follows."""
    every = paths(geometry)
    others = [
        between(a, b) for i, one in enumerate(every) for other in every[:i] for a in links(one) for b in links(other)
    ]
    itself = [between(a, b) for one in every for i, a in enumerate(links(one)) for b in links(one)[: max(i - 2, 0)]]
    gap = dashes.LINK - dashes.DASH - dashes.THICKNESS
    assert np.min(others) - dashes.THICKNESS > 1.2 > 4 * gap
    assert np.min(itself) - dashes.THICKNESS > 0.5


def test_a_dot_touches_its_own_path_only(geometry):
    ends = geometry.long[:, :, [0, -1]]
    for dot in np.moveaxis(geometry.dots, 1, 0):
        own = (np.abs(ends - dot[:, None, None]).max(axis=-1) < 1e-4).any(axis=2)
        point = np.stack([dot, dot + 1e-3], axis=1)
        for path, mine in zip(paths(geometry), [own[:, 0], own[:, 1], *[np.zeros(len(dot), bool)] * 9], strict=False):
            away = np.min([between(point, link) for link in links(path)], axis=0)
            assert np.all(mine | (away > dashes.DOT + dashes.THICKNESS / 2 + 0.5))
            assert np.all(~mine | (away < 1e-2))


def test_pairs_have_their_dots_at_the_same_places(geometry):
    apart = geometry.dots[::2] - geometry.dots[1::2]
    assert np.sqrt((apart**2).sum(axis=2).mean(axis=1)).max() < dashes.TOLERANCE + 1e-3


def accuracy(train, labels, test, wanted):
    """Share of held-out examples that logistic regression, fitted by Newton's method, gets right."""
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, test = (np.pad((x - mean) / scale, ((0, 0), (0, 1)), constant_values=1) for x in (train, test))
    weights = np.zeros(train.shape[1])
    for _ in range(5):
        chance = 1 / (1 + np.exp(-train @ weights))
        hessian = (train * (chance * (1 - chance))[:, None]).T @ train + 30 * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, train.T @ (chance - labels) + 30 * weights)
    return np.mean((test @ weights > 0) == wanted)


def statistics(geometry, images):
    """Brightness and its spread, and where the dots are, with all products of two."""
    dots = geometry.dots - dashes.UNITS / 2
    middle, step = dots.mean(axis=1), dots[:, 0] - dots[:, 1]
    out = np.abs(dots).max(axis=2)
    plain = [images.mean((1, 2)), images.std((1, 2)), (images > 250).mean((1, 2)), np.linalg.norm(step, axis=1)]
    plain += [*np.abs(middle).T, *np.abs(step).T, out.max(axis=1), out.min(axis=1)]
    return np.stack([*plain, *[a * b for i, a in enumerate(plain) for b in plain[: i + 1]]], axis=1)


def error(geometry):
    """Standard error of an accuracy at chance on these images."""
    return 0.5 / np.sqrt(len(geometry.joined))


def test_pixels_and_simple_statistics_do_not_give_the_label_away(seen, unseen):
    images = [dashes.render(one, 32).astype(np.float64) for one in (seen, unseen)]
    of_pixels = accuracy(images[0].reshape(-1, 1024), seen.joined, images[1].reshape(-1, 1024), unseen.joined)
    assert abs(of_pixels - 0.5) < 3 * error(unseen)
    tables = [statistics(one, image) for one, image in zip((seen, unseen), images, strict=True)]
    assert abs(accuracy(tables[0], seen.joined, tables[1], unseen.joined) - 0.5) < 3 * error(unseen)


def test_the_same_regression_finds_a_label_that_is_given_away(seen, unseen):
    images = [dashes.render(one, 32).astype(np.float64) + one.joined[:, None, None] for one in (seen, unseen)]
    flat = [image.reshape(-1, 1024) for image in images]
    assert accuracy(flat[0], seen.joined, flat[1], unseen.joined) > 0.5 + 10 * error(unseen)


def test_dots_that_are_not_paired_would_give_it_away(seen, unseen):
    """Which is why images come in pairs: one end of each path lies otherwise than both ends of one."""

    def unpaired(geometry):
        swapped = np.where(geometry.joined == 1, 1, 0)[:, None]
        mixed = np.stack([geometry.long[:, 0, 0], geometry.long[:, 1, 0]], axis=1)
        own = geometry.long[:, 0][:, [0, -1]]
        return geometry._replace(dots=np.where(swapped[..., None], own, mixed))

    pairs = [unpaired(one) for one in (seen, unseen)]
    tables = [statistics(one, np.zeros((len(one.dots), 1, 1))) for one in pairs]
    assert accuracy(tables[0], seen.joined, tables[1], unseen.joined) > 0.5 + 4 * error(unseen)


def test_classes_are_equally_bright(seen):
    mean = dashes.render(seen, 32).mean(axis=(1, 2))
    bright, dark = mean[seen.joined == 1], mean[seen.joined == 0]
    assert abs(bright.mean() - dark.mean()) < 3 * np.sqrt(bright.var() / len(bright) + dark.var() / len(dark))


def naive(geometry, image, side):
    """One image, pixel by pixel."""
    unit = side / dashes.UNITS
    shapes = [(geometry.dots[image, dot], geometry.dots[image, dot], unit * dashes.DOT) for dot in range(2)]
    for path in [*geometry.long[image], *geometry.short[image]]:
        for a, b in zip(path[:-1], path[1:], strict=True):
            half = (b - a) * dashes.DASH / dashes.LINK / 2
            shapes.append(((a + b) / 2 - half, (a + b) / 2 + half, unit * dashes.THICKNESS / 2))
    found = np.zeros((side, side))
    for row, column in np.ndindex(side, side):
        p = np.array([column + 0.5, row + 0.5])
        for a, b, radius in shapes:
            a, b = unit * a, unit * b
            length = ((b - a) ** 2).sum()
            place = a + (b - a) * (np.clip(((p - a) * (b - a)).sum() / length, 0, 1) if length else 0)
            found[row, column] = max(found[row, column], min(1, max(0, radius + 0.5 - np.hypot(*(p - place)))))
    return 255 * found


@pytest.mark.parametrize("side", [32, 40])
def test_images_show_the_geometry(side):
    few = dashes.geometries((3, 0, 1), 6, 2).of(np.arange(2))
    images = dashes.render(few, side)
    assert images.dtype == np.uint8
    for i in range(2):
        np.testing.assert_allclose(images[i], naive(few, i, side), atol=0.51)


def test_images_do_not_depend_on_the_number_of_processes_nor_on_how_many_are_asked_for():
    streams, shape = [(2, 0, i) for i in range(3)], (32, 6, 1)
    alone = pathfinder.draw(streams, shape, processes=1)
    shared = pathfinder.draw(streams, shape, processes=2)
    assert all(np.array_equal(a, b) for a, b in zip(alone, shared, strict=True))
    few = Pathfinder(path_length=6, distractors=1, train=20, development=4, test=2, seed=2).load()
    assert np.array_equal(few.train.inputs, alone[0][:20].reshape(20, -1).astype(int) + 1)


def test_a_process_that_fails_is_reported(tmp_path, monkeypatch):
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit('no space left')")
    monkeypatch.setattr(dashes, "__file__", str(script))
    with pytest.raises(RuntimeError, match="a process that drew images failed: no space left"):
        pathfinder.draw([(2, 0, i) for i in range(3)], (32, 6, 1), processes=2)


def test_tokens_are_grey_levels_and_classes_are_balanced():
    dataset = Pathfinder(path_length=6, train=40, development=6, test=4)
    splits = dataset.load()
    for part, count in zip(splits, (40, 6, 4), strict=True):
        assert part.inputs.shape == (count, 1024)
        assert part.inputs.dtype == np.int16
        assert part.inputs.min() == 1
        assert part.inputs.max() == 256 < dataset.vocabulary
        assert part.targets.sum() == count // 2
    assert len(np.unique(np.concatenate([part.inputs for part in splits]), axis=0)) == 50
    again = dataset.load()
    assert np.array_equal(again.train.inputs, splits.train.inputs)
    other = Pathfinder(path_length=6, train=40, development=6, test=4, seed=1)
    assert not np.array_equal(other.load().train.inputs, splits.train.inputs)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"side": 16}, "side must be at least 32, got 16"),
        ({"path_length": 17}, "path_length must be 2 to 16, got 17"),
        ({"train": 0}, "train must be a finite number above 0, got 0"),
        ({"test": 3}, "test must be even, so that classes are balanced, got 3"),
        ({"distractors": -1}, "distractors must be a finite number, at least 0, got -1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Pathfinder(**fields)


def test_more_paths_than_find_a_place_are_refused(monkeypatch):
    monkeypatch.setattr(dashes, "_ROUNDS", 2)
    with pytest.raises(ValueError, match="two paths of 14 dashes and 30 distractors find too rarely a place"):
        Pathfinder(distractors=30, train=2).load()
