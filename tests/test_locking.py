"""Lock, through the command line: what is resolved, kept, moved and refused."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from brolly.oci import Digest
from chart_repository import ChartRepository, chart_package, chart_repository, status
from workspaces import Workspace, chart_files, local, local_chart, push, remote, times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFUSES = "http://127.0.0.1:9"


@pytest.fixture
def repository() -> Iterator[ChartRepository]:
    with chart_repository() as served:
        yield served


def entry(space: Workspace, name: str = "app", place: int = 0) -> dict[str, Any]:
    """Read an entry of a lock."""
    from brolly import document

    found: dict[str, Any] = document.parse(space.lock_text(name).encode())["dependencies"][place]
    return found


def test_lock_writes_what_it_resolved_and_check_then_agrees(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "5.9.0")
    package = repository.add("podinfo", "6.1.0")
    repository.add("podinfo", "7.0.0")
    space.bundle("app", dependencies=[remote(repository)])
    assert space.run("lock", "--check").code == 1
    assert space.good("lock").out == "app: locked (1 dependency)\n  podinfo 6.1.0\n"
    assert entry(space) == {
        "digest": Digest.of(package), "name": "podinfo", "repository": repository.url, "version": "6.1.0"
    }  # fmt: skip
    assert space.good("lock", "--check").out == "locks are current: app\n"


def test_a_lock_is_not_touched_if_nothing_changed(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "6.1.0")
    space.bundle("app", dependencies=[remote(repository)])
    space.good("lock")
    before = times(space.root / "bundles")
    assert "unchanged" in space.good("lock").out
    assert space.good("lock", "--upgrade", "--output", "json").json["locks"][0]["changed"] is False
    assert times(space.root / "bundles") == before


def test_lock_stays_and_upgrade_moves(space: Workspace, repository: ChartRepository) -> None:
    for name in ("podinfo", "other"):
        repository.add(name, "6.1.0")
    space.bundle("app", dependencies=[remote(repository), remote(repository, name="other", alias="two")])
    space.good("lock")
    for name in ("podinfo", "other"):
        repository.add(name, "6.2.0")
    assert space.good("lock").out == "app: unchanged (2 dependencies)\n"
    assert space.good("lock", "--upgrade", "two").out == "app: locked (2 dependencies)\n  two 6.1.0 -> 6.2.0\n"
    assert space.good("lock", "--upgrade").out == "app: locked (2 dependencies)\n  podinfo 6.1.0 -> 6.2.0\n"
    moves = space.good("lock", "--upgrade", "--output", "json").json["locks"][0]["moves"]
    assert moves == []


def test_the_size_of_an_index_is_locked_only_near_the_limit_and_of_no_mirror(
    space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "6.1.0")
    mirror = toml({"mirrors": {"https://charts.example": repository.url}})
    space.write({"brolly.toml": mirror})
    space.bundle("app", dependencies=[remote(repository)])
    space.bundle("mirrored", dependencies=[{**remote(repository), "repository": "https://charts.example"}])
    repository.files["index.yaml"] += b"#" * (39 << 20)
    space.good("lock")
    assert "indexSize" not in entry(space)
    repository.files["index.yaml"] += b"#" * (1 << 20)
    done = space.good("lock", "--upgrade")
    assert "  podinfo 6.1.0 (its repository's index changed its size)\n" in done.out
    assert entry(space)["indexSize"] == 41 << 20
    assert "indexSize" not in entry(space, "mirrored")
    repository.files["index.yaml"] += b"#" * 1000
    assert "unchanged" in space.good("lock", "--upgrade").out


def test_an_index_above_fluxs_limit_is_locked_and_check_says_what_flux_will_do(
    space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "6.1.0")
    repository.files["index.yaml"] += b"#" * (50 << 20)
    space.bundle("app", target="kustomize", dependencies=[{**remote(repository), "source": "upstream"}])
    space.good("lock")
    done = space.run("check", "--output", "json")
    assert done.code == 1
    assert "size/repository-index" in done.codes
    space.bundle("app", target="kustomize", dependencies=[remote(repository)])
    assert "size/repository-index" not in space.good("check", "--output", "json").codes


def test_what_cannot_be_upgraded_is_named_with_a_suggestion(space: Workspace) -> None:
    space.bundle("app", local_chart(), dependencies=[local()])
    assert "did you mean `greeter`?" in space.run("lock", "--upgrade", "greter").err
    assert "brolly lock app --upgrade" in space.run("lock", "--upgrade", "app").err


def test_a_narrower_constraint_makes_the_lock_stale_without_any_network(
    space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "6.1.0")
    space.bundle("app", dependencies=[remote(repository)])
    space.good("lock")
    asked = len(repository.requests)
    space.bundle("app", dependencies=[remote(repository, version=">=6.2.0")])
    for command in (("lock", "--check"), ("check",), ("build",)):
        done = space.run(*command, "--output", "json")
        assert (done.code, done.codes) == (1, ["lock/violated"])
    space.bundle("app", dependencies=[remote(repository), remote(repository, alias="two")])
    done = space.run("lock", "--check", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/stale"])
    assert len(repository.requests) == asked


def test_lock_check_asks_nobody(space: Workspace) -> None:
    space.bundle("app", dependencies=[{"name": "podinfo", "version": "6.x", "repository": REFUSES}])
    done = space.run("lock", "--check", "--output", "json")
    assert (done.code, done.codes, done.json["failures"]) == (1, ["lock/missing"], [])


def test_a_version_that_was_published_again_is_refused_by_lock_and_build(
    space: Workspace, repository: ChartRepository
) -> None:
    first = repository.add("podinfo", "6.1.0")
    space.bundle("app", dependencies=[remote(repository)])
    space.good("lock")
    again = chart_package("podinfo", "6.1.0", {"values.yaml": "greeting: other\n"})
    repository.files["charts/podinfo-6.1.0.tgz"] = again
    space.forget()
    before = space.state()
    for command in (("lock", "--upgrade"), ("build",), ("check",)):
        done = space.run(*command)
        assert done.code == 3
        assert Digest.of(first) in done.err
        assert Digest.of(again) in done.err
    assert locks_and_dist(space.state()) == locks_and_dist(before)


def test_a_tag_that_moved_is_refused_with_both_digests(space: Workspace, docker: str) -> None:
    here = push(docker, "moving/podinfo", "6.1.0", chart_package("podinfo", "6.1.0"))
    space.bundle("app", dependencies=[{"name": "podinfo", "version": "6.x", "repository": f"oci://{docker}/moving"}])
    space.good("lock")
    assert entry(space)["manifest"] == here
    there = push(docker, "moving/podinfo", "6.1.0", chart_package("podinfo", "6.1.0", {"values.yaml": "{}\n"}))
    space.forget()
    done = space.run("build")
    assert done.code == 3
    assert here in done.err
    assert there in done.err


def locks_and_dist(state: dict[str, str]) -> dict[str, str]:
    return {name: one for name, one in state.items() if not name.startswith("work-cache")}


def test_http_and_oci_repositories_names_and_mirrors_lock_build_and_render(
    helm: Workspace, repository: ChartRepository, docker: str
) -> None:
    package = repository.add("podinfo", "6.1.0")
    pushed = push(docker, "charts/podinfo", "6.2.0+build.1", chart_package("podinfo", "6.2.0+build.1"))
    config = {
        "address": "oci://registry.example/bundles",
        "repositories": {"stable": repository.url},
        "mirrors": {"https://charts.example/stable": repository.url, "oci://registry.example": f"oci://{docker}"},
    }
    helm.write({"brolly.toml": toml(config)})
    helm.bundle(
        "app",
        dependencies=[
            remote(repository, alias="named", repository="@stable"),
            remote(repository, alias="mirrored", repository="https://charts.example/stable"),
            remote(repository, alias="oci", repository="oci://registry.example/charts"),
        ],
    )
    helm.good("lock")
    locked = {one["alias"]: one for one in (entry(helm, place=place) for place in range(3))}
    assert {key: one["repository"] for key, one in locked.items()} == {
        "named": repository.url,
        "mirrored": "https://charts.example/stable",
        "oci": "oci://registry.example/charts",
    }
    assert locked["oci"]["manifest"] == pushed
    assert locked["oci"]["version"] == "6.2.0+build.1"
    helm.good("build")
    chart = chart_in(helm.dist / "app-1.0.0.tgz")
    assert chart["app/charts/podinfo-6.1.0.tgz"] == package
    assert "# Source: app/charts/oci/templates/configmap.yaml" in helm.good("render").out


def toml(config: dict[str, Any]) -> str:
    """Write a flat table and tables of texts; JSON's strings are TOML's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in config.items() if isinstance(value, str)]
    for key, table in config.items():
        if isinstance(table, dict):
            lines += [f"[{key}]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def chart_in(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: read(tar, info) for info in tar}


def read(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(info)
    return content.read() if content else b""


def test_a_package_is_downloaded_once_for_all_bundles_and_builds(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "6.1.0")
    for name in ("one", "two"):
        space.bundle(name, dependencies=[remote(repository), remote(repository, alias="again")])
    space.good("lock", "-j", "4")
    assert sorted(repository.paths()) == ["/charts/podinfo-6.1.0.tgz", "/index.yaml"]
    space.good("build", "-j", "4")
    assert len(repository.requests) == 2
    space.forget()
    space.good("build", "-j", "4")
    assert repository.paths().count("/charts/podinfo-6.1.0.tgz") == 2


def test_offline_names_all_that_is_missing(space: Workspace, repository: ChartRepository) -> None:
    digests = [Digest.of(repository.add(name, "6.1.0")) for name in ("podinfo", "other")]
    space.bundle("app", dependencies=[remote(repository), remote(repository, name="other")])
    space.bundle("more", dependencies=[remote(repository)])
    space.good("lock")
    space.good("build", "--offline")
    space.forget()
    done = space.run("build", "--offline", "--output", "json")
    assert done.code == 3
    said = [(one["bundle"], one["message"]) for one in done.json["failures"]]
    assert [bundle for bundle, _ in said] == ["app", "app", "more"]
    for (_, message), name, found in zip(said, ("podinfo", "other", "podinfo"), (*digests, digests[0]), strict=True):
        assert message.startswith(f"{name} 6.1.0 from {repository.url} ({found}) is not in the cache")


def test_offline_lock_names_every_question_that_it_cannot_ask(space: Workspace, repository: ChartRepository) -> None:
    asked = [f"{repository.url}/one", f"{repository.url}/two"]
    registry = "oci://127.0.0.1:9/charts"
    space.bundle("app", dependencies=[remote(repository, alias=url[-3:], repository=url) for url in (*asked, registry)])
    done = space.run("lock", "--offline", "--output", "json")
    assert done.code == 3
    assert [one["message"].partition(": there is no network")[0] for one in done.json["failures"]] == [
        *(f"reading the index of {url}" for url in asked), f"listing the versions of {registry}/podinfo",
    ]  # fmt: skip
    assert repository.requests == []


def test_no_version_that_fits_is_a_finding_at_the_constraint(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "5.0.0")
    space.bundle("app", dependencies=[remote(repository), remote(repository, name="podinof", alias="two")])
    done = space.run("lock", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/unresolved"] * 2)
    assert "5.0.0" in done.json["findings"][0]["message"]
    assert "did you mean `podinfo`?" in done.json["findings"][1]["hint"]
    assert not (space.root / "bundles/app/bundle.lock").exists()


def test_a_damaged_lock_is_said_by_check_and_written_anew_by_lock(space: Workspace) -> None:
    space.bundle("app", local_chart(), dependencies=[local()])
    space.good("lock")
    good = space.lock_text("app")
    for text in ("", "]", "apiVersion: brolly/v1alpha1\n", good.replace("sha256:", "md5:")):
        space.write({"bundles/app/bundle.lock": text})
        done = space.run("check", "--output", "json")
        assert done.code == 1
        assert {code.partition("/")[0] for code in done.codes} <= {"lock", "yaml"}
        space.good("lock")
        assert space.lock_text("app") == good


# --- local charts


def test_local_charts_may_be_folders_packages_and_lie_outside_the_bundle(helm: Workspace) -> None:
    helm.write({f"shared/outside/{name}": content for name, content in chart_files("outside").items()})
    helm.write({"shared/packed-1.0.0.tgz": chart_package("packed", "1.0.0")})
    helm.bundle(
        "app",
        {**local_chart(), "charts/inner-1.0.0.tgz": chart_package("inner", "1.0.0")},
        dependencies=[
            local(),
            local("inner", repository="file://charts/inner-1.0.0.tgz"),
            local("outside", repository="file://../../shared/outside"),
            local("packed", repository="file://../../shared/packed-1.0.0.tgz"),
        ],
    )
    helm.good("lock")
    helm.good("check", "--strict")
    text = helm.good("render").out
    assert text.count("# Source: ") == 4
    helm.write({"shared/outside/values.yaml": "greeting: changed\n"})
    done = helm.run("lock", "--check", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/local-changed"])


@pytest.mark.parametrize("path", ["../../../elsewhere", "/etc", "charts/../../../../x", "~/x"])
def test_a_local_chart_outside_the_repository_is_refused(path: str, space: Workspace) -> None:
    space.bundle("app", local_chart(), dependencies=[local(repository=f"file://{path}")])
    done = space.run("lock", "--output", "json")
    assert done.code == 1
    assert set(done.codes) <= {"definition/repository", "bundle/no-local-chart"}


def test_a_local_chart_whose_dependencies_are_not_vendored_is_refused(space: Workspace) -> None:
    header = {
        "apiVersion": "v2", "name": "greeter", "version": "1.0.0",
        "dependencies": [{"name": "redis", "version": "1.x", "repository": "https://charts.example"}],
    }  # fmt: skip
    space.bundle("app", local_chart(**{"Chart.yaml": json.dumps(header)}), dependencies=[local()])
    done = space.run("lock", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/not-vendored"])
    vendored = {f"charts/greeter/charts/redis/{name}": text for name, text in chart_files("redis", "1.1.0").items()}
    space.bundle("app", {**local_chart(**{"Chart.yaml": json.dumps(header)}), **vendored}, dependencies=[local()])
    space.good("lock")
    space.good("check")


def test_a_local_chart_of_another_name_or_version_is_refused(space: Workspace) -> None:
    space.bundle(
        "app",
        local_chart(),
        dependencies=[local("greter", repository="file://charts/greeter"), local(version="2.x", alias="b")],
    )
    done = space.run("lock", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/other-chart"] * 2)


def test_all_bundles_that_meet_a_fault_of_the_world_are_named(space: Workspace, repository: ChartRepository) -> None:
    for name in ("one", "two"):
        space.bundle(name, dependencies=[remote(repository, name=name, repository=f"{repository.url}/{name}")])
    space.bundle("good", local_chart(), dependencies=[local()])
    repository.faults = {f"/{name}/index.yaml": status(500).always() for name in ("one", "two")}
    done = space.run("lock", "--output", "json")
    assert done.code == 3
    assert [one["bundle"] for one in done.json["failures"]] == ["one", "two"]
    assert (space.root / "bundles/good/bundle.lock").is_file()
    assert space.run("lock").err.count("answers 500") == 2


def test_what_the_world_does_to_many_bundles_is_said_once(space: Workspace) -> None:
    for name in "abcde":
        space.bundle(
            name, dependencies=[{"name": "greeter", "version": "1.x", "repository": "http://127.0.0.1:1/charts"}]
        )
    done = space.run("lock", "--retries", "0")
    said = [line for line in done.err.splitlines() if line.startswith("error")]
    assert len(said) == 1
    assert said[0].startswith("error: a, b, c and 2 more: reading the index of http://127.0.0.1:1/charts: ")
    facts = space.run("lock", "--retries", "0", "--output", "json").json
    assert [fact["bundle"] for fact in facts["failures"]] == list("abcde")


def test_what_lock_check_says_is_what_lock_would_do(space: Workspace) -> None:
    space.bundle("app", {**local_chart(), "values.yaml": "a: [\n"}, dependencies=[local()])
    space.good("lock")
    space.good("lock", "--check")  # values are not locked
    path = space.root / "bundles/app/bundle.lock"
    written = path.read_bytes()
    for other in (written.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + written, written + b"# more\n"):
        path.write_bytes(other)
        done = space.run("lock", "--check", "--output", "json")
        assert (done.code, done.codes) == (1, ["lock/other-form"])
        space.good("lock")
        assert path.read_bytes() == written
