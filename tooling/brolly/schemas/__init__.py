"""JSON Schema verdicts as Helm gives them, located; nothing is fetched.

The verdict is that of Helm's pkg/chart/common/util/jsonschema.go with santhosh-tekuri/jsonschema v6; Helm's engine is
the judge of it in the tests. `dialects` reads a document, `lowering` makes one dialect of it, `keywords` applies it on
the machinery of `jsonschema`, and `judging` says what was found.

Where Helm is not followed: its check of a 2019-09 schema inside a document of another draft looks only skin-deep, and
misreads `dependencies`; here such a schema is checked like any other. Numbers beyond 1e4000 are refused, and what takes
more than some hundred thousand steps is not judged: `TooMuchWork`.
"""

from brolly.schemas.dialects import RemoteReference, Route, SchemaFault, TooMuchWork
from brolly.schemas.judging import Violation, judge, judge_parsed

__all__ = ["RemoteReference", "Route", "SchemaFault", "TooMuchWork", "Violation", "judge", "judge_parsed"]
