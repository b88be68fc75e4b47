"""Publish, through the command line: to a registry in a folder, to docker-registry, and read by others' clients."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from brolly.engine import Engine
from brolly.oci import IMAGE_MANIFEST, Blob, Descriptor, Digest
from brolly.pipeline import publishing
from brolly.pipeline.proving import listed_in
from brolly.pipeline.publishing import Publication, VersionExists, publish
from brolly.registry import LayoutRegistry, Registry, RegistryRefused
from brolly.registry.port import named_in
from brolly.registry.remote import OciRegistry
from registries import Answer, Asked, MemoryRegistry, forward, htpasswd_registry, peer, serve
from workspaces import Workspace, local, local_chart, picture, times

if TYPE_CHECKING:
    from collections.abc import Callable

    from brolly.oci import StoredBlob

BUNDLES = Path(__file__).parents[1] / "bundles"


@pytest.fixture
def built(space: Workspace) -> Workspace:
    """Give a workspace with an umbrella and a Flux bundle, built."""
    space.bundle("umbrella", {**local_chart(), "values.yaml": "greeter: {greeting: hi}\n"}, dependencies=[local()])
    space.bundle("flux", local_chart(), target="kustomize", dependencies=[local()])
    space.good("lock")
    space.good("build")
    return space


def statuses(space: Workspace, *arguments: str) -> dict[str, str]:
    published = space.good("publish", "--output", "json", *arguments).json["published"]
    return {one["repository"].rpartition("/")[2]: one["status"] for one in published}


def change(space: Workspace, name: str = "umbrella") -> None:
    """Build other content under the same version."""
    space.write({f"bundles/{name}/values.yaml": "greeter: {greeting: other}\n"})
    space.good("build")


def test_the_first_publication_writes_and_the_second_does_nothing(built: Workspace) -> None:
    text = built.good("publish").out
    assert [line.split()[0] for line in text.splitlines()] == ["published"] * 3
    before = times(built.root / "registry")
    assert statuses(built) == {"greeter": "unchanged", "flux": "unchanged", "umbrella": "unchanged"}
    assert times(built.root / "registry") == before


def test_json_tells_each_artifact_and_nothing_else(built: Workspace, docker: str) -> None:
    done = built.good("publish", "--to", f"oci://{docker}/json", "--output", "json").json
    assert list(done) == ["published"]
    first = done["published"][0]
    assert list(first) == ["url", "repository", "version", "digest", "size", "status"]
    assert first["url"] == f"oci://{docker}/json/charts/greeter:1.0.0"
    assert first["repository"] == f"{docker}/json/charts/greeter"
    assert (first["version"], first["status"]) == ("1.0.0", "published")
    assert first["digest"].startswith("sha256:")
    assert first["size"] > 1000


def shop_of(space: Workspace) -> Any:
    from brolly import workspace
    from brolly.cache import Cache
    from brolly.pipeline.settings import settings_of
    from brolly.pipeline.shop import Shop
    from brolly.results import Results

    found = workspace.find(space.root)
    settings, _ = settings_of(found, "", 0)
    results = Results(Cache(space.cache))
    return Shop(found, settings, lambda: pytest.fail("publishing needs no repository"), results)


def copied(space: Workspace, names: list[str], registry: Registry, prefix: str) -> tuple[Publication, ...]:
    shop = shop_of(space)
    with listed_in(space.dist, names, 2) as listed:
        return publish(shop, listed, registry, prefix)


def test_blobs_come_first_and_the_tag_last(built: Workspace) -> None:
    memory = MemoryRegistry()
    copied(built, ["flux"], memory, "team")
    kinds = [(line.split()[0], line.split()[1]) for line in memory.writes]
    chart, bundle = "team/charts/greeter", "team/flux"
    assert kinds == [
        *([("blob", chart)] * 2), ("tag", chart),
        *([("blob", bundle)] * 2), ("tag", bundle),
    ]  # fmt: skip


def test_another_digest_under_a_published_version_is_refused_and_both_are_named(built: Workspace, docker: str) -> None:
    for destination in ("oci-layout:registry", f"oci://{docker}/refused"):
        built.good("publish", "--to", destination)
    first = digest_of(built, "umbrella")
    change(built)
    before = picture(built.root / "registry")
    for destination in ("oci-layout:registry", f"oci://{docker}/refused"):
        done = built.run("publish", "--to", destination)
        assert done.code == 1
        assert first in done.err
        assert digest_of(built, "umbrella") in done.err
        assert "raise `version:` in bundle.yaml" in done.err
        assert built.run("publish", "--to", destination, "--dry-run").code == 1
        again = built.run("publish", "--to", destination, "--output", "json").json
        assert [one["status"] for one in again["published"]] == ["unchanged"] * 2
        assert [one["bundle"] for one in again["failures"]] == ["umbrella"]
    assert picture(built.root / "registry") == before


@pytest.mark.parametrize("kind", ["folder", "registry", "memory"])
def test_a_version_that_somebody_else_publishes_meanwhile_is_theirs(kind: str, built: Workspace, docker: str) -> None:
    kinds: dict[str, Callable[[], Registry]] = {
        "folder": lambda: LayoutRegistry(built.root / "registry"),
        "registry": lambda: OciRegistry(docker),
        "memory": MemoryRegistry,
    }
    registry = kinds[kind]()
    other = other_manifest(built)

    class Contested:
        """The same registry, in which somebody else has the version as soon as there are our blobs."""

        def __getattr__(self, name: str) -> Any:
            return getattr(registry, name)

        def put_blob(self, repository: str, blob: StoredBlob) -> None:
            registry.put_blob(repository, blob)
            if all(registry.has_blob(repository, digest) for digest in named_in(other)):
                registry.put_manifest(repository, "1.0.0", other)

    done = copied(built, ["umbrella"], cast("Registry", Contested()), "meanwhile")[0]
    assert done.published == ()
    assert isinstance(done.fault, VersionExists)
    assert f"is published already with {other.descriptor.digest}" in str(done.fault)
    assert registry.manifest("meanwhile/umbrella", "1.0.0") == other


def other_manifest(space: Workspace) -> Blob:
    """Give another manifest for the blobs of the umbrella."""
    content = (space.dist / "oci/blobs/sha256" / digest_of(space, "umbrella")[7:]).read_bytes()
    return Blob.of(IMAGE_MANIFEST, json.dumps(json.loads(content)).encode() + b"\n")


def test_a_version_that_is_taken_right_after_it_was_written_is_theirs(built: Workspace, docker: str) -> None:
    repository = "right-after/umbrella"
    other = other_manifest(built)
    ask = forward(docker)

    def app(asked: Asked) -> Answer:
        answer = ask(asked)
        if asked.method == "PUT" and asked.path == f"/v2/{repository}/manifests/1.0.0":
            length = {"content-length": str(len(other.content))}
            assert ask(asked._replace(body=other.content, headers={**asked.headers, **length})).status == 201
        return answer

    with serve(app) as server:
        done = copied(built, ["umbrella"], OciRegistry(server.address), "right-after")[0]
    assert isinstance(done.fault, VersionExists)
    assert other.descriptor.digest in str(done.fault)


def test_an_artifact_with_two_blobs_takes_eight_requests(built: Workspace, docker: str) -> None:
    with serve(forward(docker)) as server:
        copied(built, ["umbrella"], OciRegistry(server.address), "requests")
    assert [line.split()[0] for line in server.lines if line != "GET /v2/"] == [
        "HEAD", *["POST", "PUT"] * 2, "HEAD", "PUT", "HEAD",
    ]  # fmt: skip


def test_of_two_who_publish_at_once_one_is_refused(built: Workspace) -> None:
    other = built.root.with_name("other")
    shutil.copytree(built.root, other)
    change(built)
    pair = (built, replace(built, root=other))
    for number in range(2):
        folder = built.root.with_name(f"registry-{number}")
        running = [one.start("publish", "umbrella", "--to", f"oci-layout:{folder}") for one in pair]
        said = [process.communicate(timeout=60) for process in running]
        assert sorted(process.returncode for process in running) == [0, 1], said
        winner = [out.split("@")[1].split()[0] for out, _ in said if out]
        found = LayoutRegistry(folder).resolve("umbrella", "1.0.0")
        assert [found.digest if found else ""] == winner


def digest_of(space: Workspace, name: str) -> str:
    report = json.loads((space.dist / "report.json").read_text())
    bundle = next(one for one in report["bundles"] if one["name"] == name)
    return str(bundle["artifacts"][-1]["digest"])


def test_a_chart_that_changed_under_its_version_stops_its_bundle_before_anything_is_written(built: Workspace) -> None:
    built.good("publish")
    built.write({"bundles/flux/charts/greeter/values.yaml": "greeting: other\n"})
    built.bundle("flux", target="kustomize", version="1.1.0", dependencies=[local()])
    built.good("lock")
    built.good("build")
    before = picture(built.root / "registry")
    done = built.run("publish")
    assert done.code == 1
    assert "in the chart's Chart.yaml, and lock again" in done.err
    assert picture(built.root / "registry") == before


def test_equal_inputs_of_another_brolly_are_tolerated_with_a_warning(
    built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer Brolly gives other bytes for the same inputs: the description of the artifact stands for that."""
    from brolly import helm

    built.good("publish")
    first = digest_of(built, "umbrella")
    annotations = helm._annotations
    monkeypatch.setattr(helm, "_annotations", lambda *args: {**annotations(*args), "made": "by a newer Brolly"})
    built.good("build", "umbrella", "--no-cache")
    assert digest_of(built, "umbrella") != first
    done = built.good("publish", "umbrella", "--output", "json")
    assert (done.json["published"][0]["status"], done.json["published"][0]["digest"]) == ("unchanged", first)
    assert "was made from the same inputs by another Brolly" in done.err
    assert built.run("publish", "umbrella", "--strict").code == 1


