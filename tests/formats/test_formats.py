"""What the boundary says of files that are not what they should be, and that it asks for no memory before."""

import gzip
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest

from descentlab.formats import (
    DataError,
    decoding,
    is_tar,
    json_object,
    read_bytes,
    read_files,
    read_idx,
    read_json,
    read_json_lines,
    read_npy,
    read_npz,
    read_table,
    read_tar,
    unpacked,
)
from support import damage


def everything(name):
    return True


def refused(said, read, *arguments):
    with pytest.raises(DataError, match=said):
        read(*arguments)


def whatever_raises(error):
    with decoding("it", "an image", "draw it again"):
        raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("a"), r"it is not an image \('a'\); draw it again"),
        (EOFError(), r"it is not an image \(EOFError\); draw it again"),
        (RecursionError("maximum recursion depth"), r"\(nested too deeply\)"),
        (MemoryError(), r"\(larger than the memory\)"),
        (ValueError("two\nlines"), r"\(two lines\)"),
        (ValueError("x" * 5000), r"\(x{200}\.\.\.\)"),
    ],
)
def test_whatever_a_decoder_raises_is_one_sentence(error, said):
    refused(said, whatever_raises, error)


def test_an_error_of_the_boundary_and_an_interrupt_pass_a_decoder_as_they_are():
    refused("^as it is$", whatever_raises, DataError("as it is"))
    with pytest.raises(KeyboardInterrupt):
        whatever_raises(KeyboardInterrupt())


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused("pipe is a pipe or device; write its content to a file", read_bytes, tmp_path / "pipe")
    refused("/dev/zero is a pipe or device", read_bytes, "/dev/zero")
    refused("wanted a list, but .* is a folder", read_bytes, tmp_path, "a list")
    refused(r"cannot be read: File name too long", read_bytes, tmp_path / ("x" * 300))
    refused("cannot be read: embedded null byte", read_bytes, "a\0b")
    (tmp_path / "it").write_bytes(b"12345")
    assert read_bytes(tmp_path / "it", most=5) == b"12345"
    refused("wanted a file of at most 4 bytes, but .*it has 5", read_bytes, tmp_path / "it", "a file", 4)


def test_a_pipe_or_a_link_below_a_folder_is_named_and_not_waited_for(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_bytes(b"text")
    os.mkfifo(tmp_path / "a" / "2.txt")
    refused("a/2.txt is a pipe", list, read_files(tmp_path, everything))
    assert list(read_files(tmp_path, lambda name: name == "a/1.txt")) == [("a/1.txt", b"text")]
    (tmp_path / "a" / "2.txt").unlink()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refused("b is a link to a folder and would be left out", list, read_files(tmp_path, everything))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"it is not JSON \(Expecting value"),
        (b"[" * 100_000, r"it is not JSON \(nested too deeply\)"),
        (b'{"a":' * 150 + b"1" + b"}" * 150, "it nests objects and lists deeper than 100"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"it is not JSON \(Exceeds the limit"),
        (b'{"a": 1, "a": 2}', r"it is not JSON \(the name 'a' has two values\)"),
        (b"[1, 2]", "wanted a JSON file with named fields, but it holds a list of 2"),
        (b"null", "but it holds null"),
        (b'"' + b"x" * 99 + b'"', r'but it holds "x{39}\.\.\.'),
        (b"\x89PNG", "it is not JSON"),
    ],
)
def test_what_is_no_object_of_json_is_refused(content, said):
    refused(said, json_object, content, "it")


