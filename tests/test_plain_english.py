"""Texts for people have none of the tells of translated English: help, docs, rules, messages, templates, test names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from relume.cli import COMMANDS, relume
from relume.doctor.rules import RULES

ROOT = Path(__file__).parents[1]
GENERATED = "<!-- Written by "

BETTER = {
    r"\bso many\b": "that many, or the number",
    r"\bas few\b": "the smallest",
    r"\bfrom (here|which|then) on\b": "from this point",
    r"\bstands? (behind|beside)\b": "follows; is next to",
    r"\bbehind (it|SCRIPT|the script|each|every|that)\b": "after",
    r"\bhow-manieth\b": "its index",
    r"\bto type next\b": "next command",
    r"\bnumbers behind\b": "data table",
    r"\b(is|are) told\b": "is given, is reported",
    r"\btells? of\b": "mentions, contains",
    r"\bof (theirs|before)\b": "their; earlier",
    r"\bgo(es)? on\b": "continues",
    r"\bcome to (its|their) end\b": "finish",
    r"\bno longer there\b": "gone",
    r"\bis to be had\b": "is available",
    r"\bthe like\b": "and similar",
    r"\bwhere (nothing|none|there is no)\b": "if",
    r"(?<!there )\b(is|are) no (module|name|metric|script|recording|activation|number|unit|share|plan) ": "is not a",
    r"^(Read|Held|Kept|Said|Told|Made|Judged|Given|Taken) (are|is|by)\b": "put the subject first",
    r"\bhands? over\b": "passes",
    r"\bwhat it buys\b": "quality",
    r"\bmade anew\b": "made again",
    r"\b[Ll]eft alone\b": "not changed",
    r"\b(colour|behaviour|neighbour|favour|honour)\w*": "American spelling: -or",
    r"\b(centre|metre|centimetre|grey|licence|judgement)s?\b": "American spelling: center, meter, gray, …",
    r"\b(normal|initial|optim|quant|regular|vector|general|random|standard)is(e|ed|es|ers?|ing|ation)\b": "-iz-",
}
"""Tells that are wrong nearly everywhere, and the better words."""

TELL = re.compile("|".join(f"(?P<t{n}>{tell})" for n, tell in enumerate(BETTER)), re.IGNORECASE | re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`|\]\([^)]*\)|^\$ .*$|\{[{%#].*?[}%#]\}|<[^>]*>", re.MULTILINE | re.DOTALL)
"""What is not prose: blocks and spans of code, links, and the marks of a template."""


def tells(place: str, text: str, first: int = 1) -> list[str]:
    """``place:line: what is written (the better word)``."""
    prose = CODE.sub(lambda code: "\n" * code[0].count("\n"), text)
    found = []
    for hit in TELL.finditer(prose):
        better = list(BETTER.values())[int(str(hit.lastgroup)[1:])]
        found.append(f"{place}:{prose.count(chr(10), 0, hit.start()) + first}: {hit[0]!r} ({better})")
    return found


def pages() -> Iterator[Path]:
    """Pages that are written by hand, templates, and the READMEs of folders."""
    yield from (ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md"))
    yield from (
        page for page in sorted((ROOT / "docs").rglob("*.md")) if GENERATED not in page.read_text("utf-8")[:200]
    )
    yield from sorted((ROOT / "src").rglob("*.html"))
    yield from (page for folder in ("src", "tests") for page in sorted((ROOT / folder).rglob("README.md")))


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_in_plain_english(page):
    assert tells(page.relative_to(ROOT).as_posix(), page.read_text("utf-8")) == []


COMMENT = {".js": r"(?<!:)//.*$", ".css": r"/\*[^*]*\*/", ".html": r"\{#[^#]*#\}"}


def test_comments_of_scripts_styles_and_templates_are_in_plain_english():
    found = []
    for file in sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in COMMENT):
        text = file.read_text("utf-8")
        for comment in re.finditer(COMMENT[file.suffix], text, re.MULTILINE):
            prose = comment[0].strip("{#}/* ")
            found += tells(file.relative_to(ROOT).as_posix(), prose, text.count("\n", 0, comment.start()) + 1)
    assert found == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_in_plain_english(name):
    command = relume.get_command(click.Context(relume), name)
    texts = [command.help, *(option.help for option in command.params if isinstance(option, click.Option))]
    assert [tell for text in texts for tell in tells(f"relume {name} --help", text or "")] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_page_of_a_rule_is_in_plain_english(rule):
    assert tells(f"src/relume/doctor/rules/{rule.name}.py", rule.page) == []


def test_messages_are_in_plain_english():
    found = []
    for file in sorted((ROOT / "src").rglob("*.py")):
        place = file.relative_to(ROOT).as_posix()
        found += [tell for line, text in _messages(file) for tell in tells(place, text, line)]
    assert found == []


def _messages(file: Path) -> Iterator[tuple[int, str]]:
    """The texts in the calls and the returned values of a file: sentences of three words or more, no docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            if node.value.count(" ") > 1:
                yield node.lineno, node.value


NAME = re.compile(
    r"^what\b|\b(is|are) (told|said(?! to be)|none|no)\b|\b(tells|whatever|anew|alone)\b|\b(goes|go|left) on$|those of$"
)
"""Tells in the name of a test, which is read as a sentence."""


def test_names_of_tests_are_in_plain_english():
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        for name in re.findall(r"^ *(?:async )?def test_(\w+)", file.read_text("utf-8"), re.MULTILINE):
            sentence = name.replace("_", " ")
            if NAME.search(sentence) or TELL.search(sentence):
                found.append(f"{file.relative_to(ROOT).as_posix()}: {sentence}")
    assert found == []


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("The run\nis told so.", 2, "is told"),
        ("What stands behind SCRIPT is passed to it.", 1, "stands behind"),
        ("```sh\nso many\n```\nThe colours differ.", 4, "colours"),
        ("Read are the counts.", 1, "Read are"),
    ],
)
def test_a_phrase_to_avoid_is_found_with_its_line(text, line, word):
    [found] = tells("page.md", text)
    assert found.startswith(f"page.md:{line}: {word!r} (")
