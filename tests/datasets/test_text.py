"""A user's own text: folders, archives and CSV files give the same examples, and mistakes are named."""

import dataclasses
import gzip
import io
import json
import os
import shutil
import tarfile

import numpy as np
import pytest

from descentlab._describe import digest
from descentlab.cli.flags import read_given
from descentlab.datasets import DataError, OwnText, own_text
from descentlab.given import Given

LABELS = ("cold", "warm")


def texts(count=20):
    return [(f'day {i} was {label}, "they" said\nwith ü', label) for i in range(count) for label in LABELS]


def write_folder(place, rows, part=""):
    for i, (text, label) in enumerate(rows):
        path = place / part / label / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return place


def write_table(path, rows, head="text,label"):
    quoted = [f'"{text.replace(chr(34), 2 * chr(34))}",{label}' for text, label in rows]
    path.write_text("\n".join([head, *quoted]) + "\n", encoding="utf-8")
    return path


def examples(part, classes):
    return [(bytes(row).rstrip(b"\0").decode(), classes[label]) for row, label in zip(*part[:2], strict=True)]


def every(dataset):
    return [examples(part, dataset.classes) for part in dataset.load()]


def test_a_folder_an_archive_and_a_table_give_the_same_examples(tmp_path):
    folder = write_folder(tmp_path / "reviews", texts())
    (folder / ".hidden").write_bytes(b"\0")
    (folder / "README").write_text("not a text of a class")
    with tarfile.open(tmp_path / "reviews.tar.gz", "w:gz") as archive:
        archive.add(folder, "reviews")
    table = write_table(tmp_path / "reviews.csv", texts())
    found = [every(OwnText(own_text(path), 64)) for path in (folder, tmp_path / "reviews.tar.gz", table)]
    assert found[0] == found[1] == found[2]
    assert [len(part) for part in found[0]] == [32, 4, 4]
    assert sorted(sum(found[0], [])) == sorted(texts())
    assert all([label for _, label in part].count("cold") == len(part) / 2 for part in found[0])


def test_tables_and_lines_of_json_give_the_same_examples(tmp_path):
    rows = [(text.replace("\n", " "), label) for text, label in texts()]
    write_table(tmp_path / "it.csv", rows)
    (tmp_path / "it.tsv").write_text("\n".join(["label\ttext", *(f"{label}\t{text}" for text, label in rows)]))
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    (tmp_path / "it.jsonl").write_text("\n".join(lines))
    (tmp_path / "it").write_text("\n".join(lines))
    (tmp_path / "it.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    names = ("it.csv", "it.tsv", "it.jsonl", "it", "it.jsonl.gz")
    found = [every(OwnText(own_text(tmp_path / name), 64)) for name in names]
    assert all(one == found[0] for one in found)
    assert sorted(sum(found[0], [])) == sorted(rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("it.json", '[{"text": "a", "label": "b"}]', "it.json, line 1 holds a list of 1"),
        ("it.jsonl", "text,label\na,b", "it.jsonl, line 1 is not JSON"),
        ("it.tsv", "text;label\na;b", "the fields of it.tsv are separated by semicolons, commas or tabs were wanted"),
        ("it.jsonl", '{"text": "a", "label": ""}', "it.jsonl, line 1: it has no label; fill it in or remove the line"),
    ],
)
def test_rows_that_are_not_what_their_name_says_are_refused(name, content, said):
    with pytest.raises(DataError, match=said):
        OwnText(Given(name, np.frombuffer(content.encode(), dtype=np.uint8))).load()


def test_parts_that_are_given_are_kept(tmp_path):
    folder = write_folder(tmp_path, texts(20), "train")
    write_folder(folder, [(f"test {i}", "warm") for i in range(3)], "test")
    dataset = OwnText(own_text(folder), 64, development=6)
    train, development, test = every(dataset)
    assert (len(train), len(development)) == (34, 6)
    assert sorted(train + development) == sorted(texts(20))
    assert sorted(test) == [(f"test {i}", "warm") for i in range(3)]
    with pytest.raises(DataError, match="has a test part, and test=5 asks for another; leave it out"):
        dataclasses.replace(dataset, test=5).load()


def test_which_texts_are_held_out_depends_on_neither_names_nor_order(tmp_path):
    one = every(OwnText(own_text(write_folder(tmp_path / "one", texts())), 64))
    other = every(OwnText(own_text(write_folder(tmp_path / "other", texts()[::-1])), 64))
    assert one == other


def test_another_text_is_another_definition_and_a_copy_is_the_same(tmp_path):
    folder = write_folder(tmp_path / "one", texts())
    shutil.copytree(folder, tmp_path / "copy")
    dataset = OwnText(own_text(folder), 64)
    assert digest(dataset) == digest(OwnText(own_text(tmp_path / "copy"), 64))
    assert digest(dataset) == digest(OwnText(read_given(folder), 64))
    (folder / "cold" / "0.txt").write_text("another")
    assert digest(dataset) != digest(OwnText(own_text(folder), 64))


