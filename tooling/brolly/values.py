"""Values as Helm coalesces them over a chart and its subcharts.

Source: Helm v4.2's pkg/chart/common/util/coalesce.go and pkg/chart/v2/util/dependencies.go. The order of the steps, and
which tables are shared while they run, decide what a null or an import does; so both are kept as they are there, and
Helm's engine judges the outcome in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from brolly.versions import Constraint, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brolly.chart import Chart, Requirement

_GLOBAL: Final = "global"
_Table = dict[str, Any]


class ValuesError(ValueError):
    """Values with which Helm gives up: something that is no mapping where a subchart's values belong.

    `path` leads there, in keys from the root.
    """

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(f"{'.'.join(path)}: a mapping is expected, these are the values of a chart")
        self.path = path


@dataclass(frozen=True)
class Note:
    """What Helm only warns about, or passes over in silence. `path` leads to the chart, in keys from the root.

    `kind` is one of condition-no-boolean, condition-space, condition-without-value, tag-no-boolean, import-missing,
    no-subchart, undeclared, disabled, table-expected, table-kept.
    """

    path: tuple[str, ...]
    message: str
    kind: str


@dataclass(frozen=True)
class Instance:
    """A chart in its place: `path` in keys from the root, the values that its templates and its schema see."""

    path: tuple[str, ...]
    chart: Chart
    values: dict[str, Any] = field(repr=False)
    subcharts: tuple[Instance, ...] = ()

    def walk(self) -> Iterator[Instance]:
        """Give this instance and all below it, parents first."""
        yield self
        for subchart in self.subcharts:
            yield from subchart.walk()


def effective(chart: Chart, user: Mapping[str, Any] | None = None) -> tuple[Instance, tuple[Note, ...]]:
    """Give what Helm renders: the enabled charts and their values; ValuesError where Helm gives up.

    `user` is what `-f` and `--set` would add up to. Neither it nor the chart is changed.
    """
    given = copied(user or {})
    notes: dict[Note, None] = {}
    root = _Node.of(chart, ())
    _enable(root, given, "", notes)
    _import_all(root, notes)
    values = _Coalescing(notes=notes, merges=False).coalesced(root, given)
    return _instance(root, values), tuple(notes)


def stored_defaults(
    chart: Chart, user: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], tuple[Requirement, ...] | None]:
    """Give what Helm keeps of a chart's defaults once it has processed dependencies: what a release record holds.

    A chart that declares dependencies gets the defaults of all its enabled subcharts, with nulls, imports and a
    `global` for each. The second value is the dependencies that are enabled, None where none is left or none was
    declared. ValuesError where Helm gives up.
    """
    root = _Node.of(chart, ())
    notes: dict[Note, None] = {}
    _enable(root, copied(user or {}), "", notes)
    _import_all(root, notes)
    return copied(root.values), tuple(need.requirement for need in root.needs) if root.needs else None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as Helm merges one values file over another: mappings deep, all else replaced, nulls kept."""
    out = copied(base)
    for key, value in over.items():
        known = out.get(key)
        both = isinstance(value, dict) and isinstance(known, dict)
        out[key] = merge(known, value) if both and isinstance(known, dict) else copied(value)
    return out  # type: ignore[no-any-return]


def switched_off(requirement: Requirement, values: Mapping[str, Any]) -> str:
    """Say what disables a dependency by these values (keys of dependencies, `tags`); empty if it is enabled.

    As in Helm the first path of the condition that leads to a boolean decides, else the tags: one that is true is
    enough, and without any that is set the dependency is enabled.
    """
    table = dict(values)
    need = _Need.of(requirement)
    for path in need.conditions:
        value = _value_at(table, path)
        if isinstance(value, bool):
            return "" if value else f"{path} is false"
    switches = {tag: value for tag, value in _switches(need, table).items() if isinstance(value, bool)}
    off = bool(switches) and not any(switches.values())
    return (
        f"{', '.join(f'tags.{tag}' for tag in switches)} {'is' if len(switches) == 1 else 'are'} false" if off else ""
    )