def test_a_dry_run_shows_the_plan_and_writes_nothing(built: Workspace) -> None:
    assert statuses(built, "--dry-run") == {"greeter": "published", "flux": "published", "umbrella": "published"}
    assert built.good("publish", "--dry-run").out.startswith("would be published  oci-layout:registry/charts/greeter")
    assert not (built.root / "registry").exists()


@pytest.mark.parametrize(
    "path", ["bundle.yaml", "values.yaml", "overlays/one.yaml", "charts/greeter/values.yaml", "bundle.lock"]
)
def test_what_changed_since_the_build_is_not_published(path: str, built: Workspace) -> None:
    file = built.root / "bundles/umbrella" / path
    text = file.read_text() if file.exists() else ""
    built.write({f"bundles/umbrella/{path}": text + "# changed\n"})
    done = built.run("publish")
    assert done.code == 1
    assert done.err == "error: umbrella changed since it was built\n  = help: run `brolly build`\n"
    built.good("publish", "flux")


OTHER_ADDRESS = 'address = "oci://new.example/x"\n'


def test_what_was_built_for_another_address_is_not_published(built: Workspace) -> None:
    built.write({"brolly.toml": OTHER_ADDRESS})
    done = built.run("publish", "flux")
    assert done.code == 1
    assert done.err == (
        "error: flux was built for oci://registry.example/bundles, brolly.toml says oci://new.example/x\n"
        "  = help: run `brolly build`\n"
    )
    built.good("build")
    built.good("publish", "--dry-run")
    built.write({"brolly.toml": ""})
    assert "flux was built for oci://new.example/x, brolly.toml has no address" in built.run("publish").err


