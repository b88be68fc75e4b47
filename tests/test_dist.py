"""dist/: whole at every moment, whoever interrupts or damages it."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import threading
from pathlib import Path

import pytest

from brolly import dist
from brolly.cache import Cache
from brolly.errors import WorldError
from brolly.oci import IMAGE_MANIFEST, Artifact, Blob, Digest, compact_json
from brolly.outcome import BuiltArtifact, BundleReport, Outcome, Report, Status
from brolly.results import KeptArtifact, KeptOutcome
from workspaces import files_below, picture


def made(name: str, content: str) -> Outcome:
    """Make the outcome of a bundle with one artifact, a file and a folder."""
    config, layer = (Blob.of("text/plain", f"{kind} {name} {content}".encode()) for kind in ("config", "layer"))
    parts = [
        {"mediaType": blob.descriptor.media_type, "digest": blob.descriptor.digest, "size": blob.descriptor.size}
        for blob in (config, layer)
    ]
    manifest = Blob.of(
        IMAGE_MANIFEST, compact_json({"mediaType": IMAGE_MANIFEST, "config": parts[0], "layers": parts[1:]})
    )
    artifact = Artifact(name, "1.0.0", manifest, (config, layer))
    built = BuiltArtifact(f"{name}-1.0.0", name, "1.0.0", artifact.digest, artifact.size)
    files = (
        (f"{name}.tgz", layer.content),
        (f"{name}.md", content.encode()),
        (f"{name}/a.yaml", content.encode()),
        (f"{name}/b/c.yaml", b"same"),
    )
    report = BundleReport(
        name=name, version="1.0.0", target="umbrella", status=Status.BUILT, inputs="", fingerprint="", sizes=(),
        dependencies=(), artifacts=(built,), address="oci://a/b", configured=True, epoch=0,
        files=(f"{name}.md", f"{name}.tgz", f"{name}/"), findings=(),
    )  # fmt: skip
    return Outcome(report, (artifact,), files)


def write(root: Path, *outcomes: Outcome) -> None:
    report = Report(tool="1", bundles=tuple(one.report for one in outcomes))
    with dist.Staging(root) as staging:
        for one in outcomes:
            staging.put(one)
        dist.write(staging, report, declared=[one.report.name for one in outcomes])


def stored(root: Path, one: Outcome) -> Artifact:
    """Read the one artifact of an outcome, blobs and all."""
    read = dist.read_artifact(root, one.report.artifacts[0], lambda: None)
    blobs = tuple(Blob(blob.descriptor, blob.path.read_bytes()) for blob in read.blobs)
    return Artifact(read.repository, read.version, read.manifest, blobs)


def test_an_artifact_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    one = made("one", "content")
    write(tmp_path, one)
    assert stored(tmp_path, one) == one.artifacts[0]
    report = dist.read_report(tmp_path)
    assert report is not None
    assert report.bundle("one") == one.report


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff", b'{"tool": 1}'])
def test_a_report_that_cannot_be_read_is_none(content: bytes, tmp_path: Path) -> None:
    assert dist.read_report(tmp_path) is None
    (tmp_path / "report.json").write_bytes(content)
    assert dist.read_report(tmp_path) is None
    write(tmp_path, made("one", "content"))
    assert dist.read_report(tmp_path) is not None


class Stop(BaseException):
    """What Ctrl-C raises, as far as this test goes."""


def test_an_interruption_at_any_step_leaves_whole_files_and_the_next_build_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every change of the folder is a renaming or a removal: each of them is the last one once."""
    old, new = (made("one", "old"), made("gone", "old")), (made("one", "new"), made("two", "new"))
    pictures = []
    for name, outcomes in (("old", old), ("new", new)):
        write(tmp_path / name / "dist", *outcomes)
        pictures.append(picture(tmp_path / name / "dist"))
    known: dict[str, set[str]] = {}
    for path, digest in itertools.chain.from_iterable(one.items() for one in pictures):
        known.setdefault(path, set()).add(digest)
    for step in itertools.count(1):
        root = tmp_path / str(step) / "dist"
        write(root, *old)
        is_over = interrupted(step, monkeypatch, lambda root=root: write(root, *new))
        assert all(digest in known.get(path, ()) for path, digest in picture(root).items())
        assert not [path for path in files_below(root) if path.suffix == ".tmp"]
        write(root, *new)
        assert picture(root) == pictures[1]
        if is_over:
            break
    assert step > 15


