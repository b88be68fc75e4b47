r"""YAML as Helm reads it, with places, and YAML that every reader reads alike.

Helm's engine is the judge of what a text means. Where libyaml cannot follow it (`"\'"`, `[a:]`, tags with commas),
the text is refused.
"""

from brolly.document.builder import MAX_DEPTH
from brolly.document.emission import emit, replace
from brolly.document.parsing import documents, parse, parse_strict, parse_typed, parse_values
from brolly.document.reading import MAX_BYTES, Document, Route, read
from brolly.document.rules import RULES, DocumentError
from brolly.document.scalars import float_text

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "RULES",
    "Document",
    "DocumentError",
    "Route",
    "documents",
    "emit",
    "float_text",
    "parse",
    "parse_strict",
    "parse_typed",
    "parse_values",
    "read",
    "replace",
]