def test_an_address_that_was_given_to_the_build_of_a_bundle_holds_for_it_alone(built: Workspace) -> None:
    built.good("build", "flux", "--address", "oci://given.example/x")
    built.good("publish", "--dry-run")
    built.write({"brolly.toml": OTHER_ADDRESS})
    built.good("publish", "flux")
    assert "umbrella was built for" in built.run("publish").err


def test_who_said_the_address_is_known_of_what_the_cache_brings_back(built: Workspace) -> None:
    built.good("build", "--address", "oci://registry.example/bundles")
    built.write({"brolly.toml": OTHER_ADDRESS})
    built.good("publish", "--dry-run")
    built.write({"brolly.toml": 'address = "oci://registry.example/bundles"\n'})
    built.good("build")
    built.write({"brolly.toml": OTHER_ADDRESS})
    assert built.run("publish", "--dry-run").code == 1


def test_a_time_that_was_given_to_the_build_holds_for_the_publication(built: Workspace) -> None:
    built.environ["SOURCE_DATE_EPOCH"] = "86400"
    done = built.run("publish", "flux")
    assert done.code == 1
    assert "flux was built with SOURCE_DATE_EPOCH=0, it is 86400 now" in done.err
    built.good("build", "flux")
    built.good("publish", "flux")
    del built.environ["SOURCE_DATE_EPOCH"]
    built.good("publish")


