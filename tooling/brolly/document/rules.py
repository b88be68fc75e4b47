"""What can be wrong with a YAML text, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from brolly.findings import Location, Rule, Severity, printable

if TYPE_CHECKING:
    from brolly.findings import Finding

# line, column, end line, end column: from 1, the end exclusive
Place: TypeAlias = tuple[int, int, int, int]

SYNTAX: Final = Rule("yaml/syntax", Severity.ERROR, "the text is no YAML that Helm reads")
TAB: Final = Rule("yaml/tab", Severity.ERROR, "a tab stands where YAML wants spaces")
ENCODING: Final = Rule("yaml/encoding", Severity.ERROR, "the file is not UTF-8 text")
CONTROL_CHARACTER: Final = Rule("yaml/control-character", Severity.ERROR, "the text holds a raw control character")
TOO_LARGE: Final = Rule("yaml/too-large", Severity.ERROR, "the file is larger than Helm reads")
TOO_DEEP: Final = Rule("yaml/too-deep", Severity.ERROR, "mappings and lists are nested too deeply")
DIRECTIVE: Final = Rule("yaml/directive", Severity.ERROR, "a %YAML or %TAG directive")
EMPTY: Final = Rule("yaml/empty", Severity.ERROR, "the file is empty")
ROOT: Final = Rule("yaml/root", Severity.ERROR, "the file does not hold a mapping")
SEVERAL_DOCUMENTS: Final = Rule("yaml/several-documents", Severity.ERROR, "more than one document in a file")
DUPLICATE_KEY: Final = Rule("yaml/duplicate-key", Severity.ERROR, "a key is written twice in one mapping")
KEY: Final = Rule("yaml/key", Severity.ERROR, "a key that is no text")
NUMBER: Final = Rule("yaml/number", Severity.ERROR, "infinity or not-a-number")
TAG: Final = Rule("yaml/tag", Severity.ERROR, "a tag that is refused, or that Helm ignores")
ANCHOR: Final = Rule("yaml/anchor", Severity.ERROR, "an anchor, an alias or a merge key")
ALIAS: Final = Rule("yaml/alias", Severity.ERROR, "an alias that cannot be followed")
MERGE: Final = Rule("yaml/merge", Severity.ERROR, "a merge key that does not do what it seems to do")

RULES: Final = (
    SYNTAX,
    TAB,
    ENCODING,
    CONTROL_CHARACTER,
    TOO_LARGE,
    TOO_DEEP,
    DIRECTIVE,
    EMPTY,
    ROOT,
    SEVERAL_DOCUMENTS,
    DUPLICATE_KEY,
    KEY,
    NUMBER,
    TAG,
    ANCHOR,
    ALIAS,
    MERGE,
)


class DocumentError(ValueError):
    """A text that Helm would not read, or that must not be read. `line` and `column` count from 1, or are None."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(printable(message).replace("\n", " "))
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line is not None else ""
        return place + str(self.args[0])


class FaultError(DocumentError):
    """A DocumentError that knows its rule, so that it can be told as a finding."""

    def __init__(self, rule: Rule, message: str, place: Place | None = None, *, hint: str = "") -> None:
        super().__init__(message, *(place[:2] if place else (None, None)))
        self.rule = rule
        self.place = place
        self.hint = hint

    def finding(self, path: str) -> Finding:
        """Tell it as a finding about a file."""
        return self.rule.finding(str(self.args[0]), Location(path, *(self.place or ())), hint=self.hint)

    def moved(self, lines: int) -> FaultError:
        """Give the fault of a piece of a file as one of the file; `lines` stand before the piece."""
        place = self.place and (self.place[0] + lines, self.place[1], self.place[2] + lines, self.place[3])
        return FaultError(self.rule, str(self.args[0]), place, hint=self.hint)


def shown(text: str) -> str:
    """Quote a text from a file for a message: cut short, control characters escaped."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
