"""No malformed input ends in a traceback, in waiting, or in much memory. `make fuzz` asks the same of 100,000."""

import json

import pytest

from support import fuzzing

INPUTS = 40


@pytest.mark.parametrize("name", fuzzing.FORMATS)
def test_every_malformed_input_is_read_or_refused_in_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing.platformdirs, "user_cache_dir", lambda _: str(tmp_path / "cache"))
    monkeypatch.setenv(fuzzing.folder.VARIABLE, "")
    counts, faults = fuzzing.fuzz(name, range(INPUTS), tmp_path)
    assert faults == []
    assert counts.refused > INPUTS / 2
    assert counts.sentences > 2


@pytest.mark.parametrize("name", fuzzing.FORMATS)
def test_files_without_damage_are_read(name, tmp_path, monkeypatch):
    """Else every refusal above would prove nothing."""
    monkeypatch.setattr(fuzzing.platformdirs, "user_cache_dir", lambda _: str(tmp_path / "cache"))
    monkeypatch.setenv(fuzzing.folder.VARIABLE, "")
    chosen = fuzzing.FORMATS[name]
    for whole in chosen.whole()[:1]:
        path = tmp_path / chosen.name
        path.write_bytes(whole)
        assert chosen.read(path) is not None


@pytest.mark.parametrize("name", fuzzing.FORMATS)
def test_format_and_number_decide_an_input(name, monkeypatch):
    """Also at another time, which packers write into their files."""
    numbers = range(1000, 1040)
    inputs = [fuzzing.damaged(name, number) for number in numbers]
    assert len(set(inputs)) > len(numbers) / 2
    monkeypatch.setattr(fuzzing.time, "time", lambda: 1e9)
    fuzzing._whole.cache_clear()
    assert [fuzzing.damaged(name, number) for number in numbers] == inputs


def hang(path):
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda path: json.loads(path.read_bytes())["model_type"], "a traceback: .*Error"),
        (lambda path: fuzzing.np.empty(2**40), "a traceback: .*MemoryError"),
        (hang, "takes more than 0.2 s"),
    ],
)
def test_a_reader_without_a_boundary_is_found(read, said, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "SECONDS", 0.2)
    careless = fuzzing.FORMATS["config"]._replace(read=read)
    monkeypatch.setitem(fuzzing.FORMATS, "config", careless)
    _, faults = fuzzing.fuzz("config", range(5), tmp_path)
    assert faults
    assert all(fuzzing.re.match(said, fault.what) for fault in faults)
