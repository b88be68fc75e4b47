"""What is generated from the code is what the repository holds: schemas/ and docs/reference/.

`nox -s schemas` (pytest tests/test_generated.py --rewrite) writes them anew.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from brolly import cli
from brolly.commands.explain import SCHEMA_NAMES, schema_text
from brolly.rulebook import RULES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parent.parent
WIDEST: Final = 120
NOTE: Final = "<!-- Written by `nox -s schemas`: change the code, not this file. -->"

FILES: Final = {
    "bundle": ("bundle.yaml", "What the author of a bundle writes, in Chart.yaml's own words."),
    "lock": (
        "bundle.lock",
        "What `brolly lock` writes beside bundle.yaml and `brolly build` takes. Commit it; do not edit it.",
    ),
    "workspace": (
        "brolly.toml",
        "What is the same for all bundles; may be empty. `[tool.brolly]` in pyproject.toml takes the same fields.",
    ),
    "report": ("dist/report.json", "What the last `brolly build` made, for programs."),
}

# read by Brolly too, and no option's
ENVIRONMENT: Final = {
    "BROLLY_CACHE": "the folder of the cache; default `brolly` in `XDG_CACHE_HOME`, else `~/.cache/brolly`",
    "BROLLY_REPOSITORY_<NAME>_USERNAME, BROLLY_REPOSITORY_<NAME>_PASSWORD": (
        "the credentials of the http(s) repository that the workspace calls `@name`"
    ),
    "DOCKER_CONFIG, HELM_REGISTRY_CONFIG, HELM_REPOSITORY_CONFIG, HELM_CONFIG_HOME, XDG_CONFIG_HOME": (
        "where docker and helm keep credentials"
    ),
    "HELM_C_LIB": "another library for Helm's engine than the installed one",
    "HTTPS_PROXY, HTTP_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE": (
        "proxies and certificates, as other tools read them"
    ),
    "NO_COLOR": "no colours",
    "SOURCE_DATE_EPOCH": "the time that all archives carry, in seconds; default 0",
}


def bullet(term: str, text: str) -> str:
    """Write one entry of a list, wrapped; a link or a code span is not torn."""
    return textwrap.fill(
        f"- {term}: {text}", WIDEST, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def document(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", NOTE, *parts)) + "\n"


# commands

_SEVERAL: Final = 3


def commands_page() -> str:
    rows = _subparsers()
    shared = _shared(rows)
    exits = (
        "Exit codes: 0 good, 1 at least one error (under `--strict` a warning too), 2 usage or configuration, 3 the "
        "world failed (registry, network, disk), 130 interrupted, 141 nobody reads the output."
    )
    return document(
        "Commands",
        "`brolly COMMAND [OPTION...] [BUNDLE...]`. What is typed wins over the environment.",
        textwrap.fill(exits, WIDEST),
        *(_command_section(command, rows[command.name], shared) for command in cli.COMMANDS),
        "## Options of several commands",
        "\n".join(bullet(*option) for option in shared),
        "## More of the environment",
        "\n".join(bullet(_codes(names), text) for names, text in ENVIRONMENT.items()),
    )


def _subparsers() -> Mapping[str, argparse.ArgumentParser]:
    parser = cli._parser({})
    rows = next(action.choices for action in parser._actions if action.dest == "command")
    assert isinstance(rows, dict)
    return rows


def _shared(rows: Mapping[str, argparse.ArgumentParser]) -> tuple[tuple[str, str], ...]:
    """Find the options that several commands have: they are explained once."""
    taken = Counter(_option(action) for parser in rows.values() for action in parser._actions if action.dest != "help")
    return tuple(option for option, times in taken.items() if times >= _SEVERAL and option[0].startswith("`-"))


def _command_section(command: cli.Command, parser: argparse.ArgumentParser, shared: tuple[tuple[str, str], ...]) -> str:
    options = [_option(action) for action in parser._actions if action.dest != "help"]
    listed = "\n".join(bullet(*option) for option in options if option not in shared)
    also = ", ".join(_last_name(term) for term, text in options if (term, text) in shared)
    summary = f"{command.summary[0].upper()}{command.summary[1:]}."
    examples = f"```sh\n{command.examples}\n```"
    more = textwrap.fill(f"Also: {also}.", WIDEST, break_long_words=False, break_on_hyphens=False)
    return "\n\n".join((f"## brolly {command.name}", summary, listed, more, examples))


def _last_name(term: str) -> str:
    return "`" + term.split("`")[-2].split(maxsplit=1)[0] + "`"


def _option(action: argparse.Action) -> tuple[str, str]:
    """Give an option's spelling and its meaning."""
    value = str(action.metavar or "|".join(action.choices or ()))
    if action.nargs == "?" and action.option_strings:
        value = f"[{value}]"
    names = [f"{name} {value}".strip() for name in action.option_strings] or [value]
    text = str(action.help)
    if action.default not in {None, False} and "default" not in text:
        text += f" (default: {action.default})"
    if action.option_strings:
        variable = "BROLLY_" + action.option_strings[-1].removeprefix("--").upper().replace("-", "_")
        text += f" (`{variable}`)"
    return _codes(", ".join(names)), text


