"""bundle.lock: round trip, staleness without a network, damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from brolly import definition, document, lock
from brolly.lock import Lock, LockedDependency

if TYPE_CHECKING:
    from brolly.definition import Bundle
    from brolly.document import Document
    from brolly.findings import Finding

TEXT = (
    "apiVersion: brolly/v1alpha1\ntarget: umbrella\nname: shop\nversion: 1.0.0\ndependencies:\n"
    "  - name: podinfo\n    alias: hello\n    version: 6.x\n    repository: oci://registry.example/charts\n"
    "  - name: own\n    version: 1.x\n    repository: file://charts/own\n"
)
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def read(text: str = TEXT) -> tuple[Document, Bundle]:
    found, _ = document.read(text.encode(), "bundles/shop/bundle.yaml", strict=True)
    assert found is not None
    bundle, faults = definition.parse(found, folder="bundles/shop", repositories={})
    assert bundle is not None, faults
    return found, bundle


def entries() -> dict[str, LockedDependency]:
    return {
        "hello": LockedDependency(DIGEST, "podinfo", "oci://registry.example/charts", "6.5.0", "hello", OTHER),
        "own": LockedDependency(OTHER, "own", "file://charts/own", "1.2.0"),
    }


def locked() -> Lock:
    return lock.make(read()[1], entries())


def faults(text: str = TEXT, old: Lock | None = None, local: str = OTHER) -> list[Finding]:
    found, bundle = read(text)
    return list(lock.faults(bundle, found, old or locked(), "bundles/shop/bundle.lock", {"own": local}))


def parsed(content: bytes) -> tuple[Lock | None, tuple[Finding, ...]]:
    found, wrong = document.read(content, "bundles/shop/bundle.lock", strict=True)
    assert found is not None, wrong
    return lock.parse(found)


def test_a_lock_is_sorted_yaml_without_times() -> None:
    assert lock.serialize(locked()).decode() == (
        "# Written by `brolly lock`: change bundle.yaml, not this file.\n"
        "apiVersion: brolly/v1alpha1\n"
        "dependencies:\n"
        f"  - alias: hello\n    digest: {DIGEST}\n    manifest: {OTHER}\n    name: podinfo\n"
        "    repository: oci://registry.example/charts\n    version: 6.5.0\n"
        f"  - digest: {OTHER}\n    name: own\n    repository: file://charts/own\n    version: 1.2.0\n"
        f"request: {lock.request_digest(read()[1])}\n"
    )


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)


@given(TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from(["", OTHER]))
def test_a_lock_round_trips(name: str, repository: str, version: str, alias: str, manifest: str) -> None:
    made = Lock("brolly/v1alpha1", (LockedDependency(DIGEST, name, repository, version, alias, manifest),), OTHER)
    assert parsed(lock.serialize(made)) == (made, ())


def test_a_current_lock_has_no_faults() -> None:
    assert faults() == []


def test_a_missing_lock_says_what_to_type() -> None:
    found, bundle = read()
    fault = next(iter(lock.faults(bundle, found, None, "bundles/shop/bundle.lock", {})))
    assert (fault.code, fault.hint) == ("lock/missing", "run `brolly lock shop`")


def test_a_new_range_that_the_lock_satisfies_is_stale_all_the_same() -> None:
    found = faults(TEXT.replace("6.x", "^6.1"))
    assert [(one.code, one.location and one.location.line) for one in found] == [("lock/stale", 5)]


def test_a_range_that_the_lock_violates_is_found_at_the_range() -> None:
    found = faults(TEXT.replace("6.x", "7.x"))
    assert [(one.code, str(one.location)) for one in found] == [("lock/violated", "bundles/shop/bundle.yaml:8:14")]
    assert found[0].message == "bundle.lock holds hello 6.5.0, the definition asks for 7.x"


def test_an_added_a_removed_and_a_moved_dependency_are_each_named() -> None:
    text = TEXT.replace("alias: hello", "alias: hi").replace("charts/own", "charts/own2")
    assert [one.message for one in faults(text)] == [
        "hi is not in bundle.lock",
        "own differs from bundle.lock",
        "bundle.lock holds hello, which is no dependency any more",
    ]


def test_a_changed_local_chart_is_found_with_both_digests() -> None:
    (found,) = faults(local="sha256:" + "c" * 64)
    assert found.code == "lock/local-changed"
    assert "sha256:cccccccccccc" in found.message
    assert "sha256:bbbbbbbbbbbb" in found.message


def test_a_description_does_not_make_a_lock_stale() -> None:
    assert faults(TEXT.replace("version: 1.0.0", "version: 1.1.0\ndescription: new")) == []


def test_a_damaged_lock_names_every_damage() -> None:
    content = lock.serialize(locked()).replace(DIGEST.encode(), b"md5:1").replace(b"version:", b"vers:")
    made, found = parsed(content)
    assert made is None
    assert {one.code for one in found} == {"lock/shape"}
    assert len(found) >= 3
