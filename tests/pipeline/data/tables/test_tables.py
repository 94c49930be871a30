"""Files of rows: what each format yields, and the exact complaint about each file that cannot be used."""

import csv
import gzip
import io
import json
import lzma
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.tables.columns import Wanted, parse_columns
from pipeline.data.tables.tables import read_table
from pipeline.errors import BadRows, one_line

ODD_ENDS = "a\u2028b\x85c\x0bd\x0ce\x1cf\u2029g"  # str.splitlines() ends a line at each of these


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, *columns: str, optional: tuple[str, ...] = ()) -> list:
    """The rows of a file as (line, {column: cell}), of text and label unless other columns are named."""
    wanted = Wanted(columns or ("text", "label"), optional)
    return [(line, dict(zip(wanted.names, cells, strict=True))) for line, cells in read_table(str(path), wanted)]


def refusal(path: Path, *columns: str) -> str:
    with pytest.raises(BadRows) as error:
        read(path, *columns)
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
    assert read(path) == [(2, TWO_ROWS[0]), (3, TWO_ROWS[1])]


def test_parquet_gives_the_same_rows_with_their_numbers(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TWO_ROWS), tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.parquet") == [(1, TWO_ROWS[0]), (2, TWO_ROWS[1])]


def test_quotes_are_plain_text_in_tsv(tmp_path):
    path = write(tmp_path / "rows.tsv", 'text\tlabel\n"open\t"\n""\t"a" b\n')
    assert [row for _, row in read(path)] == [{"text": '"open', "label": '"'}, {"text": '""', "label": '"a" b'}]


def test_a_quoted_csv_field_may_hold_commas_and_line_ends(tmp_path):
    path = write(tmp_path / "rows.csv", 'text,label\n"a,\r\nb\nc",1\nd,2\n')
    assert read(path) == [(2, {"text": "a,\r\nb\nc", "label": "1"}), (5, {"text": "d", "label": "2"})]