def _codes(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


# fields


def schema_page(name: str) -> str:
    title, purpose = FILES[name]
    schema = json.loads(schema_text(name))
    definitions = schema.get("$defs", {})
    shapes = {shape: one for shape, one in definitions.items() if "properties" in one}
    parts = [_fields(schema, definitions)]
    for shape, one in shapes.items():
        parts += [
            f"## {_heading(shape)}",
            textwrap.fill(_prose(one.get("description", "")), WIDEST),
            _fields(one, definitions),
        ]
    link = f"Its JSON Schema is [schemas/{name}.schema.json](../../schemas/{name}.schema.json); `brolly schema {name}`"
    return document(title, textwrap.fill(purpose, WIDEST), f"{link} prints it.", *parts)


def _heading(definition: str) -> str:
    """Name a struct as a reader knows it; `...Shape` tells the code which of two it is."""
    return definition.removesuffix("Shape")


def _fields(shape: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    required = set(shape.get("required", ()))
    rows = (
        bullet(f"`{name}`", f"{_kind(field, definitions)}{', required' if name in required else ''}. {_text(field)}")
        for name, field in shape["properties"].items()
    )
    return "\n".join(rows)


def _text(field: Mapping[str, Any]) -> str:
    text = _prose(field.get("description", ""))
    default = field.get("default")
    return f"{text} Default: `{default}`." if default and "efault" not in text else text


def _prose(text: str) -> str:
    return " ".join(text.split())


def _kind(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Say in words which values a field takes."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        found = definitions[name]
        heading = _heading(name)
        return f"[{heading}](#{heading.lower()})" if "properties" in found else _kind(found, definitions)
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_kind(one, definitions) for one in field["anyOf"])
    if field["type"] == "array":
        return f"list of {_kind(field['items'], definitions)}"
    words = {"string": "text", "integer": "number", "boolean": "true or false", "object": "mapping", "null": "nothing"}
    return words[field["type"]]


# rules


def rules_page() -> str:
    sections = []
    for area, rules in groupby(RULES, key=lambda rule: rule.code.partition("/")[0]):
        links = (
            bullet(f"[{rule.code}](../../tooling/brolly/explain/{rule.code}.md) ({rule.severity})", rule.title)
            for rule in rules
        )
        sections += [f"## {area}", "\n".join(links)]
    intro = "What `check` and `build` may find. An error stops a publication, a warning only under `--strict`. "
    intro += "`brolly explain CODE` prints a rule's page."
    return document("Rules", textwrap.fill(intro, WIDEST), *sections)


@cache
def generated() -> Mapping[str, str]:
    """Give every generated file by its path."""
    return {
        "docs/reference/commands.md": commands_page(),
        "docs/reference/rules.md": rules_page(),
        **{f"docs/reference/{name}.md": schema_page(name) for name in SCHEMA_NAMES},
        **{f"schemas/{name}.schema.json": schema_text(name) for name in SCHEMA_NAMES},
    }


NAMES: Final = (
    "docs/reference/commands.md",
    "docs/reference/rules.md",
    *(f"docs/reference/{name}.md" for name in SCHEMA_NAMES),
    *(f"schemas/{name}.schema.json" for name in SCHEMA_NAMES),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_generated_file_is_what_the_code_says(name: str, request: pytest.FixtureRequest) -> None:
    path, text = ROOT / name, generated()[name]
    if request.config.getoption("--rewrite", default=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert there == text, "run `nox -s schemas` and read the difference"


def test_nothing_else_lies_where_generated_files_lie() -> None:
    folders = ("docs/reference", "schemas")
    there = {path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).iterdir()}
    assert there == set(NAMES) == set(generated())


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_every_property_has_a_title_and_a_description(name: str) -> None:
    fields = dict(_properties(json.loads(schema_text(name)), name))
    assert fields
    assert [path for path, field in fields.items() if not (field.get("title") and field.get("description"))] == []


def _properties(schema: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, inner in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if name == "properties":
            yield from ((f"{path}.{field}", found) for field, found in inner.items())
        if isinstance(inner, dict | list):
            yield from _properties(inner, f"{path}.{name}" if name not in {"properties", "$defs"} else path)


def test_every_environment_variable_that_the_code_reads_is_documented() -> None:
    texts = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "tooling/brolly").rglob("*.py")))
    read = {name for text in texts for name in re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', text)}
    unsaid = {name for name in read if f"`{name}`" not in generated()["docs/reference/commands.md"]}
    assert unsaid <= {"HOME", "PATH", "PYTHONPATH", "TERM"}
