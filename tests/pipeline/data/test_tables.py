"""Files of rows: what each format yields, and the exact complaint about each file that cannot be used."""

import csv
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.tables import read_table
from pipeline.errors import BadRows

ODD_ENDS = "a\u2028b\x85c\x0bd\x0ce\x1cf\u2029g"  # str.splitlines() ends a line at each of these


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadRows) as error:
        list(read_table(path))
    return str(error.value)


# --- what is read --------------------------------------------------------------------------------------------

TWO_ROWS = [{"text": 'say "hi", you', "label": "7"}, {"text": ODD_ENDS, "label": "no"}]


@pytest.mark.parametrize("bom", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("rows.csv", ["text,label", '"say ""hi"", you",7', f"{ODD_ENDS},no"]),
        ("rows.tsv", ["text\tlabel", 'say "hi", you\t7', f"{ODD_ENDS}\tno"]),
        ("rows.jsonl", ["", r'{"text": "say \"hi\", you", "label": 7}', json.dumps(TWO_ROWS[1], ensure_ascii=False)]),
    ],
)
def test_text_formats_give_the_same_rows_with_their_lines(tmp_path, name, lines, end, bom):
    path = write(tmp_path / name, bom + end.join(lines) + end)
    assert list(read_table(path)) == [(2, TWO_ROWS[0]), (3, TWO_ROWS[1])]


def test_parquet_gives_the_same_rows_with_their_numbers(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TWO_ROWS), tmp_path / "rows.parquet")
    assert list(read_table(tmp_path / "rows.parquet")) == [(1, TWO_ROWS[0]), (2, TWO_ROWS[1])]


def test_quotes_are_plain_text_in_tsv(tmp_path):
    path = write(tmp_path / "rows.tsv", 'text\tlabel\n"open\t"\n""\t"a" b\n')
    assert [row for _, row in read_table(path)] == [{"text": '"open', "label": '"'}, {"text": '""', "label": '"a" b'}]


def test_a_quoted_csv_field_may_hold_commas_and_line_ends(tmp_path):
    path = write(tmp_path / "rows.csv", 'text,label\n"a,\r\nb\nc",1\nd,2\n')
    assert list(read_table(path)) == [(4, {"text": "a,\r\nb\nc", "label": "1"}), (5, {"text": "d", "label": "2"})]


@pytest.mark.parametrize(("name", "tab"), [("rows.csv", ","), ("rows.tsv", "\t")])
def test_blank_lines_are_passed_over_and_counted(tmp_path, name, tab):
    path = write(tmp_path / name, f"\ntext{tab}label\n\n\na{tab}1\n\n")
    assert list(read_table(path)) == [(5, {"text": "a", "label": "1"})]


def test_without_a_header_columns_are_numbers_and_the_first_line_is_a_row(tmp_path):
    path = write(tmp_path / "rows.tsv", "gj04\t1\t\tA sentence.\nbc01\t0\t*\tAnother.\n")
    assert list(read_table(path, header=False)) == [
        (1, {"0": "gj04", "1": "1", "2": "", "3": "A sentence."}),
        (2, {"0": "bc01", "1": "0", "2": "*", "3": "Another."}),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_numbers_and_nulls_become_the_text_that_csv_would_hold(tmp_path, suffix):
    rows = [{"a": 3, "b": 1.0, "c": "x"}, {"a": -4, "b": 2.5, "c": None}, {"a": 5, "b": None, "c": "1.0"}]
    path = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        write(path, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert [tuple(row.values()) for _, row in read_table(path)] == [
        ("3", "1", "x"),
        ("-4", "2.5", ""),
        ("5", "", "1.0"),
    ]


def test_broken_rows_are_passed_over_where_that_is_asked_for(tmp_path):
    path = write(tmp_path / "rows.tsv", "text\tlabel\na\t1\nshort\nlong\t1\t2\nb\t0\n")
    assert list(read_table(path, skip_broken=True)) == [
        (2, {"text": "a", "label": "1"}),
        (5, {"text": "b", "label": "0"}),
    ]


# --- what is refused -----------------------------------------------------------------------------------------

ZERO_BYTES = "{path}: is not a text file (it has zero bytes). Give rows as UTF-8 text"
NOT_UTF8 = "{path}: is not UTF-8 text (invalid start byte). Convert it to UTF-8"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "text,label\na,1\nb\n", "{path} line 3: has 1 fields, not 2. Fix this row"),
        ("rows.tsv", "text\tlabel\n\na\t1\t2\n", "{path} line 3: has 3 fields, not 2. Fix this row"),
        ("rows.csv", 'text,label\n"a,1\n', "{path} line 2: could not be read (unexpected end of data). Fix this row"),
        (
            "rows.csv",
            'text,label\na,1\n"b"b,1\n',
            "{path} line 3: could not be read (',' expected after '\"'). Fix this row",
        ),
        ("rows.csv", b"text,label\na\xff,1\n", NOT_UTF8),
        ("rows.tsv", b"text\tlabel\na\xff\t1\n", NOT_UTF8),
        ("rows.jsonl", b'{"text": "a\xff"}\n', NOT_UTF8),
        ("rows.csv", "text,label\n".encode("utf-16"), NOT_UTF8),
        ("rows.csv", "text,label\na\0,1\n", ZERO_BYTES),
        ("rows.tsv", "text\tlabel\na\0\t1\n", ZERO_BYTES),
        ("rows.jsonl", '{"text": "a\0"}\n', ZERO_BYTES),
        ("rows.jsonl", '{"a": 1}\n[1, 2]\n', "{path} line 2: is not a JSON object. Write each row as {{...}}"),
        ("rows.jsonl", '\n"a"\n', "{path} line 2: is not a JSON object. Write each row as {{...}}"),
        (
            "rows.jsonl",
            '{"a": 1}\ntext\n',
            "{path} line 2: is not a JSON object (Expecting value: line 1 column 1 (char 0)). Fix this row",
        ),
        (
            "rows.jsonl",
            r'{"a": "\ud83d\ude00"}' + "\n" + r'{"a": "\ud83d"}',
            "{path} line 2: a contains half of a surrogate pair, which is not text. Fix this row",
        ),
        ("rows.txt", "text", "{path}: files of rows end in .csv, .tsv, .jsonl, .parquet. Convert it, or rename it"),
        ("rows", "text", "{path}: files of rows end in .csv, .tsv, .jsonl, .parquet. Convert it, or rename it"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    assert refusal(path) == message.format(path=path)


@pytest.mark.parametrize("damage", ["csv", "empty", "page"])
def test_parquet_that_cannot_be_read_is_refused_with_the_reason_on_one_line(tmp_path, damage):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TWO_ROWS), path)
    intact = path.read_bytes()
    write(path, {"csv": b"text,label\na,1\n", "empty": b"", "page": intact[:4] + b"\xff" * 8 + intact[12:]}[damage])
    with pytest.raises((pyarrow.ArrowInvalid, OSError)) as reason:
        pyarrow.parquet.read_table(path)
    first_line, *others = str(reason.value).splitlines()
    assert bool(others) is (damage == "page")
    assert refusal(path) == f"{path}: could not be read as parquet ({first_line}). Check the file"