def test_json_of_any_encoding_and_infinity_is_read_and_a_large_file_is_not(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert json_object('{"ä": [0.0, Infinity]}'.encode(encoding), "it") == {"ä": [0.0, float("inf")]}
    assert json_object(b'{"a":' * 100 + b"1" + b"}" * 100, "it")["a"]
    with (tmp_path / "it.json").open("wb") as file:
        file.truncate(2**25)
    refused(
        "wanted a JSON file of at most 16,777,216 bytes, but .*it.json has 33,554,432", read_json, tmp_path / "it.json"
    )


@pytest.mark.parametrize("kind", [">f8", "<f4", "<i2", "|b1", "<U3", "|u1", "<c16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_back_as_it_was_written(kind, order):
    array = np.asarray(np.arange(12).reshape(3, 4).astype(kind), order=order)
    for save in (
        np.save,
        lambda file, value: np.savez(file, it=value),
        lambda file, value: np.savez_compressed(file, it=value),
    ):
        buffer = io.BytesIO()
        save(buffer, array)
        content = buffer.getvalue()
        found = read_npy(content, "it") if content[:1] == b"\x93" else read_npz(content, "it")["it"]
        assert np.array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")
        assert found.dtype.isnative


HEAD = "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not an array that numpy.save wrote"),
        (damage.npy(HEAD.format("'<f8'", "(1099511627776, 1099511627776)"), b""), "says that its array has the shape"),
        (damage.npy(HEAD.format("'<f8'", "(2,)"), bytes(8)), r"shape \(2,\), 16 bytes, but it holds 8 bytes of them"),
        (damage.npy(HEAD.format("'<f8'", "(1,)"), bytes(16)), r"shape \(1,\), 8 bytes, but it holds 16"),
        (damage.npy(HEAD.format("'<f8'", "(-1, -2)"), bytes(16)), r"says that its array has the shape \(-1, -2\)"),
        (
            damage.npy(HEAD.format("'|O'", "(1,)"), b"cos\nsystem"),
            "it holds pickled objects, plain numbers",
        ),
        (damage.npy(HEAD.format("'<m8[s]'", "(1,)"), bytes(8)), r"it holds entries of type timedelta64\[s\]"),
        (damage.npy(HEAD.format("'|V0'", "(10,)"), b""), "it holds entries of type"),
        (damage.npy(HEAD.format("-" * 5000 + "1", "(1,)"), bytes(8)), "it is not an array that numpy.save wrote"),
        (damage.npy(HEAD.format("'<f8'", "(True,)"), bytes(8)), r"says that its array has the shape \(True,\)"),
        (damage.npy(HEAD.format("'<f8'", f"(0, {10**30})"), b""), "it is not an array that numpy.save wrote"),
        (damage.npy(HEAD.format("'<f8'", f"({'0, ' * 70})"), b""), "it is not an array that numpy.save wrote"),
        (damage.npy("(" * 300, b""), "it is not an array that numpy.save wrote"),
        (damage.npy(HEAD.format("'<f8'", "(1,)"), bytes(8), (9, 9)), "it is not an array that numpy.save wrote"),
    ],
)
def test_a_damaged_array_is_refused_before_memory_is_asked_for(content, said):
    refused(said, read_npy, content, "it")


