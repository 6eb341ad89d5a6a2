"""Where data lies: in the user's data folder, else downloaded; and the cache of arrays made from it.

The data folder is the value of the environment variable `DESCENTLAB_DATA`, which `--data DIR` of the command line sets.
A file or folder found there is judged by its content; the checksum of a source is for downloads. Downloads and prepared
arrays lie in the user's cache folder, which may be deleted at any time.
"""

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs

from descentlab._files import replacing
from descentlab.formats import DataError, read_bytes, read_npz

__all__ = ["VARIABLE", "Source", "cached", "data_folder", "fetch", "find", "fingerprint", "use"]

VARIABLE = "DESCENTLAB_DATA"
"""The environment variable that names the data folder."""

_LOOKED_AT = 10_000
"""Files among which one with nearly the right name is looked for."""


class Source(NamedTuple):
    """A file on the internet.

    Attributes:
        url: its address.
        sha256: checksum of its bytes, as 64 hexadecimal digits.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def use(folder: str | os.PathLike[str]) -> None:
    """Make a folder the data folder of this process and of those that it starts.

    Raises:
        DataError: if it is no folder.
    """
    os.environ[VARIABLE] = str(_checked(Path(folder).absolute()))


def data_folder() -> Path | None:
    """The user's data folder, or `None` where none was named.

    Raises:
        DataError: if what was named is no folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    try:
        folder = Path(named).expanduser()
    except RuntimeError as error:  # no such user
        raise DataError(f"--data or {VARIABLE} must name a folder, but {named!r} begins with no user's home") from error
    return _checked(folder)


def _checked(folder: Path) -> Path:
    if not os.path.isdir(folder):
        came = "a file" if os.path.exists(folder) else "nothing"
        raise DataError(f"--data or {VARIABLE} must name a folder, but there is {came} at {folder}; name another")
    return folder


def find(names: Sequence[str]) -> Path | None:
    """The first of these files or folders that is in the data folder."""
    folder = data_folder()
    found = [] if folder is None else [folder / name for name in names if os.path.exists(folder / name)]
    return found[0] if found else None


def fetch(names: Sequence[str], source: Source) -> Path:
    """A local copy under one of these names, else a download that is kept in the user's cache.

    Args:
        names: what the data may be called in the data folder, the preferred name first.
        source: where it can be downloaded.

    Returns:
        The path of a file or folder.

    Raises:
        DataError: if it is not there and cannot be downloaded; says both ways to get it.
    """
    found = find(names)
    if found is None and (near := _nearly(names)):
        raise DataError(
            f"{near} seems to be {names[0]}, but is not read under that name; move it to {data_folder()}/{names[0]}"
        )
    return found or _download(names, source)


def _nearly(names: Sequence[str]) -> Path | None:
    """A file in the data folder, or up to two folders below, whose name differs in its case or its punctuation."""
    folder, wanted = data_folder(), {_letters(name) for name in names}
    places = [] if folder is None else itertools.chain.from_iterable(map(folder.glob, ("*", "*/*", "*/*/*")))
    return next((place for place in itertools.islice(places, _LOOKED_AT) if _letters(place.name) in wanted), None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().rpartition("/")[2].removesuffix(".gz"))


def _download(names: Sequence[str], source: Source) -> Path:
    """The file of a source in the cache, downloaded and checked if need be.

    Raises:
        DataError: if it cannot be had.
    """
    import pooch  # only a download needs it
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import RequestException

    folder = _cache() / "downloads"
    try:
        return Path(pooch.retrieve(source.url, source.sha256, source.name, folder))
    except (RequestException, OSError, ValueError) as error:
        place = data_folder()
        where = f"is not in the data folder {place}" if place else f"was not found ({VARIABLE} is not set)"
        host = source.url.split("/")[2]
        reason = f"no connection to {host}" if isinstance(error, NoConnection) else " ".join(str(error).split())
        raise DataError(
            f"{' or '.join(names[:2])} {where} and cannot be downloaded: {reason}. Two ways to get it: connect to "
            f"the internet and run this again; or download {source.url} elsewhere, put it into a folder, and name "
            f"that folder by --data DIR or {VARIABLE}"
        ) from error


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("descentlab"))


def fingerprint(path: Path) -> str:
    """What identifies data: SHA-256 of a file; of a folder, that of its files' names, sizes and times of change."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    entries = sorted(
        f"{Path(root, entry.name).relative_to(path)} {entry.stat().st_size} {entry.stat().st_mtime_ns}"
        for root, _, _ in os.walk(path)
        for entry in os.scandir(root)
        if entry.is_file()
    )
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()


def cached(name: str, identity: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays from the user's cache, made and put there where they are missing or damaged.

    Args:
        name: of the data set, for people who look into the cache.
        identity: everything that the arrays depend on: content, the definition's fields, a number for the method.
        make: makes them.

    Returns:
        The arrays by name, the same bits whether made or read.
    """
    key = hashlib.sha256(identity.encode()).hexdigest()[:32]
    path = _cache() / "data" / f"{name}-{key}.npz"
    with contextlib.suppress(DataError):
        return {name: stored.copy() for name, stored in read_npz(read_bytes(path), str(path)).items()}
    arrays = dict(make())
    with contextlib.suppress(OSError), replacing(path) as file:  # a full or read-only disk: go on without the cache
        np.savez(file, allow_pickle=False, **arrays)
    return arrays
