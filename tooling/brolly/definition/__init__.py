"""The definition: what the author asked for. Field names and meanings are Chart.yaml's where it has them."""

from brolly.definition.bundle import (
    Bundle,
    Dependency,
    HttpRepository,
    LocalChart,
    OciRepository,
    Repository,
    parse_repository,
)
from brolly.definition.reading import parse
from brolly.definition.rules import RULES
from brolly.definition.shape import API_VERSION, Target, json_schema

__all__ = [
    "API_VERSION",
    "RULES",
    "Bundle",
    "Dependency",
    "HttpRepository",
    "LocalChart",
    "OciRepository",
    "Repository",
    "Target",
    "json_schema",
    "parse",
    "parse_repository",
]
