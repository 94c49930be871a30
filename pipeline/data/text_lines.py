"""Lines of text files: encodings, zero bytes and line ends."""

import codecs
import io
import shlex
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.faults import Faults
from pipeline.data.places import DECOMPRESSORS, is_url, name_of, opened
from pipeline.errors import BadRows

HEAD = 2**16  # bytes that show encoding and line ends
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}  # the longer ones first
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def lines(place: str, faults: Faults) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 file, or of UTF-16 with a byte order mark; lines with zero bytes are faults.

    Lines end at \n only, since sentences may contain the other line ends of Unicode; at \r in a file without any \n.
    Raises `BadRows` for a file that is not text.
    """
    with opened(place) as head_of:
        head = head_of.read(HEAD)
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
