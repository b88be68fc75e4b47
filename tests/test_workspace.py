"""The workspace: where it is found, how a bundle's files are read, and how outputs are written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from brolly import workspace
from brolly.errors import UsageError, WorldError
from workspaces import write_files

if TYPE_CHECKING:
    from pathlib import Path


def made(root: Path, **files: str) -> workspace.Workspace:
    write_files(root, {"brolly.toml": "", "bundles/app/bundle.yaml": "", **files})
    return workspace.find(root)


def test_the_nearest_configuration_wins_and_brolly_toml_comes_first(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "pyproject.toml": '[tool.brolly]\naddress = "oci://outer.example/x"\n',
            "inner/pyproject.toml": "[project]\nname = 'x'\n",
            "inner/deep/brolly.toml": 'address = "oci://inner.example/x"\n',
            "inner/deep/pyproject.toml": "[tool.brolly]\n",
        },
    )
    assert workspace.find(tmp_path / "inner/deep").config.address == "oci://inner.example/x"
    assert workspace.find(tmp_path / "inner").config.address == "oci://outer.example/x"
    assert workspace.find(tmp_path / "inner").config_path == tmp_path / "pyproject.toml"


def test_a_configuration_that_cannot_be_read_is_no_reason_to_look_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "brolly.toml").mkdir()
    with pytest.raises(UsageError, match=r"brolly\.toml cannot be read"):
        workspace.find(tmp_path)
    (tmp_path / "brolly.toml").rmdir()
    (tmp_path / "brolly.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        workspace.find(tmp_path)


def test_a_configuration_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "brolly.toml").write_bytes(b'\xef\xbb\xbfaddress = "oci://a.example/x"\n')
    assert workspace.find(tmp_path).config.address == "oci://a.example/x"


def test_another_projects_broken_configuration_is_its_own_affair(tmp_path: Path) -> None:
    write_files(tmp_path, {"brolly.toml": "", "inner/pyproject.toml": "[project\n"})
    assert workspace.find(tmp_path / "inner").root == tmp_path
    (tmp_path / "inner/pyproject.toml").write_text("[tool.brolly\n")
    with pytest.raises(UsageError, match="cannot be read"):
        workspace.find(tmp_path / "inner")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ('"bad key!" = "x"', "'bad key!' can be no part of a label"),
        ('team = "x y"', "'x y' can be no part of a label"),
        (f'team = "{"a" * 64}"', "can be no part of a label"),
        ('part-of = ""', "'' can be no part of a label"),
        ('"A.example/team" = "x"', "'A.example/team' can be no part of a label"),
        ('part-of = "app.kubernetes.io/version"', "two labels have the key app.kubernetes.io/version"),
        ('"app.kubernetes.io/managed-by" = "me"', "two labels have the key app.kubernetes.io/managed-by"),
    ],
)
def test_labels_are_such_as_kubernetes_takes(labels: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        made(tmp_path, **{"brolly.toml": f"[labels]\n{labels}\n"})
    assert said in str(caught.value)
    good = 'part-of = "app.kubernetes.io/version"\nversion = "a.example/v"\nteam = ""\n"a.example/b_C" = "x-1.2"'
    made(tmp_path, **{"brolly.toml": f"[labels]\n{good}\n"})


def test_bundles_are_folders_whose_names_do_not_begin_with_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = made(tmp_path, **{"bundles/.hidden/bundle.yaml": "", "bundles/README.md": "", "bundles/b/bundle.yaml": ""})
    assert workspace.bundle_names(space) == ("app", "b")
    assert workspace.bundle_names(space, ["b", "bundles/app", "b"]) == ("app", "b")
    with pytest.raises(UsageError, match="there is no bundle 'c'"):
        workspace.bundle_names(space, ["c"])
    monkeypatch.chdir(tmp_path / "bundles/b")
    assert workspace.bundle_names(space, ["."]) == ("b",)


def test_files_are_read_by_their_names_in_the_bundle_sorted(tmp_path: Path) -> None:
    space = made(tmp_path, **{"bundles/app/b.yaml": "2", "bundles/app/a/z.yaml": "1", "shared/c/Chart.yaml": "3"})
    sources, found = workspace.read_sources(space, "app", ["../../shared/c", "charts/inside"])
    assert found == ()
    assert list(sources.files.items()) == [
        ("../../shared/c/Chart.yaml", b"3"), ("a/z.yaml", b"1"), ("b.yaml", b"2"), ("bundle.yaml", b""),
    ]  # fmt: skip
    assert sources.path("../../shared/c/Chart.yaml") == "shared/c/Chart.yaml"


def test_a_link_to_a_file_in_the_repository_is_followed(tmp_path: Path) -> None:
    space = made(tmp_path, **{"shared.yaml": "a: 1"})
    (tmp_path / "bundles/app/values.yaml").symlink_to("../../shared.yaml")
    sources, found = workspace.read_sources(space, "app")
    assert (sources.files["values.yaml"], found) == (b"a: 1", ())


def test_version_control_bytecode_and_our_own_leftovers_are_not_read(tmp_path: Path) -> None:
    space = made(tmp_path, **{"bundles/app/.git/config": "", "bundles/app/x/__pycache__/a.pyc": ""})
    (tmp_path / "bundles/app/.bundle.lock.0123456789ab.tmp").write_text("left by a killed process")
    assert list(workspace.read_sources(space, "app")[0].files) == ["bundle.yaml"]


def test_a_file_is_written_only_if_it_differs_and_readable_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    before = os.umask(0o077)
    try:
        assert workspace.write_file(path, b"one") is True
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    times = path.stat()
    assert workspace.write_file(path, b"one") is False
    assert path.stat() == times
    assert workspace.write_file(path, b"two") is True
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "file").symlink_to("victim")
    workspace.write_file(tmp_path / "file", b"mine")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("step", ["write_bytes", "chmod", "replace"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    workspace.write_file(path, b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(path), step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            workspace.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_a_fault_of_the_world(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WorldError, match=r"writing .*/file/below: "):
        workspace.write_file(tmp_path / "file" / "below", b"")


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("0", 0), ("1700000000", 1_700_000_000)])
def test_the_epoch_is_a_number_of_seconds(text: str, seconds: int) -> None:
    assert workspace.epoch({"SOURCE_DATE_EPOCH": text}) == seconds
    assert workspace.epoch({}) == 0


@pytest.mark.parametrize("text", ["-1", "soon", "1.5", "99999999999999", "\u0664", pytest.param("9" * 5000, id="long")])
def test_an_epoch_that_no_archive_holds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        workspace.epoch({"SOURCE_DATE_EPOCH": text})