def test_json_nested_too_deeply_is_refused(tmp_path):
    path = write(tmp_path / "rows.jsonl", "[" * 100_000)
    with pytest.raises(RecursionError) as reason:
        json.loads("[" * 100_000)
    assert refusal(path) == f"{path} line 1: is not a JSON object ({reason.value}). Fix this row"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_missing_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    assert refusal(path) == f"{path}: there is no such file. Check the name"
    path.mkdir()
    assert refusal(path) == f"{path}: there is no such file. Check the name"


# --- any text ------------------------------------------------------------------------------------------------


def rows_without(characters: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.text(st.characters(codec="utf-8", exclude_characters=characters)), max_size=8)


any_files = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_files
@given(texts=rows_without("\0"))
def test_csv_gives_back_any_text(tmp_path, texts):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *((text, "1") for text in texts)])
    path = write(tmp_path / "rows.csv", file.getvalue())
    assert [row for _, row in read_table(path)] == [{"text": text, "label": "1"} for text in texts]


@any_files
@given(texts=rows_without("\0\t\n"))
def test_tsv_gives_back_any_text_without_tabs_and_line_ends(tmp_path, texts):
    path = write(tmp_path / "rows.tsv", "text\tlabel\n" + "".join(f"{text}\t1\n" for text in texts))
    assert list(read_table(path)) == [(2 + i, {"text": text, "label": "1"}) for i, text in enumerate(texts)]


@any_files
@given(texts=rows_without(""), ascii_only=st.booleans())
def test_jsonl_gives_back_any_text(tmp_path, texts, ascii_only):
    lines = (json.dumps({"text": text, "label": 1}, ensure_ascii=ascii_only) + "\n" for text in texts)
    path = write(tmp_path / "rows.jsonl", "".join(lines))
    assert list(read_table(path)) == [(1 + i, {"text": text, "label": "1"}) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", 'a,b\n"",""\n', None),  # a row of empty fields is a row: whoever needs text complains
        ("rows.csv", "a,b,a\n1,2,3\n", "{path}: two columns have the same name in a, b, a. Rename one"),
        ("rows.jsonl", '{"a": ["x"]}\n', "{path} line 1: a is not text but ['x']. Fix this row"),
        ("rows.jsonl", '{"a": NaN}\n', "{path} line 1: a is not text but nan. Fix this row"),
    ],
)
def test_cells_and_headers(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    if message is None:
        assert list(read_table(path)) == [(2, {"a": "", "b": ""})]
    else:
        assert refusal(path) == message.format(path=path)


def test_bytes_in_parquet_that_are_no_text(tmp_path):
    column = pyarrow.array([b"caf\xe9"]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"a": column}), tmp_path / "rows.parquet")
    assert refusal(tmp_path / "rows.parquet").startswith(f"{tmp_path / 'rows.parquet'}: could not be read as parquet (")


def test_a_long_document_in_csv(tmp_path):
    path = write(tmp_path / "rows.csv", "a\n" + "x" * 200_000 + "\n")
    assert len(next(read_table(path))[1]["a"]) == 200_000