@pytest.mark.parametrize(("name", "tab"), [("rows.csv", ","), ("rows.tsv", "\t")])
def test_blank_lines_are_passed_over_and_counted(tmp_path, name, tab):
    path = write(tmp_path / name, f"\ntext{tab}label\n\n\na{tab}1\n\n")
    assert read(path) == [(5, {"text": "a", "label": "1"})]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_numbers_and_nulls_become_the_text_that_csv_would_hold(tmp_path, suffix):
    rows = [{"a": 3, "b": 1.0, "c": "x"}, {"a": -4, "b": 2.5, "c": None}, {"a": 5, "b": None, "c": "1.0"}]
    path = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        write(path, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert [tuple(row.values()) for _, row in read(path, "a", "b", "c")] == [
        ("3", "1", "x"),
        ("-4", "2.5", None),
        ("5", None, "1.0"),
    ]


# --- what is refused -----------------------------------------------------------------------------------------

ZERO_BYTES = "{path} line %d: has a zero byte. Give rows as UTF-8 text"
NOT_UTF8 = (
    "{path} line %d: is not UTF-8 text (byte 0xff). Convert it to UTF-8, one of western Windows with: "
    "iconv -f WINDOWS-1252 -t UTF-8 {path} > {stem}-utf8%s"
)
NO_OBJECT = "{path} line %d: is not a JSON object. Write each row as {{...}}, on a line of its own"
OPEN_QUOTE = (
    "{path} line %d: a quote opens a field here and is not closed properly (seen in line %d). "
    'Close it, or write quotes that are text as "a ""good"" film" in double quotes'
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "text,label\na,1\nb\n", "{path} line 3: has 1 fields, not 2. Fix this row"),
        ("rows.tsv", "text\tlabel\n\na\t1\t2\n", "{path} line 3: has 3 fields, not 2. Fix this row"),
        ("rows.csv", 'text,label\n"a,1\n', OPEN_QUOTE % (2, 2)),
        ("rows.csv", 'text,label\na,1\nb,"1\nc,2\nd,"3"\n', OPEN_QUOTE % (3, 5)),
        ("rows.csv", 'text,label\na,1\n"b,1\nc,0\n"d",1\n', OPEN_QUOTE % (3, 5)),
        ("rows.csv", 'text,label\n"a ""x""\nb",1\n"c""\nd,0\n', OPEN_QUOTE % (4, 5)),
        (
            "rows.csv",
            'text,label\na,1\n"b"b,1\nc,2\n"d"d,2\n',
            "{path} line 3: a quoted field goes on after its closing quote; 2 rows are like this (lines 3, 5). "
            'Double the quotes inside a field ("a ""good"" film"), or fix these rows',
        ),
        (
            "rows.csv",
            'text,label\n"a,1\nb,0\n","c",1\n',
            "{path} line 2: has 3 fields, not 2, one of them over several lines, so a quote may be left open. "
            "Fix this row",
        ),
        (
            "rows.csv",
            "text,label\n" + 7 * "a,b,1\n",
            "{path} line 2: has 3 fields, not 2; 7 rows are like this (lines 2, 3, 4, 5, 6, …). "
            "Put texts that hold ',' in double quotes, or fix these rows",
        ),
        (
            "rows.csv",
            "text,label\ngood\rfilm,1\n",
            "{path} line 2: has a carriage return inside a field without quotes. Put the field in double quotes, "
            "or put a blank in place of the carriage return in this row",
        ),
        ("rows.csv", b"text,label\na\xff,1\n", NOT_UTF8 % (2, ".csv")),
        ("rows.tsv", b"text\tlabel\na\xff\t1\n", NOT_UTF8 % (2, ".tsv")),
        ("rows.jsonl", b'{"text": "a\xff"}\n', NOT_UTF8 % (1, ".jsonl")),
        ("rows.csv", "text,label\na\0,1\n", ZERO_BYTES % 2),
        ("rows.tsv", "text\tlabel\na\0\t1\n", ZERO_BYTES % 2),
        ("rows.jsonl", '{"text": "a\0", "label": 1}\n', ZERO_BYTES % 1),
        ("rows.jsonl", '{"text": "a"}\n[1, 2]\n', NO_OBJECT % 2),
        ("rows.jsonl", '\n"a"\n', NO_OBJECT % 2),
        ("rows.jsonl", '[\n{"a": 1}\n]\n', NO_OBJECT % 1),
        (
            "rows.jsonl",
            '{"text": "a", "label": 1}\ntext\n',
            "{path} line 2: is not a JSON object (Expecting value, character 1). Fix this row",
        ),
        (
            "rows.jsonl",
            r'{"text": "\ud83d\ude00"}' + "\n" + r'{"text": "\ud83d"}',
            "{path} line 2: text contains half of a surrogate pair, which is not text. Fix this row",
        ),
        ("rows.jsonl", '{"text": {"a": 1}}\n', "{path} line 1: text is not text but {{'a': 1}}. Fix this row"),
        ("rows.jsonl", '{"text": [["a"]]}\n', "{path} line 1: text is a list of lists: [['a']]. Fix this row"),
        ("rows.jsonl", '{"label": Infinity}\n', "{path} line 1: label is not text but inf. Fix this row"),
        (
            "rows.jsonl",
            '{"txt": "a", "label": 1}\n',
            "{path}: has no column 'text'; its columns are txt, label. "
            "Name one of these with --text-columns and --label-column",
        ),
        ("rows.csv", "text,text,label\na,b,1\n", "{path}: two columns have the same name, text. Rename one"),
        (
            "rows.tsv",
            "text,label\na,1\n",
            "{path}: has no column 'text'; its columns are text,label. "
            "Its header has commas, not tabs: rename it to .csv",
        ),
        (
            "rows.tsv",
            'text\tlabel\n"a ""good"" film"\t1\nsay "hi"\t0\n',
            "{path}: line 2 quotes its fields as csv does, but in line 3 quotes are text. "
            "Save the file as .csv or .jsonl",
        ),
        ("rows.odd", "text", "{path}: files of rows end in .csv, .tsv, .jsonl, .parquet. Convert it to one of these"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    assert refusal(path) == message.format(path=path, stem=path.with_suffix(""))


@pytest.mark.parametrize("damage", ["csv", "empty", "page"])
def test_parquet_that_cannot_be_read_is_refused_with_the_reason_on_one_line(tmp_path, damage):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TWO_ROWS), path)
    intact = path.read_bytes()
    write(path, {"csv": b"text,label\na,1\n", "empty": b"", "page": intact[:4] + b"\xff" * 8 + intact[12:]}[damage])
    with pytest.raises((pyarrow.ArrowInvalid, OSError)) as reason:
        pyarrow.parquet.ParquetFile(path).read()
    first_line, *others = str(reason.value).splitlines()
    assert bool(others) is (damage == "page")
    assert refusal(path) == f"{path}: could not be read as parquet ({one_line(first_line)}). Check the file"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("rows.txt", "If tabs separate its columns, let its name end in .tsv, otherwise in .csv"),
        ("rows", "Let its name end in the one for what it holds"),
        ("rows.XLSX", "Save the table with its rows as csv, in the program that wrote it"),
        ("rows.tar.gz", "Unpack it, and name the files of rows in it"),
        ("rows.pkl", "Save it with to_parquet of pandas, polars or datasets"),
        ("rows.ndjson", "It holds an object per line: let its name end in .jsonl"),
        ("rows.json.gz", "If each of its lines is one object, let its name end in .jsonl"),
    ],
)
def test_file_of_another_format_has_its_own_remedy(tmp_path, name, advice):
    path = write(tmp_path / name, "text")
    assert refusal(path).startswith(f"{path}: files of rows end in .csv, .tsv, .jsonl, .parquet. {advice}")


@pytest.mark.process
def test_line_for_one_json_array_makes_rows_that_can_be_read(tmp_path):
    path = write(tmp_path / "two rows.json", json.dumps(TWO_ROWS, indent=1))
    line = refusal(path).partition("write one per line: ")[2].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(line, shell=True, check=True)
    assert read(path.with_suffix(".jsonl")) == [(1, TWO_ROWS[0]), (2, TWO_ROWS[1])]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"text": "a", "other": ' + "[" * 100_000 + "]" * 100_000 + "}"])
