"""Lines of text files: encodings, zero bytes and line ends."""

import codecs
import io
import shlex
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.tables.faults import Faults
from pipeline.data.tables.places import DECOMPRESSORS, is_url, name_of, opened, suffix_of
from pipeline.errors import BadRows

HEAD = 2**16  # bytes that show encoding and line ends
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}  # the longer ones first
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_EXCEL = "Save it as csv in the program that wrote it"
# What a file that is not text begins with: what it is, and the remedy, or the suffix that makes it readable.
_OTHER_FORMATS = {
    b"PK\x03\x04": ("an Excel file (.xlsx) or another zip archive", f"{_EXCEL}, or unpack it"),
    b"\xd0\xcf\x11\xe0": ("an Excel file (.xls) or another document", _EXCEL),
    b"\x1f\x8b": ("compressed with gzip", ".gz"),
    b"BZh91AY&SY": ("compressed with bzip2", ".bz2"),
    b"\xfd7zXZ\x00": ("compressed with xz", ".xz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", ".zst"),
    b"PAR1\x15": ("a parquet file", ".parquet"),
}


def lines(place: str, faults: Faults) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 file, or of UTF-16 with a byte order mark; lines with zero bytes are faults.

    Lines end at \n only, since sentences may contain the other line ends of Unicode; at \r in a file without any \n.
    Raises `BadRows` for a file that is not text.
    """
    with opened(place) as head_of:
        head = head_of.read(HEAD)
    _check_text(place, head)
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and 4 * head.count(0) > len(head):
        raise BadRows(
            f"{name_of(place)}: is UTF-16 without a byte order mark, or not text. {_conversion(place, 'UTF-16LE')}"
        )
    end = "\r" if b"\r" in head and b"\n" not in head else "\n"
    number = 0
    try:
        with opened(place) as file, io.TextIOWrapper(file, encoding, newline=end) as text:
            for number, line in enumerate(text, start=1):
                if "\0" in line:
                    faults.add("zero", place, number, "has a zero byte", "Give rows as UTF-8 text")
                    line = line.replace("\0", "")
                yield line
    except UnicodeError as error:
        if encoding != "utf-8-sig":
            reason = f"is not {encoding.upper()} text from line {number + 1} on"
            raise BadRows(f"{name_of(place)}: {reason}. Save it as UTF-8") from error
        _find_other_encodings(place, faults)
        faults.check()
        raise


def _check_text(place: str, head: bytes) -> None:
    """Raise `BadRows` for a file of another format than text, whatever its name says."""
    for mark, (fact, remedy) in _OTHER_FORMATS.items():
        if head.startswith(mark):
            if remedy.startswith("."):
                within = suffix_of(place) != Path(place).suffix.lower()
                remedy = f"Decompress it, and end its name in {remedy}" if within else f"End its name in {remedy}"
            raise BadRows(f"{name_of(place)}: is {fact}, not text. {remedy}")


def _find_other_encodings(place: str, faults: Faults) -> None:
    """Count the lines that are not UTF-8."""
    with opened(place) as file:
        for number, line in enumerate(io.BufferedReader(file), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                fact = f"is not UTF-8 text (byte 0x{line[error.start]:02x})"
                faults.add("encoding", place, number, fact, _conversion(place, "WINDOWS-1252", "Windows"))


def _conversion(place: str, encoding: str, system: str = "") -> str:
    """Return how to convert a file to UTF-8."""
    path = Path(place)
    if is_url(place) or path.suffix.lower() in DECOMPRESSORS or not place.isprintable():
        return "Convert it to UTF-8"
    words = ("iconv", "-f", encoding, "-t", "UTF-8", place)
    new = path.with_name(f"{path.stem}-utf8{path.suffix}")
    line = f"{shlex.join(words)} > {shlex.quote(str(new))}"
    return f"Convert it to UTF-8, one of western {system} with: {line}" if system else f"Try: {line}"