def archive(method=zipfile.ZIP_STORED, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def test_archives_of_foreign_compression_and_content_are_refused():
    whole = damage.saved(np.ones(3))
    for method, number in ((zipfile.ZIP_LZMA, 14), (zipfile.ZIP_BZIP2, 12)):
        refused(f"it: 'a.npy' is packed by method {number} of zip", read_npz, archive(method, a_npy=whole), "it")
    refused("it holds 'a.txt', which is no array", read_npz, archive(a_txt=b"text"), "it")
    encrypted = bytearray(archive(a_npy=whole))
    encrypted[encrypted.find(b"PK\x01\x02") + 8] |= 1
    refused("it: 'a.npy' is encrypted", read_npz, bytes(encrypted), "it")
    twice = archive(a_npy=whole, b_npy=whole).replace(b"b.npy", b"a.npy")
    refused("it holds two arrays of the name 'a.npy'", read_npz, twice, "it")
    changed = archive(a_npy=whole).replace(np.ones(1).tobytes(), np.full(1, 2.0).tobytes(), 1)
    refused(r"it is not an .npz file that numpy.savez wrote \(Bad CRC-32", read_npz, changed, "it")
    refused("it is not an .npz file", read_npz, archive(a_npy=whole)[:-30], "it")


def test_what_unpacks_to_far_more_than_it_is_is_refused():
    bomb = archive(zipfile.ZIP_DEFLATED, a_npy=damage.saved(np.zeros(70_000_000, np.uint8)))
    assert len(bomb) < 100_000
    refused("says that it unpacks to 70,000,128, at most 67,108,864 were wanted", read_npz, bomb, "it")
    zeros = gzip.compress(bytes(70_000_000), 1)
    refused("unpacks to more than 67,108,864, far more than text or images do", unpacked, zeros, "it")
    assert unpacked(gzip.compress(bytes(10**6)), "it") == bytes(10**6)
    assert unpacked(b"not packed", "it") == b"not packed"
    refused(r"it is not a whole gzip file \(Compressed file ended", unpacked, gzip.compress(b"text")[:-5], "it")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is no idx file with 3 axes of bytes: it must begin with the number 2051, but it has 0 bytes"),
        (bytes([0, 0, 8, 1]), "begin with the number 2051, got 2049"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, r"it has 0 bytes for the shape \(4294967295, 4294967295, 4294967295\)"),
        (bytes([0, 0, 8, 3]), "it has 0 bytes for the shape"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 8 + bytes(4), "it is not an idx file"),
        (bytes([0, 0, 8, 3]) + (2).to_bytes(4, "big") * 3 + bytes(7), r"it has 7 bytes for the shape \(2, 2, 2\)"),
    ],
)
def test_a_damaged_idx_file_is_refused_before_memory_is_asked_for(content, said):
    refused(said, read_idx, content, "it", 3)
    refused(said, read_idx, gzip.compress(content), "it", 3)


@pytest.mark.parametrize("separator", [";", "|"])
def test_the_separator_of_a_table_is_named_where_it_is_neither_comma_nor_tab(separator):
    table = f"text{separator}label\nsaid, once{separator}a\n".encode()
    words = {";": "semicolons", "|": "bars"}[separator]
    refused(
        f"the fields of it.tsv are separated by {words}, commas or tabs were wanted",
        list,
        read_table(table, "it.tsv", ["text"]),
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label\na,b,c\n", "it, row 2: it has 3 fields, the row of names has 2; put texts that contain commas"),
        (b"text,label\na\n", "it, row 2: it has 1 fields"),
        (b'text,label\n"a,b\n', "it is not a table with commas between its fields"),
        (b'text,label\n"a"x,b\n', "it is not a table with commas between its fields"),
        (b"text\tlabel\na\n", "it, row 2: it has 1 fields, the row of names has 2; take tabs and line ends out"),
        (b"text,text\na,b\n", "it has 2 columns of the name 'text'; rename the others"),
        (b"", "it has no column 'text'; it has none"),
        (b"a\0b", "it is not text: a zero byte at position 1; save it as UTF-8"),
        (b"text\n\xff\n", "it is not text in UTF-8: byte 0xff at position 5; save it as UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_for_its_true_reason(content, said):
    refused(said, list, read_table(content, "it", ["text"]))


def test_tables_are_read_with_quotes_long_texts_and_any_ends_of_lines():
    long = "x" * 200_000
    for end in ("\n", "\r\n"):
        rows = ["\N{BOM}label,text", 'a,"said, ""once"""', "", f"b,{long}", 'c,"two\nlines"', ""]
        found = list(read_table(end.join(rows).encode(), "it", ["text", "label"]))
        assert found == [(2, ('said, "once"', "a")), (4, (long, "b")), (5, ("two\nlines", "c"))]


def test_fields_between_tabs_keep_their_commas_and_quotes():
    rows = ["\N{BOM}label\ttext", 'a\tsaid, "once"', "", 'b\t"both ""times"""', 'c\t"open, only']
    for end in ("\n", "\r\n"):
        found = list(read_table(end.join(rows).encode(), "it", ["text", "label"]))
        assert found == [(2, ('said, "once"', "a")), (4, ('both "times"', "b")), (5, ('"open, only', "c"))]


def test_lines_of_json_are_read_with_whole_numbers_as_labels():
    lines = ['{"text": "said, \\"once\\"\\n", "label": 1}', "", '{"label": "b", "text": "\u00fc", "other": [2]}']
    for start, end in (("", "\n"), ("\N{BOM}", "\r\n")):
        content = (start + end.join(lines)).encode()
        found = list(read_json_lines(content, "it", ["text", "label"]))
        assert found == [(1, ('said, "once"\n', "1")), (3, ("\u00fc", "b"))]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1, 2]", "wanted JSON lines: on each an object with named fields, but it, line 2 holds a list of 2"),
        ('{"text": "a"', "it, line 2 is not JSON"),
        ('{"body": "a"}', "it, line 2 has no field 'text'; .*body.*; name the fields by text_column and label_column"),
        ('{"text": null}', "it, line 2: 'text' must be a text or a whole number, got null; mend it"),
        ('{"text": 1.5}', "it, line 2: 'text' must be a text or a whole number, got 1.5"),
        ('{"text": "\\ud800"}', "it, line 2: 'text' is not text that UTF-8 can hold"),
        ('{"text": "a", "text": "b"}', "it, line 2 is not JSON .the name 'text' has two values"),
    ],
)
def test_what_is_no_line_of_json_is_refused_for_its_true_reason(line, said):
    refused(said, list, read_json_lines(f'{{"text": "fine"}}\n{line}\n'.encode(), "it", ["text"]))


