"""What a release's name and namespace weigh: a record is predicted for one name, and its bound holds for any."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from brolly.release.packing import added_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brolly.release.storing import Part

# as long as Helm and Kubernetes allow; their letters do not compress
_LONG_NAME: Final = b"x3k9vq7mz2wh8tj4rb6nf5pydg1lsc0ae7uok9ixqz3vmw8h2tjr4"
_LONG_NAMESPACE: Final = b"z2w4k9q7vx3mjb8htn6ry1fpgd5lcs0ueaio7kxqz9vw3jhm8t2b4rfn6ypd1g5"
# how much of what zlib says of them: where templates cut names off, they add less
_SHARE: Final = 0.9
# bytes of both names where they occur first
_FIRST: Final = 80
# a name that is a word of its own is found too often: it counts at most so many times for each object
_EACH_OBJECT: Final = 5
# a namespace after so many hyphens is the end of names
_ENDINGS: Final = 50
# bytes. A name inside of base64 has three forms, which hardly repeat; a certificate is made for several host names
_IN_BASE64: Final = 150
_CERTIFICATE: Final = 200
_CERTIFICATES: Final = 4
_DECLARED: Final = re.compile(rb"namespace\S{0,4}[ =]\\?\"?$")
_ENCODED: Final = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


def added_by_longer_names(name: str, namespace: str, parts: Iterable[Part]) -> float:
    """Say by how many bytes the longest names enlarge what is rendered: put them in place of those that are there."""
    rendered = [part for part in parts if part.what in {"manifests", "hooks"}]
    hyphened = sum(part.json.count(b"-" + namespace.encode()) for part in rendered)
    names = _Names(name.encode(), namespace.encode(), is_ending=hyphened > _ENDINGS)
    encoded = [names.may_be_encoded_in(part) for part in rendered]
    pairs = (
        (part.json, names.lengthened(part, is_encoded)) for part, is_encoded in zip(rendered, encoded, strict=True)
    )
    changed = [(before, after) for before, after in pairs if before != after]
    found = sum(after.count(_LONG_NAME) for _, after in changed)
    sure = min(1.0, _EACH_OBJECT * len(rendered) / found) if found else 1.0
    inside = _inside_base64(names, [part for part, is_encoded in zip(rendered, encoded, strict=True) if is_encoded])
    return _SHARE * sure * added_bytes(changed, _LONG_NAME + _LONG_NAMESPACE) + (_FIRST if changed else 0) + inside


class _Names:
    """Finds a release's name and its namespace in what is rendered."""

    def __init__(self, name: bytes, namespace: bytes, *, is_ending: bool) -> None:
        self._before_namespace = {b".", b"/", b"@"} | ({b"-"} if is_ending else set())
        self._encoded = (*_encodings(name), *_encodings(namespace))
        # a pattern that begins with letters is found fast: what stands before is looked at afterwards
        self._name = re.compile(re.escape(name) + rb"(?![A-Za-z0-9])")
        self._namespace = re.compile(re.escape(namespace) + rb"(\.svc)?(?![A-Za-z0-9_-])")

    def may_be_encoded_in(self, part: Part) -> bool:
        """Say whether a part seems to have a name in base64."""
        return part.kind == "Secret" or any(map(part.json.__contains__, self._encoded))

    def lengthened(self, part: Part, is_encoded: bool) -> bytes:  # noqa: FBT001
        """Give a part with the longest names in it, also inside of base64; not in its template's path."""
        text = _ENCODED.sub(self._lengthened_inside, part.json) if is_encoded else part.json
        path = part.template.encode()
        return path.join(map(self.lengthened_text, text.split(path) if path else [text]))

    def lengthened_text(self, text: bytes) -> bytes:
        """Give a text with the longest names in it."""
        return self._namespace.sub(self._longer_namespace, self._name.sub(self._longer_name, text))

    def _longer_name(self, found: re.Match[bytes]) -> bytes:
        before = found.string[max(0, found.start() - 1) : found.start()]
        return found[0] if before.isalnum() else _LONG_NAME

    def _longer_namespace(self, found: re.Match[bytes]) -> bytes:
        # `default` is a word too: a namespace is meant where one is declared, in host names, after a slash,
        # and where names often end with it
        before = found.string[max(0, found.start() - 18) : found.start()]
        is_meant = found[1] or before[-1:] in self._before_namespace or _DECLARED.search(before)
        return _LONG_NAMESPACE + (found[1] or b"") if is_meant else found[0]

    def _lengthened_inside(self, found: re.Match[bytes]) -> bytes:
        text = _decoded(found[0])
        longer = self.lengthened_text(text)
        return found[0] if longer == text else base64.b64encode(longer)


def _encodings(name: bytes) -> list[bytes]:
    """Give what base64 makes of a name in the middle of a text, for each of the three places it may begin at."""
    found = [base64.b64encode(bytes(before) + name)[-(-8 * before // 6) :] for before in range(3)]
    # the last letter may hold bits of what follows
    return [text[: (8 * (before + len(name))) // 6 - -(-8 * before // 6)] for before, text in enumerate(found)]


def _inside_base64(names: _Names, parts: Iterable[Part]) -> int:
    texts = [_decoded(text) for part in parts for text in _ENCODED.findall(part.json)]
    certificates = {text[:400] for text in texts if b"BEGIN CERTIFICATE" in text}
    longer = b"".join(map(names.lengthened_text, texts))
    found = (_LONG_NAME in longer) + (_LONG_NAMESPACE in longer)
    return found * _IN_BASE64 + min(len(certificates), _CERTIFICATES) * _CERTIFICATE


def _decoded(text: bytes) -> bytes:
    """Decode base64 of text; what only looks like it, as long words and digests do, is empty."""
    try:
        found = base64.b64decode(text, validate=True)
        found.decode()
    except (binascii.Error, UnicodeDecodeError):
        return b""
    return found
