"""A cache of the test's own, and no data folder but the one it names."""

import platformdirs
import pytest

from descentlab.datasets import folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(place / name))
    return place / "descentlab"


@pytest.fixture
def given(monkeypatch):
    """The user's own data folder; the test is skipped where none was named."""
    place = folder.data_folder()
    if place is None:
        pytest.skip(f"needs {folder.VARIABLE}, the folder of the original data")
    return place


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.setenv(folder.VARIABLE, str(place))
    return place