def test_columns_may_have_any_name_and_long_texts_are_cut(tmp_path):
    table = write_table(tmp_path / "it.csv", texts(), "body,kind")
    dataset = OwnText(own_text(table), 5, text_column="body", label_column="kind")
    assert {text for text, _ in every(dataset)[0]} <= {text.encode()[:5].decode() for text, _ in texts()}
    with pytest.raises(DataError, match="it.csv has no column 'text'; known are: body, kind; name the columns by"):
        OwnText(own_text(table)).load()


def table(*rows, encoding="utf-8"):
    return Given("it.csv", np.frombuffer("\n".join(["text,label", *rows]).encode(encoding), dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            table("a,one", "b,two", encoding="utf-16"),
            "it.csv is not text: a zero byte at position .*; save it as UTF-8",
        ),
        (
            table("é,one", "b,two", encoding="latin-1"),
            "it.csv is not text in UTF-8: byte 0xe9 at position 11",
        ),
        (table("a,one", "b,"), "it.csv, row 3: it has no label"),
        (table("a,one", ",two"), "it.csv, row 3 is empty"),
        (table("a,one", "b,one"), "it.csv must have two or more classes to train on, got one"),
        (table(), "it.csv must have two or more classes to train on, got none"),
        (
            table("a,one", "b,two,three"),
            "it.csv, row 3: it has 3 fields, the row of names has 2",
        ),
    ],
)
def test_a_table_that_is_not_labelled_text_is_refused(content, said):
    with pytest.raises(DataError, match=said):
        OwnText(content, development=0, test=0).load()


def test_a_folder_that_is_not_labelled_text_is_refused(tmp_path):
    folder = tmp_path / "it"
    folder.mkdir()
    with pytest.raises(
        DataError, match="it is empty; a folder with one subfolder a class was wanted, or a CSV, TSV or JSON"
    ):
        own_text(folder)
    with pytest.raises(DataError, match="nowhere cannot be read: No such file"):
        own_text(tmp_path / "nowhere")
    write_folder(folder, texts(2))
    (folder / "cold" / "picture.txt").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(DataError, match="it: cold/picture.txt is not text: a zero byte at position 4"):
        OwnText(own_text(folder)).load()
    (folder / "cold" / "picture.txt").write_bytes(b"")
    with pytest.raises(DataError, match="it: cold/picture.txt is empty"):
        OwnText(own_text(folder)).load()


def test_a_class_without_examples_to_train_on_is_refused(tmp_path):
    folder = write_folder(tmp_path / "it", texts(4), "train")
    write_folder(folder, [("text", "hot")], "test")
    with pytest.raises(DataError, match="the test part has the class hot, the training part does not"):
        OwnText(own_text(folder)).load()
    few = table("a,one", "b,two", "c,two")
    with pytest.raises(
        DataError, match=r"3 examples with \[2, 0\] held out leave nothing to train on in class number 0"
    ):
        OwnText(few, development=2, test=0).load()


def test_a_truncated_archive_is_refused(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(write_folder(tmp_path / "it", texts()), "it")
    half = np.frombuffer(buffer.getvalue()[:400], dtype=np.uint8)
    with pytest.raises(DataError, match=r"it.tar.gz is not a whole gzip file .*; get it again"):
        OwnText(Given("it.tar.gz", half)).load()


def test_a_table_that_is_packed_is_a_table():
    rows = b"text,label\n" + b"".join(b"%d,%s\n" % (i, b"ab"[i % 2 :][:1]) for i in range(40))
    packed = Given("it.csv.gz", np.frombuffer(gzip.compress(rows), dtype=np.uint8))
    assert OwnText(packed, 4).classes == ("a", "b")


def test_a_pipe_in_a_folder_of_texts_is_named_and_not_waited_for(tmp_path):
    folder = write_folder(tmp_path / "it", texts(2))
    os.mkfifo(folder / ".hidden")
    own_text(folder)
    os.mkfifo(folder / "cold" / "pipe.txt")
    with pytest.raises(DataError, match="cold/pipe.txt is a pipe or device; write its content to a file"):
        own_text(folder)
    with pytest.raises(DataError, match="wanted a folder or a file of labelled texts, but .*pipe.txt is a pipe"):
        own_text(folder / "cold" / "pipe.txt")


def test_tabs_may_separate_fields_whose_texts_have_commas(tmp_path):
    (tmp_path / "reviews.tsv").write_text("text\tlabel\n" + "number 0, said once\ta\nnumber 1, said once\tb\n" * 9)
    assert OwnText(own_text(tmp_path / "reviews.tsv"), length=32).classes == ("a", "b")


def test_a_length_of_zero_is_refused():
    with pytest.raises(ValueError, match="OwnText.length must be a finite number above 0, got 0"):
        OwnText(table("a,one", "b,two"), length=0)


def test_an_array_of_numbers_is_no_content():
    with pytest.raises(
        ValueError, match="OwnText.content must be the bytes of a text, uint8 with one axis, got float64"
    ):
        OwnText(Given("it.npy", np.ones(400)))
