"""Words of others in a page of markdown: nothing of them is markup."""

import yaml

from pipeline.system.markdown import MOST_NAMES, code, codes, fenced, markdown_table, page

HOSTILE = "a`b``c | <script>alert(1)</script> [x](http://y) \n# title\n---\n* \x1b[31m"


def test_code_is_one_span_on_one_line():
    assert code("plain") == "`plain`"
    assert code("a`b") == "``a`b``" and code("`") == "`` ` ``" and code("") == "`–`"
    span = code(HOSTILE)
    assert "\n" not in span and "\x1b" not in span and span.startswith("```a") and span.endswith("```")


def test_many_names_are_counted():
    assert codes(["a", "b"]) == "`a`, `b`"
    assert codes(map(str, range(MOST_NAMES + 1))).endswith("`49`, … (51 in all)")


def test_fence_is_longer_than_any_in_the_text():
    assert fenced("x", "python") == "```python\nx\n```"
    assert fenced("```\nx") == "````\n```\nx\n````"


def test_bars_do_not_end_cells():
    assert markdown_table(["a", "b"], [[code("x|y"), "z"]]).splitlines()[-1] == "| `x\\|y` | z |"


def test_page_has_front_matter_and_headings():
    text = page("name: x\n", [("First", "one"), ("Second", "two\n")])
    front, body = text.removeprefix("---\n").split("\n---\n")
    assert yaml.safe_load(front) == {"name": "x"} and body == "\n# First\n\none\n\n## Second\n\ntwo\n"