def test_json_nested_too_deeply_is_refused(tmp_path, content):
    path = write(tmp_path / "rows.jsonl", content)
    assert refusal(path) == (
        f"{path} line 1: holds lists or objects nested too deeply to be read. Leave that value out of this row"
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "data set"])
def test_column_whose_name_has_line_ends_is_found_as_messages_write_it(tmp_path, kind):
    rows = [{"the\r\n text ": "a", "label\n": "b", "Other, long": "c"}]
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "data set":
        Dataset.from_list(rows).save_to_disk(path)
    elif kind == "jsonl":
        write(path, json.dumps(rows[0]) + "\n")
    else:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([rows[0].keys(), rows[0].values()])
    with pytest.raises(
        BadRows, match=r"has no column 'txt'; its columns are the text, label, Other, long\. Name one of "
    ):
        list(read_table(str(path), Wanted(("txt",))))
    for name in ("the text", "the\r\n text "):
        ((_, cells),) = read_table(str(path), Wanted((name, "label"), ("none",)))
        assert cells == ("a", "b", None)


def test_names_of_columns_are_separated_by_commas_unless_these_are_in_quotes():
    assert parse_columns("a,b") == ("a", "b") and parse_columns("a\nb,") == ("a\nb", "")
    assert parse_columns('"A, ""B""",c') == ('A, "B"', "c")
    assert parse_columns('the "A" of,"') == ('the "A" of', '"')


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_missing_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    assert refusal(path) == f"{path}: there is no such file. Check the name"
    path.mkdir()
    assert refusal(path) == f"{path}: is a directory. Name its files by a pattern, as '{path}/*.{suffix}'"


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
    assert [row for _, row in read(path)] == [{"text": text, "label": "1"} for text in texts]


@any_files
@given(texts=rows_without('\0\t\n"'))
def test_tsv_gives_back_any_text_without_tabs_quotes_and_line_ends(tmp_path, texts):
    path = write(tmp_path / "rows.tsv", "text\tlabel\n" + "".join(f"{text}\t1\n" for text in texts))
    assert read(path) == [(2 + i, {"text": text, "label": "1"}) for i, text in enumerate(texts)]


@any_files
@given(texts=rows_without(""), ascii_only=st.booleans())
def test_jsonl_gives_back_any_text(tmp_path, texts, ascii_only):
    lines = (json.dumps({"text": text, "label": 1}, ensure_ascii=ascii_only) + "\n" for text in texts)
    path = write(tmp_path / "rows.jsonl", "".join(lines))
    assert read(path) == [(1 + i, {"text": text, "label": "1"}) for i, text in enumerate(texts)]


@any_files
@given(texts=rows_without("\0"), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
def test_quoted_tsv_gives_back_any_text(tmp_path, texts, quoting):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter="\t", quoting=quoting).writerows([("text", "label"), *((text, 1) for text in texts)])
    path = write(tmp_path / "rows.tsv", file.getvalue())
    assert [row for _, row in read(path)] == [{"text": text, "label": "1"} for text in texts]


def test_bytes_in_parquet_that_are_no_text(tmp_path):
    column = pyarrow.array([b"caf\xe9"]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"a": column}), tmp_path / "rows.parquet")
    assert (
        refusal(tmp_path / "rows.parquet", "a")
        == f"{tmp_path / 'rows.parquet'} line 1: a is not UTF-8 text. Fix this row"
    )


ZIP, GZIP = b"PK\x03\x04\x14\0\xff", gzip.compress(b"text,label\na,b\n")
OTHER_FORMATS = {
    "excel": ("rows.csv", ZIP, "an Excel file (.xlsx) or another zip archive, not text. Save it as csv in the program"),
    "old excel": ("rows.tsv", b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel file (.xls) or another document, not text. Save"),
    "excel in gzip": (
        "rows.csv.gz",
        gzip.compress(ZIP),
        "an Excel file (.xlsx) or another zip archive, not text. Save",
    ),
    "gzip": ("rows.jsonl", GZIP, "compressed with gzip, not text. End its name in .gz"),
    "gzip twice": ("rows.csv.gz", gzip.compress(GZIP), "compressed with gzip, not text. Decompress it, and end its"),
    "xz": ("rows.csv", lzma.compress(b"text,label\na,b\n"), "compressed with xz, not text. End its name in .xz"),
    "parquet": ("rows.csv", b"PAR1\x15\x04", "a parquet file, not text. End its name in .parquet"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_file_of_another_format_than_its_name_is_named(tmp_path, name):
    file, content, reason = OTHER_FORMATS[name]
    path = write(tmp_path / file, content)
    assert refusal(path).startswith(f"{path}: is {reason}")


def test_a_long_document_in_csv(tmp_path):
    path = write(tmp_path / "rows.csv", "a\n" + "x" * 200_000 + "\n")
    assert len(read(path, "a")[0][1]["a"]) == 200_000