def interrupted(step: int, monkeypatch: pytest.MonkeyPatch, work: object) -> bool:
    """Do the work, interrupted before the given step; says whether it came to its end before."""
    steps = itertools.count(1)
    renaming, unlinking = Path.replace, Path.unlink

    def replace(path: Path, target: Path) -> Path:
        if next(steps) == step:
            raise Stop
        return renaming(path, target)

    def unlink(path: Path, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of pathlib
        # what is half written is removed by the one that is interrupted
        if path.suffix != ".tmp" and next(steps) == step:
            raise Stop
        unlinking(path, missing_ok)

    assert callable(work)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(Path, "unlink", unlink)
        try:
            work()
        except Stop:
            return False
    return True


def test_of_two_builds_at_once_one_waits_for_the_other(tmp_path: Path) -> None:
    outcomes = [(made("one", text), made("two", text)) for text in "abcd"]
    threads = [threading.Thread(target=write, args=(tmp_path / "dist", *both)) for both in outcomes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = []
    for number, both in enumerate(outcomes):
        write(tmp_path / str(number) / "dist", *both)
        wanted.append(picture(tmp_path / str(number) / "dist"))
    assert picture(tmp_path / "dist") in wanted


def test_a_folder_holds_what_the_bundle_has_and_nothing_else(tmp_path: Path) -> None:
    one = made("one", "content")
    write(tmp_path, one)
    (tmp_path / "one/stray.yaml").write_text("a")
    (tmp_path / "one/a.yaml").unlink()
    (tmp_path / "one/a.yaml").symlink_to("b/c.yaml")
    write(tmp_path, one)
    assert [path.relative_to(tmp_path / "one").as_posix() for path in files_below(tmp_path / "one")] == [
        "a.yaml",
        "b/c.yaml",
    ]
    assert (tmp_path / "one/a.yaml").read_text() == "content"


@pytest.mark.parametrize("disk", ["with links", "without links"])
def test_a_package_and_its_blob_are_one_file_where_the_disk_can_do_that(
    disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    if disk == "without links":
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    one = made("one", "content")
    write(tmp_path, one)
    layer = one.artifacts[0].blobs[1]
    blob = tmp_path / "oci/blobs/sha256" / layer.descriptor.digest[7:]
    package = tmp_path / "one.tgz"
    assert package.read_bytes() == blob.read_bytes() == layer.content
    assert package.samefile(blob) == (disk == "with links")
    assert package.stat().st_mode & 0o777 == 0o644
    # who writes into one of them is found out, and both come back
    assert dist.holds(tmp_path, kept(one))
    package.write_bytes(b"x" * len(layer.content))
    assert not dist.holds(tmp_path, kept(one))
    write(tmp_path, one)
    assert package.read_bytes() == blob.read_bytes() == layer.content


def kept(one: Outcome) -> KeptOutcome:
    """Give what the result cache keeps of an outcome."""
    artifacts = (
        KeptArtifact(
            each.repository, each.version, each.manifest.descriptor, tuple(blob.descriptor for blob in each.blobs)
        )
        for each in one.artifacts
    )
    return KeptOutcome(one.report, tuple(artifacts), tuple((name, Digest.of(content)) for name, content in one.files))


def restored(root: Path, cache: Cache, *outcomes: Outcome) -> list[bool]:
    """Bring back what was built, as far as the cache has it; build the rest."""
    report = Report(tool="1", bundles=tuple(one.report for one in outcomes))
    with dist.Staging(root) as staging:
        found = [staging.restore(kept(one), cache.lend) for one in outcomes]
        for one, is_back in zip(outcomes, found, strict=True):
            if not is_back:
                staging.put(one)
        dist.write(staging, report, declared=None)
    return found


def test_what_the_cache_lacks_or_holds_damaged_is_not_brought_back(tmp_path: Path) -> None:
    cache, whole = Cache(tmp_path / "cache"), tmp_path / "whole/dist"
    bundles = [made(name, "content") for name in ("one", "two", "three")]
    write(whole, *bundles)
    for one in bundles:
        for blob in (*one.artifacts[0].blobs, one.artifacts[0].manifest):
            cache.write(blob.content)
        for _, content in one.files:
            cache.write(content)
    contents = {path.name: path for path in cache.root.rglob("sha256/*/*")}
    contents[bundles[0].artifacts[0].manifest.descriptor.digest[7:]].unlink()
    contents[bundles[1].artifacts[0].blobs[1].descriptor.digest[7:]].write_bytes(b"damaged")
    assert restored(tmp_path / "dist", cache, *bundles) == [False, False, True]
    assert picture(tmp_path / "dist") == picture(whole)


@pytest.mark.parametrize("name", ["one.tgz", "one.md", "one/b/c.yaml", "one/stray.yaml", "oci"])
def test_dist_holds_a_bundle_only_if_every_file_of_it_is_whole(name: str, tmp_path: Path) -> None:
    one = made("one", "content")
    write(tmp_path, one)
    path = tmp_path / name if name != "oci" else tmp_path / "oci/blobs/sha256" / one.report.artifacts[0].digest[7:]
    if path.exists():
        path.unlink()
    else:
        path.touch()
    assert not dist.holds(tmp_path, kept(one))


def test_what_a_build_has_ready_outlives_another_build_and_goes_with_its_own(tmp_path: Path) -> None:
    one, two = made("one", "content"), made("two", "content")
    report = Report(tool="1", bundles=(one.report,))
    with dist.Staging(tmp_path) as staging:
        staging.put(one)
        assert not (tmp_path / "oci").exists()
        write(tmp_path, two)
        dist.write(staging, report, declared=["one"])
    assert stored(tmp_path, one) == one.artifacts[0]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_what_a_killed_build_had_ready_goes_with_the_next_build(tmp_path: Path) -> None:
    with dist.Staging(tmp_path) as staging:
        staging.put(made("one", "content"))
        (ready,) = tmp_path.glob(".*.tmp")
        for left in (".build.0123456789ab.tmp", ".build.without-lock.tmp"):
            shutil.copytree(ready, tmp_path / left)  # nobody holds the copy
        (tmp_path / ".build.without-lock.tmp" / ".lock").unlink()
        write(tmp_path, made("two", "content"))
        assert [*tmp_path.glob(".*.tmp")] == [ready]


def test_a_thread_that_has_not_heard_of_the_end_leaves_nothing(tmp_path: Path) -> None:
    with dist.Staging(tmp_path / "dist") as staging:
        pass
    staging.put(made("one", "content"))
    assert not (tmp_path / "dist").exists()


def test_a_dist_that_is_removed_meanwhile_is_a_fault_of_the_world(tmp_path: Path) -> None:
    one = made("one", "content")
    report = Report(tool="1", bundles=(one.report,))
    with dist.Staging(tmp_path) as staging:
        staging.put(one)
        shutil.rmtree(tmp_path)
        with pytest.raises(WorldError, match=r"writing .*: No such file"):
            dist.write(staging, report, declared=["one"])
    assert dist.read_report(tmp_path) is None


def test_ctrl_c_while_a_staging_is_removed_leaves_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = shutil.rmtree
    asked = []

    def interrupted(path: Path, *, ignore_errors: bool) -> None:
        asked.append(path)
        if len(asked) == 1:
            raise KeyboardInterrupt
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), dist.Staging(tmp_path) as staging:
        staging.put(made("one", "content"))
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