@pytest.mark.parametrize("reach", ["charts/greeter", "../umbrella/charts/greeter"], ids=["inside", "outside"])
def test_what_a_build_refuses_now_is_not_published(built: Workspace, reach: str) -> None:
    built.bundle("flux", target="kustomize", dependencies=[local(repository=f"file://{reach}")])
    built.good("lock")
    built.good("build")
    built.good("publish", "--dry-run")
    (built.root / "bundles/flux/x").symlink_to("/nonexist")
    done = built.run("publish", "--dry-run")
    assert done.code == 1
    assert done.err == "error: flux has faults now\n  = help: run `brolly check`\n"
    assert "bundle/link" in built.run("check", "flux").err
    built.write({"bundles/umbrella/values.yaml": "changed: now\n"})
    assert (
        "flux has faults now; umbrella changed since it was built\n  = help: run `brolly check`"
        in built.run("publish", "--dry-run").err
    )


def test_what_was_never_built_or_failed_is_not_published(built: Workspace) -> None:
    built.bundle("new", local_chart(), dependencies=[local()])
    assert "new was not built yet" in built.run("publish").err
    built.write({"bundles/flux/values.yaml": "greeter: 1\n"})
    built.run("build")
    done = built.run("publish")
    assert done.code == 1
    assert "the last build of flux failed" in done.err
    shutil.rmtree(built.dist)
    assert built.run("publish").err == "error: nothing was built yet\n  = help: run `brolly build`\n"


def test_another_brolly_builds_anew(built: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "__version__", "99.0.0")
    done = built.run("publish", "flux")
    assert done.code == 1
    assert "this is 99.0.0" in done.err


def test_a_damaged_dist_is_refused_before_anything_is_written(built: Workspace) -> None:
    for blob in sorted((built.dist / "oci/blobs/sha256").iterdir()):
        kept = blob.read_bytes()
        blob.write_bytes(kept[:-1] + b"!")
        done = built.run("publish")
        assert done.code == 3
        assert "is damaged" in done.err
        assert "brolly build" in done.err
        blob.unlink()
        assert "lacks the blob" in built.run("publish").err
        blob.write_bytes(kept)
    assert not (built.root / "registry").exists()