def for_release(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Give the values of one release out of those of a bundle: `values[key]`, with `global` merged in from the top.

    Nulls are kept: they delete a default of the release's chart. ValuesError if `values[key]` is no mapping.
    """
    own = values.get(key, {})
    if not isinstance(own, dict):
        raise ValuesError((key,))
    out: _Table = {key: copied(own)}
    if _GLOBAL in values:
        _Coalescing(notes={}, merges=True).globals_into(out[key], copied(values), (key,))
    return out[key]  # type: ignore[no-any-return]


def has_null(value: Any) -> bool:
    """Say whether a table, or a list in it, has a null: one that is given deletes a default."""
    match value:
        case dict():
            return any(map(has_null, value.values()))
        case list():
            return any(map(has_null, value))
        case _:
            return value is None


def copied(value: Any) -> Any:
    """Copy tables and lists all the way down."""
    # most of it are leaves, and a call for each would be half the cost
    match value:
        case dict():
            return {key: copied(item) if type(item) in _TREES else item for key, item in value.items()}
        case list():
            return [copied(item) if type(item) in _TREES else item for item in value]
        case _:
            return value


# -- tables -----------------------------------------------------------------------------------------------------------


def _table_at(table: Any, path: str) -> _Table | None:
    """Follow a dotted path through tables; None if there is none at its end."""
    for part in path.split("."):
        table = table.get(part)
        if not isinstance(table, dict):
            return None
    return table  # type: ignore[no-any-return]


_NOTHING: Final = object()
_TREES: Final = frozenset({dict, list})


def _value_at(table: _Table, path: str) -> Any:
    """Follow a dotted path to what is no table; `_NOTHING` if there is none."""
    parents, _, last = path.rpartition(".")
    found = _table_at(table, parents) if parents or "." in path else table
    value = found.get(last, _NOTHING) if found is not None else _NOTHING
    return _NOTHING if isinstance(value, dict) else value


def _without_nulls(table: _Table) -> None:
    for key, value in list(table.items()):
        if value is None:
            del table[key]
        elif isinstance(value, dict):
            _without_nulls(value)


@dataclass(frozen=True)
class _Coalescing:
    """One pass over a tree of charts. It `merges`, which keeps nulls, or coalesces, which lets them delete defaults."""

    notes: dict[Note, None]
    merges: bool

    def coalesced(self, node: _Node, given: _Table) -> _Table:
        """Give the values of a chart, those of its subcharts under their keys."""
        return self._coalesce(node, copied(given))

    def _coalesce(self, node: _Node, table: _Table) -> _Table:
        self._add_defaults(node, table)
        for subchart in node.subcharts:
            own = table.setdefault(subchart.name, {})
            if not isinstance(own, dict):
                raise ValuesError(subchart.path)
            self.globals_into(own, table, subchart.path)
            table[subchart.name] = self._coalesce(subchart, own)
        return table

    def _add_defaults(self, node: _Node, table: _Table) -> None:
        for key, default in copied(node.values).items():
            if key not in table:
                if self.merges or default is not None:
                    if isinstance(default, dict) and not self.merges:
                        _without_nulls(default)
                    table[key] = default
            elif table[key] is None and not self.merges:
                del table[key]
            elif isinstance(table[key], dict):
                self._add_table(node, key, default, table[key])

    def _add_table(self, node: _Node, key: str, default: Any, table: _Table) -> None:
        if not isinstance(default, dict):
            if default is not None:
                self._note(node.path, "table-expected", f"{key} is a mapping here, the chart's own is none")
            return
        # what a parent says of a subchart is only handed on: its nulls count when the subchart's turn comes
        merges = self.merges or any(subchart.name == key for subchart in node.subcharts)
        if not merges:
            _without_nulls(default)
        self.table_into(table, default, (*node.path, key), merges=merges)

    def table_into(self, table: _Table, source: _Table, path: tuple[str, ...], *, merges: bool) -> None:
        """Fill up a table from a source of lower rank; both change."""
        defined = {key for key, value in source.items() if value is not None}
        source.update({key: None for key, value in table.items() if value is None})
        for key, value in source.items():
            if key not in table:
                table[key] = value
            elif table[key] is None and not merges and key in defined:
                del table[key]
            elif isinstance(value, dict):
                if isinstance(table[key], dict):
                    self.table_into(table[key], value, (*path, key), merges=merges)
                else:
                    self._note(path, "table-kept", f"{key} is a mapping by default, and is replaced by what is none")
            elif isinstance(table[key], dict) and value is not None:
                self._note(path, "table-expected", f"{key} is a mapping here, the default is none")

    def globals_into(self, table: _Table, source: _Table, path: tuple[str, ...]) -> None:
        """Hand `global` down from a parent's table to a subchart's; the parent's wins."""
        own, handed = table.get(_GLOBAL, {}), source.get(_GLOBAL, {})
        if not isinstance(own, dict) or not isinstance(handed, dict):
            self._note(path, "table-expected", "global is no mapping, nothing is handed down")
            return
        for key, value in handed.items():
            if isinstance(value, dict):
                self._global_table(own, key, dict(value), path)
            elif not isinstance(own.get(key), dict):
                own[key] = value
        table[_GLOBAL] = own

    def _global_table(self, own: _Table, key: str, value: _Table, path: tuple[str, ...]) -> None:
        if key in own:
            if not isinstance(own[key], dict):
                self._note(path, "table-kept", f"global.{key} is a mapping above, and none here")
                return
            self.table_into(value, own[key], (*path, _GLOBAL, key), merges=True)
        own[key] = value

    def _note(self, path: tuple[str, ...], kind: str, message: str) -> None:
        self.notes[Note(path, message, kind)] = None


# -- charts -----------------------------------------------------------------------------------------------------------


@dataclass
class _Need:
    """A requirement while dependencies are processed: Helm renames it to its alias."""

    name: str
    requirement: Requirement
    enabled: bool = True

    @classmethod
    def of(cls, requirement: Requirement) -> _Need:
        return cls(requirement.name, requirement)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The paths as Helm splits them: what stands around a comma stays part of them."""
        return tuple(path for path in self.requirement.condition.strip().split(",") if path)

    def matches(self, node: _Node) -> bool:
        """Say whether a subchart is the one that is required, by name and range."""
        if node.name != self.name:
            return False
        try:
            return Constraint.parse(self.requirement.version).allows(Version.parse(node.chart.version))
        except ValueError:
            return False


@dataclass
class _Node:
    """A chart while dependencies are processed; `needs` is None where Chart.yaml declares none at all."""

    name: str
    path: tuple[str, ...]
    chart: Chart
    values: Mapping[str, Any]
    needs: list[_Need] | None
    subcharts: list[_Node]

    @classmethod
    def of(cls, chart: Chart, path: tuple[str, ...], name: str = "") -> _Node:
        declares = chart.requirements or isinstance(chart.metadata.get("dependencies"), list)
        return cls(
            name=name or chart.name,
            path=path,
            chart=chart,
            values=chart.values,
            needs=[_Need.of(requirement) for requirement in chart.requirements] if declares else None,
            subcharts=[cls.of(subchart, (*path, subchart.name)) for subchart in chart.subcharts],
        )


def _enable(node: _Node, given: _Table, prefix: str, notes: dict[Note, None]) -> None:
    """Give subcharts their aliases, and drop those that conditions or tags disable.

    Below the root Helm looks at the parent's values with the subchart's own defaults added at their top, and at
    conditions with the subchart's path before them; a tag is therefore the root's, or else the subchart's default.
    """
    if node.needs is None:
        return
    node.subcharts = [*_undeclared(node, notes), *_declared(node, notes)]
    values = _Coalescing(notes={}, merges=False).coalesced(node, given)
    for need in node.needs:
        need.enabled = _is_enabled(need, values, prefix, _Noting(node.path, need.name, notes))
    disabled = {need.name for need in node.needs if not need.enabled}
    for name in sorted(disabled):
        _Noting(node.path, name, notes)("disabled", "is disabled, and not rendered")
    node.subcharts = [subchart for subchart in node.subcharts if subchart.name not in disabled]
    for subchart in node.subcharts:
        _enable(subchart, values, f"{prefix}{subchart.name}.", notes)
    node.needs = [need for need in node.needs if need.name not in disabled] or None


@dataclass(frozen=True)
class _Noting:
    """Writes notes about one subchart."""

    parent: tuple[str, ...]
    name: str
    notes: dict[Note, None]

    def __call__(self, kind: str, message: str) -> None:
        self.notes[Note((*self.parent, self.name), message, kind)] = None


def _undeclared(node: _Node, notes: dict[Note, None]) -> Iterator[_Node]:
    """Give the subcharts that no requirement matches: Helm renders them, whatever conditions say."""
    for subchart in node.subcharts:
        if not any(need.matches(subchart) for need in node.needs or ()):
            _Noting(node.path, subchart.name, notes)("undeclared", "no dependency asks for it: it is always rendered")
            yield subchart


def _declared(node: _Node, notes: dict[Note, None]) -> Iterator[_Node]:
    for need in node.needs or ():
        found = next((subchart for subchart in node.subcharts if need.matches(subchart)), None)
        need.name = need.requirement.key
        if found is None:
            wanted = f"{need.requirement.name} {need.requirement.version}".strip()
            _Noting(node.path, need.name, notes)("no-subchart", f"no subchart is {wanted}")
        else:
            yield _Node.of(found.chart, (*node.path, need.name), need.name)


def _is_enabled(need: _Need, values: _Table, prefix: str, note: Callable[[str, str], None]) -> bool:
    for path in need.conditions:
        if path != path.strip():
            note("condition-space", f"Helm looks for {path!r}, with the space")
        value = _value_at(values, prefix + path)
        if isinstance(value, bool):
            return value
        if value is _NOTHING:
            note("condition-without-value", f"{path.strip()} has no value")
        else:
            note("condition-no-boolean", f"{path} is no boolean: it decides nothing")
    switches = _switches(need, values)
    for tag, value in switches.items():
        if not isinstance(value, bool):
            note("tag-no-boolean", f"tags.{tag} is no boolean: it decides nothing")
    decided = [value for value in switches.values() if isinstance(value, bool)]
    return any(decided) or not decided


def _switches(need: _Need, values: _Table) -> _Table:
    tags = values.get("tags")
    return {tag: tags[tag] for tag in need.requirement.tags if tag in tags} if isinstance(tags, dict) else {}


# -- import-values ----------------------------------------------------------------------------------------------------


def _import_all(node: _Node, notes: dict[Note, None]) -> None:
    """Merge what charts import from their subcharts into their defaults, the innermost first."""
    for subchart in node.subcharts:
        _import_all(subchart, notes)
    if node.needs is None:
        return
    merging = _Coalescing(notes={}, merges=True)
    values = merging.coalesced(node, {})
    imported: _Table = {}
    for need in node.needs:
        for child, parent in imports(need.requirement):
            table = _table_at(values, f"{need.name}.{child}")
            if table is None:
                _Noting(node.path, need.name, notes)("import-missing", f"nothing to import: {child} is no mapping")
            else:
                # an empty table is a new one in Helm, any other is shared with what it was imported from
                merging.table_into(imported, _nested(parent, table or {}), (), merges=True)
    defaults = copied(values)
    merging.table_into(defaults, imported, (), merges=True)
    node.values = defaults


def imports(requirement: Requirement) -> Iterator[tuple[str, str]]:
    """Give what a dependency's `import-values` ask for: a path in the subchart, and where it goes in the parent."""
    for item in requirement.import_values:
        if isinstance(item, str):
            yield f"exports.{item}", "."
        elif isinstance(item, dict):
            yield _printed(item.get("child")), _printed(item.get("parent"))


def _printed(value: Any) -> str:
    """Write as Go's %v does."""
    return "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _nested(path: str, table: _Table) -> _Table:
    if path == ".":
        return table
    for part in reversed(path.split(".")):
        table = {part: table}
    return table


def _instance(node: _Node, values: _Table) -> Instance:
    below = tuple(_instance(subchart, values[subchart.name]) for subchart in node.subcharts)
    return Instance(path=node.path, chart=node.chart, values=values, subcharts=below)
