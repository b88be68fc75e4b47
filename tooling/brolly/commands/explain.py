"""`brolly explain CODE` and `brolly schema NAME`: pages and schemas that come with the package."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from brolly.errors import UsageError
from brolly.findings import printable
from brolly.suggestions import did_you_mean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from brolly.findings import Rule


def run(args: argparse.Namespace) -> int:
    """Print the page of a rule, or list the rules."""
    from brolly.rulebook import RULES

    if args.output == "json":
        return _run_json(args)
    if not args.code:
        width = max(len(rule.code) for rule in RULES)
        for rule in RULES:
            print(f"{rule.code:{width}}  {rule.severity:7}  {rule.title}")
        return 0
    print(page(_known(args.code).code), end="")
    return 0


def _run_json(args: argparse.Namespace) -> int:
    from brolly.commands.run import print_json
    from brolly.rulebook import RULES

    if args.code:
        rule = _known(args.code)
        print_json({**msgspec.structs.asdict(rule), "page": page(rule.code)})
    else:
        print_json({"rules": RULES})
    return 0


def _known(code: str) -> Rule:
    from brolly.rulebook import RULES

    found = next((rule for rule in RULES if rule.code == code), None)
    if found is None:
        hint = did_you_mean(code, [rule.code for rule in RULES]) or "list them with `brolly explain`"
        raise UsageError(f"there is no rule {printable(code)!r}", hint=hint)
    return found


def page(code: str) -> str:
    """Read the page of a rule."""
    return resources.files("brolly").joinpath("explain", *f"{code}.md".split("/")).read_text(encoding="utf-8")


def _schemas() -> dict[str, Callable[[], dict[str, Any]]]:
    from brolly import definition, lock, outcome, workspace

    return {
        "bundle": definition.json_schema,
        "lock": lock.json_schema,
        "workspace": workspace.json_schema,
        "report": outcome.json_schema,
    }


SCHEMA_NAMES: Final = ("bundle", "lock", "workspace", "report")


def run_schema(args: argparse.Namespace) -> int:
    """Print one of the schemas that Brolly owns."""
    print(schema_text(args.name), end="")
    return 0


def schema_text(name: str) -> str:
    """Write a schema as the file in `schemas/` holds it."""
    return json.dumps(_schemas()[name](), indent=2, ensure_ascii=False) + "\n"