def tar(*names, **changes):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 700
            file.addfile(member, io.BytesIO(bytes(700)))
        for name, kind in changes.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a"
            file.addfile(member)
    return buffer.getvalue()


def files(content):
    return dict(read_tar(content, "it", everything))


def test_a_tar_archive_that_breaks_off_anywhere_is_refused():
    whole = tar("a", "b")
    assert files(whole) == {"a": bytes(700), "b": bytes(700)}
    for end in (*range(0, 3072, 96), 3072):
        refused("it (is not a whole|is damaged)", files, whole[:end])
    assert files(whole[: 3072 + 512]) == files(whole)


def test_a_damaged_head_in_a_tar_archive_is_no_end_of_it():
    damaged = bytearray(tar("a", "b"))
    damaged[1536] ^= 1
    refused("it is damaged or incomplete: it breaks off at byte 1,536", files, bytes(damaged))


def test_a_negative_size_in_a_tar_archive_is_refused_and_not_gone_round_for_ever():
    whole = bytearray(tar("a", "b"))
    whole[1536 + 124 : 1536 + 136] = b"\xff" * 10 + b"\xf6\x00"  # 2,560 bytes back: the first head again
    whole[1536 + 148 : 1536 + 156] = b" " * 8
    whole[1536 + 148 : 1536 + 156] = b"%06o\0 " % sum(whole[1536:2048])
    refused("it is damaged", files, bytes(whole))  # newer Pythons see it themselves


def test_links_and_files_with_holes_are_named_where_they_are_wanted():
    linked = tar("a", b=tarfile.SYMTYPE)
    refused("it: 'b' is a link or a device; write the archive without --sparse, with --dereference", files, linked)
    assert dict(read_tar(linked, "it", lambda name: name == "a")) == {"a": bytes(700)}
    refused("it: 'b' is a link or a device", files, tar("a", b=tarfile.LNKTYPE))


def test_archives_are_known_by_their_first_block():
    assert is_tar(tar("a"))
    old = bytearray(tar("a")[:512])
    old[257:265] = bytes(8)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    assert is_tar(bytes(old))
    assert not is_tar(b"text,label\n" * 100)
    assert not is_tar(b"")