def test_a_damaged_dist_leaves_nothing_in_a_registry(built: Workspace, docker: str) -> None:
    """Uploads begin while dist/ is still hashed, and none of them ends."""
    digests = [path.name for path in sorted((built.dist / "oci/blobs/sha256").iterdir())]
    for number, name in enumerate(digests):
        blob, prefix = built.dist / "oci/blobs/sha256" / name, f"damaged-{number}"
        kept = blob.read_bytes()
        blob.write_bytes(kept[:-1] + b"!")
        done = built.run("publish", "--to", f"oci://{docker}/{prefix}")
        assert done.code == 3
        assert done.err.count("is damaged") == 1
        blob.write_bytes(kept)
        registry = OciRegistry(docker)
        for repository in (f"{prefix}/charts/greeter", f"{prefix}/flux", f"{prefix}/umbrella"):
            assert registry.tags(repository) == ()
            assert not any(registry.has_blob(repository, f"sha256:{digest}") for digest in digests)


def test_a_blob_of_many_blocks_is_published_and_its_damage_is_found(built: Workspace, docker: str) -> None:
    layer = random.Random(0).randbytes(3_000_000)
    path = enlarge(built, layer)
    path.write_bytes(layer[:-1] + bytes([layer[-1] ^ 1]))
    done = built.run("publish", "umbrella", "--to", f"oci://{docker}/blocks")
    assert (done.code, "is damaged" in done.err) == (3, True)
    assert not OciRegistry(docker).has_blob("blocks/umbrella", f"sha256:{path.name}")
    path.write_bytes(layer)
    built.good("publish", "umbrella", "--to", f"oci://{docker}/blocks")
    described = Descriptor(media_type="", digest=f"sha256:{path.name}", size=len(layer))
    assert OciRegistry(docker).blob("blocks/umbrella", described, max_size=len(layer)) == layer


def enlarge(space: Workspace, layer: bytes) -> Path:
    """Put another layer into the umbrella that was built; give its file."""
    blobs, report = space.dist / "oci/blobs/sha256", json.loads((space.dist / "report.json").read_bytes())
    artifact = next(bundle["artifacts"][0] for bundle in report["bundles"] if bundle["name"] == "umbrella")
    manifest = json.loads((blobs / artifact["digest"][7:]).read_bytes())
    manifest["layers"][0] |= {"digest": Digest.of(layer), "size": len(layer)}
    content = json.dumps(manifest).encode()
    artifact["digest"] = Digest.of(content)
    (blobs / artifact["digest"][7:]).write_bytes(content)
    (space.dist / "report.json").write_text(json.dumps(report))
    return blobs / Digest.of(layer).hex


@pytest.fixture
def sharing(space: Workspace) -> Workspace:
    """Give a workspace with two Flux bundles that have the same chart, built."""
    for name in ("one", "two"):
        space.bundle(name, local_chart(), target="kustomize", dependencies=[local()])
    space.good("lock")
    space.good("build")
    return space


def test_a_chart_of_several_bundles_is_published_once_and_before_them(sharing: Workspace) -> None:
    memory = MemoryRegistry()
    done = copied(sharing, ["one", "two"], memory, "")
    assert [[one.status for one in publication.published] for publication in done] == [
        ["published", "published"],
        ["unchanged", "published"],
    ]
    assert memory.writes.count("tag charts/greeter 1.0.0") == 1
    assert memory.writes.index("tag charts/greeter 1.0.0") < min(map(memory.writes.index, bundle_writes(memory)))
    again = copied(sharing, ["one", "two"], memory, "")
    assert {one.status for publication in again for one in publication.published} == {"unchanged"}


def bundle_writes(memory: MemoryRegistry) -> list[str]:
    return [line for line in memory.writes if line.split()[1] in {"one", "two"}]


def test_two_charts_of_one_version_in_one_run_are_refused_as_in_two(sharing: Workspace) -> None:
    sharing.write({"bundles/two/charts/greeter/values.yaml": "greeting: other\n"})
    sharing.good("lock")
    sharing.good("build")
    memory = MemoryRegistry()
    one, two = copied(sharing, ["one", "two"], memory, "")
    assert [artifact.status for artifact in one.published] == ["published"] * 2
    assert two.published == ()
    assert isinstance(two.fault, VersionExists)
    assert memory.tags("two") == ()
    first = memory.resolve("charts/greeter", "1.0.0")
    assert first
    assert first.digest == one.published[0].digest


