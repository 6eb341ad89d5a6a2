"""Where data is found, what is said where it is not, and the cache of prepared arrays."""

import functools
import hashlib
import http.server
import threading

import numpy as np
import pytest

from descentlab.datasets import DataError, folder


def test_the_data_folder_is_the_one_that_was_named(tmp_path, monkeypatch):
    monkeypatch.delenv(folder.VARIABLE, raising=False)
    assert folder.data_folder() is None
    assert folder.find(["a"]) is None
    monkeypatch.setenv(folder.VARIABLE, "elsewhere")
    folder.use(tmp_path)
    assert folder.data_folder() == tmp_path
    (tmp_path / "b").touch()
    assert folder.find(["a", "b"]) == tmp_path / "b"


@pytest.mark.parametrize(("made", "came"), [("file", "a file"), (None, "nothing")])
def test_what_is_no_folder_is_refused(tmp_path, monkeypatch, made, came):
    monkeypatch.setenv(folder.VARIABLE, "")
    if made:
        (tmp_path / "it").touch()
    with pytest.raises(DataError, match=f"must name a folder, but there is {came} at .*it"):
        folder.use(tmp_path / "it")


def test_a_home_of_nobody_is_refused(monkeypatch):
    monkeypatch.setenv(folder.VARIABLE, "~nosuchuser/data")
    with pytest.raises(DataError, match="must name a folder, but '~nosuchuser/data' begins with no user's home"):
        folder.data_folder()


def test_a_name_that_no_file_system_allows_is_not_there(data, monkeypatch):
    assert folder.find(["x" * 300]) is None
    monkeypatch.setenv(folder.VARIABLE, "x" * 5000)
    with pytest.raises(DataError, match="but there is nothing at x"):
        folder.data_folder()


@pytest.mark.parametrize("place", ["it.idx-1", "IT-IDX.1", "some/deeper/it_idx1.gz"])
def test_a_file_under_nearly_the_right_name_is_named_and_nothing_is_downloaded(data, place):
    source = folder.Source("http://127.0.0.1:9/it-idx1.gz", "0" * 64)
    (data / place).parent.mkdir(parents=True, exist_ok=True)
    (data / place).write_bytes(b"content")
    with pytest.raises(DataError) as caught:
        folder.fetch(["it-idx1.gz", "it-idx1"], source)
    assert str(caught.value) == (
        f"{data / place} seems to be it-idx1.gz, but is not read under that name; move it to {data}/it-idx1.gz"
    )
    (data / place).rename(data / "it-idx1.gz")
    assert folder.fetch(["it-idx1.gz", "it-idx1"], source) == data / "it-idx1.gz"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of the files below `served`, and the addresses asked for."""
    monkeypatch.setenv("NO_PROXY", "*")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            asked.append(self.path)

    (tmp_path / "served").mkdir()
    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{one.server_port}", asked
        one.shutdown()
        thread.join()


def test_a_local_copy_comes_first_whatever_its_checksum_and_a_download_is_checked_and_kept(server, tmp_path, data):
    address, asked = server
    (tmp_path / "served" / "it.gz").write_bytes(b"content")
    source = folder.Source(f"{address}/it.gz", hashlib.sha256(b"content").hexdigest())
    found = folder.fetch(["it.gz"], source)
    assert found.read_bytes() == b"content"
    assert folder.fetch(["it.gz"], source) == found
    assert asked == ["/it.gz"]
    found.write_bytes(b"damaged")
    assert folder.fetch(["it.gz"], source).read_bytes() == b"content"
    assert asked == ["/it.gz", "/it.gz"]
    (data / "it").write_bytes(b"other")
    assert folder.fetch(["it.gz", "it"], source) == data / "it"


@pytest.mark.parametrize(("name", "reason"), [("it.gz", "hash"), ("other.gz", "404")])
def test_a_download_that_is_not_what_was_wanted_is_refused(server, tmp_path, data, cache, name, reason):
    (tmp_path / "served" / "it.gz").write_bytes(b"content")
    with pytest.raises(DataError, match=f"is not in the data folder .*data and cannot be downloaded: .*{reason}"):
        folder.fetch([name], folder.Source(f"{server[0]}/{name}", "0" * 64))
    assert [path for path in (cache / "downloads").iterdir() if path.is_file()] == []


def test_without_internet_both_ways_to_get_the_data_are_said(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv(folder.VARIABLE, raising=False)
    nowhere = folder.Source("http://127.0.0.1:9/it.gz", "0" * 64)
    with pytest.raises(DataError) as caught:
        folder.fetch(["it.gz", "it"], nowhere)
    assert str(caught.value) == (
        "it.gz or it was not found (DESCENTLAB_DATA is not set) and cannot be downloaded: no connection to "
        "127.0.0.1:9. Two ways to get it: connect to the internet and run this again; or download "
        "http://127.0.0.1:9/it.gz elsewhere, put it into a folder, and name that folder by --data DIR or "
        "DESCENTLAB_DATA"
    )


def arrays(calls):
    def make():
        calls.append(1)
        return {"numbers": np.arange(5, dtype=np.int16), "more of them": np.ones((2, 3), np.uint8)}

    return make


def test_prepared_arrays_are_made_once_for_what_they_depend_on(cache):
    calls = []
    made = folder.cached("it", "content 1", arrays(calls))
    read = folder.cached("it", "content 1", arrays(calls))
    assert len(calls) == 1
    assert {name: (value.dtype, value.tolist()) for name, value in made.items()} == {
        name: (value.dtype, value.tolist()) for name, value in read.items()
    }
    folder.cached("it", "content 2", arrays(calls))
    assert len(calls) == 2
    assert len(list((cache / "data").iterdir())) == 2


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b.replace(b"\x03\0", b"\x07\0")]
)
def test_a_damaged_cache_is_made_again(cache, damage):
    calls = []
    folder.cached("it", "content", arrays(calls))
    (path,) = (cache / "data").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert folder.cached("it", "content", arrays(calls))["numbers"].tolist() == [0, 1, 2, 3, 4]
    assert len(calls) == 2
    folder.cached("it", "content", arrays(calls))
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_is_gone_without(cache):
    cache.parent.mkdir()
    cache.write_text("a file in the place of the folder")
    assert folder.cached("it", "content", arrays([]))["numbers"].tolist() == [0, 1, 2, 3, 4]


def test_data_is_known_by_its_content_and_a_folder_by_its_files(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"content")
    other.write_bytes(b"content")
    assert folder.fingerprint(one) == folder.fingerprint(other)
    other.write_bytes(b"contents")
    assert folder.fingerprint(one) != folder.fingerprint(other)
    (tmp_path / "set" / "pos").mkdir(parents=True)
    (tmp_path / "set" / "pos" / "1.txt").write_text("text")
    before = folder.fingerprint(tmp_path / "set")
    assert folder.fingerprint(tmp_path / "set") == before
    (tmp_path / "set" / "pos" / "1.txt").rename(tmp_path / "set" / "pos" / "2.txt")
    assert folder.fingerprint(tmp_path / "set") != before
