"""Each rule has a page that explains it, and `brolly explain` finds the page."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from brolly import cli
from brolly.rulebook import RULES

if TYPE_CHECKING:
    from brolly.findings import Rule

PACKAGE: Final = Path(str(resources.files("brolly")))
PAGES: Final = PACKAGE / "explain"
CODES: Final = [rule.code for rule in RULES]
EACH_CODE: Final = [pytest.param(code, id=code) for code in CODES]
DECLARED: Final = re.compile(r'\bRule\(\s*"([^"]+)"')
WIDEST: Final = 125


def page(code: str) -> str:
    return (PAGES / f"{code}.md").read_text(encoding="utf-8")


def test_the_rulebook_has_each_rule_that_the_code_declares_and_no_code_twice() -> None:
    texts = (path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    assert sorted(code for text in texts for code in DECLARED.findall(text)) == CODES


@pytest.mark.parametrize("code", EACH_CODE)
def test_a_code_is_an_area_and_a_slug_in_plain_words(code: str) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z]+(?:-[a-z]+)*", code)


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.code) for rule in RULES])
def test_a_title_fits_into_a_line_of_the_list(rule: Rule) -> None:
    assert re.fullmatch(r"\S.{5,78}[^\s.]", rule.title)


def test_each_rule_has_a_page_and_each_page_a_rule() -> None:
    pages = (path.relative_to(PAGES) for path in PAGES.rglob("*") if path.is_file())
    assert sorted(path.as_posix() for path in pages) == sorted(f"{code}.md" for code in CODES)


@pytest.mark.parametrize("code", EACH_CODE)
def test_a_page_begins_with_its_code_and_a_sentence(code: str) -> None:
    heading, sentence = page(code).split("\n\n")[:2]
    assert heading == f"# {code}"
    assert sentence.endswith(".")


@pytest.mark.parametrize("code", EACH_CODE)
def test_a_page_fits_on_a_screen(code: str) -> None:
    lines = page(code).splitlines()
    assert 6 <= len(lines) <= 40
    assert max(map(len, lines)) <= WIDEST


@pytest.mark.parametrize("code", EACH_CODE)
def test_a_page_ends_with_one_line_end_and_closes_its_blocks(code: str) -> None:
    text = page(code)
    assert text == text.strip() + "\n"
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0


def test_the_commands_that_pages_tell_to_type_exist() -> None:
    known = {command.name for command in cli.COMMANDS}
    texts = [path.read_text(encoding="utf-8") for path in PAGES.rglob("*.md")]
    typed = {name for text in texts for name in re.findall(r"(?:`|^|&& )brolly ([a-z-]+)", text, re.MULTILINE)}
    assert typed
    assert typed <= known


def test_explain_lists_all_rules_with_severity_and_title(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain"]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert rows == [[rule.code, str(rule.severity), rule.title] for rule in RULES]


def test_explain_prints_the_page_of_a_rule_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "lock/stale"]) == 0
    assert capsys.readouterr().out == page("lock/stale")


def test_explain_suggests_the_nearest_code_for_a_typo(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "lock/stail", "--color", "never"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: there is no rule 'lock/stail'\n  = help: did you mean `lock/stale`?\n"


def test_explain_says_how_to_list_the_rules_when_nothing_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "E501", "--color", "never"]) == 2
    assert "list them with `brolly explain`" in capsys.readouterr().err


@pytest.mark.parametrize("code", ["../cli", "lock/../lock/stale", "/etc/passwd", "lock/stale.md", "\x1b[31m"])
def test_explain_reads_no_other_file_and_strips_control_characters(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", code, "--color", "never"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