def test_a_bundle_whose_chart_cannot_be_written_is_not_published(sharing: Workspace) -> None:
    class Full(MemoryRegistry):
        def put_manifest(self, repository: str, reference: str, manifest: Blob, *, only_new: bool = False) -> None:
            if repository.startswith("charts/"):
                raise RegistryRefused("no room")
            super().put_manifest(repository, reference, manifest, only_new=only_new)

    memory = Full()
    done = copied(sharing, ["one", "two"], memory, "")
    assert [str(publication.fault) for publication in done] == ["no room"] * 2
    assert [publication.published for publication in done] == [(), ()]
    assert bundle_writes(memory) == []


def test_a_damaged_registry_in_a_folder_is_repaired_by_publishing_again(built: Workspace) -> None:
    built.good("publish")
    blobs = [path for path in (built.root / "registry").rglob("sha256/*") if path.is_file()]
    good = picture(built.root / "registry")
    max(blobs, key=lambda path: path.stat().st_size).write_bytes(b"damaged")
    built.good("publish")
    assert picture(built.root / "registry") == good


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"damaged")], ids=["lost", "damaged"])
def test_the_manifests_of_a_registry_in_a_folder_are_repaired_too(
    built: Workspace, damage: Callable[[Path], Any]
) -> None:
    built.good("publish")
    good = picture(built.root / "registry")
    for path in manifests_in(built.root / "registry"):
        damage(path)
    built.good("publish")
    assert picture(built.root / "registry") == good


def manifests_in(registry: Path) -> list[Path]:
    indexes = {path: json.loads(path.read_bytes()) for path in registry.rglob("index.json")}
    named = [(path.parent, entry["digest"][7:]) for path, index in indexes.items() for entry in index["manifests"]]
    return [folder / "blobs/sha256" / name for folder, name in named]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"damaged")], ids=["lost", "damaged"])
def test_a_version_whose_manifest_is_lost_is_still_taken(built: Workspace, damage: Callable[[Path], Any]) -> None:
    built.good("publish")
    first = digest_of(built, "umbrella")
    change(built)
    damage(built.root / "registry/umbrella/blobs/sha256" / first[7:])
    done = built.run("publish", "umbrella")
    assert done.code == 1
    assert f"is published already with {first}, which is lost or damaged" in done.err
    assert "raise `version:` in bundle.yaml" in done.err


@pytest.mark.parametrize("name", ["blobs", "oci-layout"])
def test_a_name_that_a_folder_has_itself_is_refused_and_the_other_bundles_go_on(name: str, built: Workspace) -> None:
    built.bundle(name, local_chart(), dependencies=[local()])
    built.bundle("mine", local_chart(name), target="kustomize", dependencies=[local(name)])
    built.good("lock")
    built.good("build")
    done = built.run("publish", "--output", "json")
    assert done.code == 3
    assert {one["bundle"] for one in done.json["failures"]} == {name, "mine"}
    assert {one["repository"].rpartition("/")[2] for one in done.json["published"]} == {"greeter", "flux", "umbrella"}
    said = built.run("publish", name).err
    assert said == (
        f"error: {name}: a registry in a folder has files of this name of its own: '{name}'\n"
        "  = help: choose another name, or publish to an oci:// registry\n"
    )


def test_a_registry_that_wants_a_login_says_so_and_takes_the_one_that_docker_stored(built: Workspace) -> None:
    with htpasswd_registry() as address:
        done = built.run("publish", "--to", f"oci://{address}/team")
        assert done.code == 3
        assert address in done.err
        assert "= help:" in done.err
        login = {"auths": {address: {"auth": "cHVzaGVyOnMzY3JldDpwYXNz"}}}
        built.write({"../work-home/.docker/config.json": json.dumps(login)})
        built.good("publish", "--to", f"oci://{address}/team")


