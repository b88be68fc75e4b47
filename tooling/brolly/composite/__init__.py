"""One values schema for a whole bundle: every chart's own, under the key that its values have.

It judges values or a part of them, such as an overlay, and refuses only what Helm refuses once it has coalesced them.
The root is of draft 2020-12, and each distinct schema stands in `$defs` once, with the draft that it was written in and
an address of its own: the one form in which santhosh-tekuri/jsonschema v6, Helm's validator, mixes drafts in a
document. `composing` puts it together, `subcharts` says which charts there are and when Helm judges them, `definitions`
makes a schema part of another, `relaxing` takes out what it asks of complete values, and `partial` knows what completes
them.
"""

from brolly.composite.composing import (
    FORBIDS_GLOBAL,
    LEFT_OUT,
    RULES,
    Composite,
    LeftOut,
    compose_kustomize,
    compose_umbrella,
    forbidding_global,
)
from brolly.composite.definitions import definition

__all__ = [
    "FORBIDS_GLOBAL",
    "LEFT_OUT",
    "RULES",
    "Composite",
    "LeftOut",
    "compose_kustomize",
    "compose_umbrella",
    "definition",
    "forbidding_global",
]
