import os

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.text_files import parse_csv, read_csv, read_text


def test_rows_may_end_with_more_commas_than_the_header_but_not_with_more_values():
    table = parse_csv("study,patient\na,p1,\n\nb,p2,,\n", "t.csv")
    assert (table.columns, table.rows) == (["study", "patient"], [["a", "p1"], ["b", "p2"]])
    with pytest.raises(BadInput, match=r"t\.csv:3: has 3 fields, but there are 2 columns"):
        parse_csv("study,patient\na,p1\nb,p2,x\n", "t.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "t.csv: is empty"),
        ("\n\n", "t.csv: is empty"),
        ("id,label\na\n", "t.csv:2: has 1 fields, but there are 2 columns"),
        ('id,label\n"a,b\n', "t.csv:2: is no CSV"),
        ("id,id\na,b\n", "t.csv:1: the column id is there twice"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(text, says):
    with pytest.raises(BadInput) as caught:
        parse_csv(text, "t.csv")
    assert says in str(caught.value)


def test_fields_may_be_quoted_long_and_unnamed():
    long = "x" * 200_000
    table = parse_csv(f',id,\r\n0,"a,""b""",\r\n1,{long},\r\n', "t.csv")
    assert table.columns == ["column 1", "id"]
    assert table.rows == [["0", 'a,"b"'], ["1", long]]


def test_old_line_ends_separate_rows():
    assert parse_csv("id,label\ra,b\rc,d\r", "t.csv").rows == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"id,label\n\xe9,b\n", "t.csv:2: is not UTF-8"),
        ("id,label\na,b\n".encode("utf-16"), "t.csv:1: is not UTF-8"),
    ],
)
def test_a_table_in_another_encoding_is_refused_with_its_line(tmp_path, data, says):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(BadInput) as caught:
        read_csv(tmp_path / "t.csv")
    assert says in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfid,label\na,b\n")
    assert read_csv(tmp_path / "t.csv").columns == ["id", "label"]


def test_only_a_readable_regular_file_of_reasonable_size_is_read(tmp_path):
    def says(file) -> str:
        with pytest.raises(BadInput) as caught:
            read_text(file)
        return str(caught.value)

    os.mkfifo(fifo := tmp_path / "fifo")
    assert "is no regular file" in says(fifo)
    assert "cannot be read (Is a directory)" in says(tmp_path)
    (link := tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert "link: the link points to nothing" in says(link)
    (loop := tmp_path / "loop").symlink_to(loop)
    assert "loop: cannot be read (Too many levels of symbolic links)" in says(loop)
    assert "there is no such file" in says(tmp_path / "none")
    assert "cannot be read (File name too long)" in says(tmp_path / ("x" * 300))
    (large := tmp_path / "large").write_text("a" * 11)
    with pytest.raises(BadInput, match="is larger than"):
        read_text(large, 10)
