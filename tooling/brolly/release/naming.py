"""What a release's name and namespace weigh: a record is predicted for one name, and its bound holds for any."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import TYPE_CHECKING, Final

from brolly.release.packing import packed_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from brolly.release.storing import Part

    # a text before and after
    Change = tuple[bytes, bytes]

# as long as Helm and Kubernetes allow; their letters do not compress
_LONG_NAME: Final = b"x3k9vq7mz2wh8tj4rb6nf5pydg1lsc0ae7uok9ixqz3vmw8h2tjr4"
_LONG_NAMESPACE: Final = b"z2w4k9q7vx3mjb8htn6ry1fpgd5lcs0ueaio7kxqz9vw3jhm8t2b4rfn6ypd1g5"
# how much of what zlib says of them: where templates cut names off, they add less
_SHARE: Final = 0.9
# a name that is a word of its own is found too often: it counts at most so many times for each object
_EACH_OBJECT: Final = 5
# bytes. A name inside of base64 has three forms, which hardly repeat; a certificate is made for several host names
_IN_BASE64: Final = 150
_CERTIFICATE: Final = 200
_CERTIFICATES: Final = 4
# bytes of neighbours that are looked at together, and how many such runs suffice
_RUN: Final = 8 << 10
_RUNS: Final = 24
_DECLARED: Final = re.compile(rb"namespace\S{0,4}[ =]\\?\"?$")
_ENCODED: Final = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


def added_by_longer_names(name: str, namespace: str, parts: Iterable[Part]) -> float:
    """Say by how many bytes the longest names enlarge what is rendered: put them in place of those that are there."""
    rendered = [part for part in parts if part.what in {"manifests", "hooks"}]
    names = _Names(name.encode(), namespace.encode())
    pairs = ((part.json, names.lengthened(part)) for part in rendered)
    changed = [(before, after) for before, after in pairs if before != after]
    found = sum(after.count(_LONG_NAME) for _, after in changed)
    sure = min(1.0, _EACH_OBJECT * len(rendered) / found) if found else 1.0
    return _SHARE * sure * _added(changed) + _inside_secrets(names, rendered)


def _added(changed: Sequence[Change]) -> float:
    """Compress what changed before and after; of much of it some runs tell what the rest adds."""
    runs = list(_runs(changed))
    sample = [change for run in runs[:: len(runs) // _RUNS or 1] for change in run]
    before, after = (b"".join(change[side] for change in sample) for side in (0, 1))
    added = packed_length(after, zlib.Z_FILTERED, 6) - packed_length(before, zlib.Z_FILTERED, 6)
    grown = len(after) - len(before)
    return added * sum(len(after) - len(before) for before, after in changed) / grown if grown else added


def _runs(changed: Iterable[Change]) -> Iterator[list[Change]]:
    """Put neighbours together, for they are alike and compress as such."""
    run: list[Change] = []
    size = 0
    for change in changed:
        run.append(change)
        size += len(change[0])
        if size >= _RUN:
            yield run
            run, size = [], 0
    yield run


class _Names:
    """Finds a release's name and its namespace in what is rendered."""

    def __init__(self, name: bytes, namespace: bytes) -> None:
        # a pattern that begins with letters is found fast: what stands before is looked at afterwards
        self._name = re.compile(re.escape(name) + rb"(?![A-Za-z0-9])")
        self._namespace = re.compile(re.escape(namespace) + rb"(\.svc)?(?![A-Za-z0-9_-])")

    def lengthened(self, part: Part) -> bytes:
        """Give a part with the longest names in it, also inside of what a Secret holds."""
        text = _ENCODED.sub(self._lengthened_inside, part.json) if part.kind == "Secret" else part.json
        return self.lengthened_text(text)

    def lengthened_text(self, text: bytes) -> bytes:
        """Give a text with the longest names in it."""
        return self._namespace.sub(self._longer_namespace, self._name.sub(self._longer_name, text))

    def _longer_name(self, found: re.Match[bytes]) -> bytes:
        before = found.string[max(0, found.start() - 1) : found.start()]
        return found[0] if before.isalnum() else _LONG_NAME

    def _longer_namespace(self, found: re.Match[bytes]) -> bytes:
        # `default` is a word too: a namespace is meant where one is declared, in host names and after a slash
        before = found.string[max(0, found.start() - 18) : found.start()]
        is_meant = found[1] or before[-1:] in {b".", b"/", b"@"} or _DECLARED.search(before)
        return _LONG_NAMESPACE + (found[1] or b"") if is_meant else found[0]

    def _lengthened_inside(self, found: re.Match[bytes]) -> bytes:
        text = _decoded(found[0])
        longer = self.lengthened_text(text)
        return found[0] if longer == text else base64.b64encode(longer)


def _inside_secrets(names: _Names, parts: Iterable[Part]) -> int:
    texts = [_decoded(text) for part in parts if part.kind == "Secret" for text in _ENCODED.findall(part.json)]
    certificates = {text[:400] for text in texts if b"BEGIN CERTIFICATE" in text}
    longer = b"".join(map(names.lengthened_text, texts))
    found = (_LONG_NAME in longer) + (_LONG_NAMESPACE in longer)
    return found * _IN_BASE64 + min(len(certificates), _CERTIFICATES) * _CERTIFICATE


def _decoded(text: bytes) -> bytes:
    """Decode base64; what only looks like it is empty."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
