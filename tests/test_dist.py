"""dist/: whole at every moment, whoever interrupts or damages it."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from brolly import dist
from brolly.oci import IMAGE_MANIFEST, Artifact, Blob, compact_json
from brolly.outcome import BuiltArtifact, BundleReport, Outcome, Report, Status
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
    files = ((f"{name}.tgz", content.encode()), (f"{name}/a.yaml", content.encode()), (f"{name}/b/c.yaml", b"same"))
    report = BundleReport(
        name=name, version="1.0.0", target="umbrella", status=Status.BUILT, inputs="", fingerprint="", sizes=(),
        dependencies=(), artifacts=(built,), files=(f"{name}.tgz", f"{name}/"), findings=(),
    )  # fmt: skip
    return Outcome(report, (artifact,), files)


def write(root: Path, *outcomes: Outcome) -> None:
    report = Report(tool="1", address="oci://a/b", epoch=0, bundles=tuple(one.report for one in outcomes))
    dist.write(root, outcomes, report, declared=[one.report.name for one in outcomes])


def test_an_artifact_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    one = made("one", "content")
    write(tmp_path, one)
    stored = dist.read_artifact(tmp_path, one.report.artifacts[0], lambda: None)
    blobs = tuple(Blob(blob.descriptor, blob.path.read_bytes()) for blob in stored.blobs)
    assert Artifact(stored.repository, stored.version, stored.manifest, blobs) == one.artifacts[0]
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