def test_a_destination_comes_from_the_configuration_or_the_environment(built: Workspace, docker: str) -> None:
    built.environ["BROLLY_TO"] = f"oci://{docker}/environment"
    assert f"oci://{docker}/environment/flux:1.0.0" in built.good("publish").out
    config = f'address = "oci://registry.example/bundles"\npublish = "oci://{docker}/configured"\n'
    del built.environ["BROLLY_TO"]
    built.write({"brolly.toml": config})
    assert f"oci://{docker}/configured/flux:1.0.0" in built.good("publish").out


# --- this repository's bundles, read by others


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, docker: str) -> tuple[Path, str]:
    """Publish this repository's bundles, built once, to a folder and to docker-registry."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(BUNDLES, root / "bundles")
    (root / "brolly.toml").write_text(f'address = "oci://{docker}/brolly"\n')
    program = [sys.executable, "-m", "brolly"]
    environ = {**os.environ, "HOME": str(root / "home"), "BROLLY_CACHE": str(root / "cache")}
    for command in (["lock", "--check"], ["build"], ["publish"], ["publish", "--to", f"oci://{docker}/brolly"]):
        subprocess.run([*program, *command], cwd=root, env=environ, check=True, capture_output=True)
    return root, docker


def run(name: str, *arguments: str | Path, cwd: Path) -> str:
    """Run one of the others' programs, with a home of its own."""
    done = subprocess.run(
        [peer(name), *arguments], cwd=cwd, env={**os.environ, "HOME": str(cwd)}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("place", ["folder", "registry"])
def test_oras_pulls_hello_world_and_kustomize_and_kubectl_build_it(
    place: str, published: tuple[Path, str], tmp_path: Path
) -> None:
    root, address = published
    if place == "folder":
        pull = ["--oci-layout", f"{root}/registry/hello-world:0.0.8"]
    else:
        pull = ["--plain-http", f"{address}/brolly/hello-world:0.0.8"]
    run("oras", "pull", *pull, "--output", "pulled", cwd=tmp_path)
    manifest = json.loads(run("oras", "manifest", "fetch", *pull, cwd=tmp_path))
    layer = manifest["layers"][0]["digest"]
    fetch = pull[-1].rpartition(":")[0]
    run("oras", "blob", "fetch", *pull[:-1], f"{fetch}@{layer}", "--output", "layer.tgz", cwd=tmp_path)
    with tarfile.open(tmp_path / "layer.tgz") as tar:
        tar.extractall(tmp_path / "bundle", filter="data")
    built = run("kustomize", "build", "bundle", cwd=tmp_path)
    assert built.count("kind: HelmRelease") == 2
    assert f"url: oci://{address}/brolly/charts/greeter" in built
    assert run("kubectl", "kustomize", "bundle", cwd=tmp_path) == built


_PULL = """
import sys
import helm_python
helm_python.pull(sys.argv[1], version=sys.argv[2], destination=sys.argv[3], plain_http=True)
"""


def test_storefront_is_pulled_by_helms_own_client_byte_for_byte(published: tuple[Path, str], tmp_path: Path) -> None:
    if not Engine.available():
        pytest.skip("needs Helm's engine: pip install 'brolly[helm]'")
    root, address = published
    # in a process of its own: Go's threads do not survive a fork of this one
    subprocess.run(
        [sys.executable, "-c", _PULL, f"oci://{address}/brolly/storefront", "0.1.0", tmp_path],
        env={**os.environ, "HOME": str(tmp_path)}, check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "storefront-0.1.0.tgz").read_bytes() == (root / "dist/storefront-0.1.0.tgz").read_bytes()
