"""The bundles of this repository are good charts, and say what they claim to: Helm's own engine judges them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUNDLES: Final = Path(__file__).parent.parent / "bundles"
STOREFRONT: Final = BUNDLES / "storefront"
HELLO: Final = BUNDLES / "hello-world"
DEFINITIONS: Final = [pytest.param(path, id=path.name) for path in (HELLO, STOREFRONT)]
CHARTS: Final = [pytest.param(path, id=path.name) for path in sorted(BUNDLES.glob("*/charts/*"))]
OVERLAYS: Final = [
    pytest.param(path, id=f"{path.parent.parent.name}-{path.stem}")
    for path in sorted(BUNDLES.glob("*/overlays/*.yaml"))
]
LONGEST_NAME: Final = "a" * 53
KUSTOMIZE_ONLY: Final = {"targetNamespace", "dependsOn", "release"}
EU: Final = STOREFRONT / "overlays" / "eu-production.yaml"
DEMO: Final = STOREFRONT / "overlays" / "demo.yaml"

Object = dict[str, Any]


@pytest.fixture(scope="module")
def engine() -> Any:
    return pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")


@pytest.fixture(scope="module")
def umbrellas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Assemble each bundle by hand into a chart, as an author without Brolly would."""
    return {bundle.name: assemble(bundle, tmp_path_factory.mktemp(bundle.name)) for bundle in (HELLO, STOREFRONT)}


@pytest.fixture(scope="module")
def shop(umbrellas: dict[str, Path]) -> Path:
    return umbrellas["storefront"]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def assemble(bundle: Path, folder: Path) -> Path:
    definition = read(bundle / "bundle.yaml")
    metadata = {key: value for key, value in definition.items() if key not in {"target", "limits", "embedSchema"}}
    dependencies = [
        {key: value for key, value in dependency.items() if key not in KUSTOMIZE_ONLY}
        | {"repository": "", "version": version_of(bundle, dependency)}
        for dependency in definition["dependencies"]
    ]
    metadata |= {"apiVersion": "v2", "type": "application", "dependencies": dependencies}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(metadata))
    for name in ("values.yaml", "values.schema.json"):
        shutil.copy(bundle / name, folder)
    shutil.copytree(bundle / "charts", folder / "charts")
    (folder / "templates").mkdir()
    for template in bundle.glob("templates/*"):
        shutil.copy(template, folder / "templates")
    (folder / "templates" / "NOTES.txt").touch()  # strict lint wants a template
    return folder


def version_of(bundle: Path, dependency: Mapping[str, Any]) -> str:
    return str(read(bundle / "charts" / dependency["name"] / "Chart.yaml")["version"])


def key_of(dependency: Mapping[str, Any]) -> str:
    return str(dependency.get("alias", dependency["name"]))


def render(engine: Any, chart: Path, values: Any = None, name: str = "shop") -> list[Object]:
    """Render with a handle of its own (a render changes it) and read the objects."""
    rendered = engine.Chart.load(chart).render(values, name=name, namespace="market")
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def identity(item: Object) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def named(objects: list[Object], kind: str, name: str) -> Object:
    return next(item for item in objects if identity(item) == (kind, name))


def names(objects: list[Object], kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in objects if item["kind"] == kind}


def workloads(objects: list[Object]) -> list[Object]:
    return [item for item in objects if item["kind"] in {"Deployment", "StatefulSet", "Job"}]


def walk(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, (dict, list)):
        for child in value.values() if isinstance(value, dict) else value:
            yield from walk(child)


def refusal(engine: Any, chart: Path, values: Any) -> str:
    # not `validate_schema`: it validates before aliases and conditions are applied, and misses an aliased chart
    with pytest.raises(engine.HelmValuesError) as refused:
        engine.Chart.load(chart).render(values)
    return str(refused.value)


# --- each chart alone


@pytest.mark.parametrize("chart", CHARTS)
def test_a_local_chart_passes_strict_lint(engine: Any, chart: Path) -> None:
    report = engine.lint(chart, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] >= 1] == []


@pytest.mark.parametrize("chart", CHARTS)
def test_a_local_chart_renders_alone_into_named_objects(engine: Any, chart: Path) -> None:
    objects = render(engine, chart)
    assert all(item["apiVersion"] and item["kind"] and item["metadata"]["name"] for item in objects)
    assert {"ConfigMap", "Service", "ServiceAccount", "PodDisruptionBudget"} <= {item["kind"] for item in objects}
    assert max(Counter(map(identity, objects)).values()) == 1


@pytest.mark.parametrize("chart", CHARTS)
def test_a_values_schema_describes_every_value_and_leaves_room_for_globals(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    assert set(schema["properties"]) == set(read(chart / "values.yaml"))
    assert len(schema["properties"]) >= 15
    assert schema["properties"]["global"].get("additionalProperties") is not False


@pytest.mark.parametrize("chart", CHARTS)
def test_pods_are_restricted_and_bounded(engine: Any, chart: Path) -> None:
    for workload in workloads(render(engine, chart)):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])


def test_both_drafts_of_json_schema_are_in_use() -> None:
    drafts = {json.loads(path.read_text())["$schema"] for path in BUNDLES.glob("*/charts/*/values.schema.json")}
    assert drafts == {"http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"}


# --- the definitions


@pytest.mark.parametrize("bundle", DEFINITIONS)
def test_a_definition_names_its_folder_its_schema_and_charts_that_are_there(bundle: Path) -> None:
    text = (bundle / "bundle.yaml").read_text()
    definition = yaml.safe_load(text)
    assert text.startswith("# yaml-language-server: $schema=../../schemas/bundle.schema.json\n")
    assert (definition["apiVersion"], definition["name"]) == ("brolly/v1alpha1", bundle.name)
    for dependency in definition["dependencies"]:
        chart = bundle / dependency["repository"].removeprefix("file://")
        assert read(chart / "Chart.yaml")["name"] == dependency["name"] == chart.name


@pytest.mark.parametrize("bundle", DEFINITIONS)
def test_a_readme_is_short(bundle: Path) -> None:
    assert 0 < len((bundle / "README.md").read_bytes()) < 2048


@pytest.mark.parametrize("bundle", DEFINITIONS)
def test_values_are_keyed_by_dependency_and_known_to_its_chart(bundle: Path) -> None:
    charts = {key_of(dep): bundle / "charts" / dep["name"] for dep in read(bundle / "bundle.yaml")["dependencies"]}
    own = set(json.loads((bundle / "values.schema.json").read_text())["properties"])
    for path in (bundle / "values.yaml", *bundle.glob("overlays/*.yaml")):
        for key, values in read(path).items():
            known = set(read(charts[key] / "values.yaml")) if key in charts else set(values) if key in own else set()
            assert set(values) <= known, f"{path.name}: {key}"


@pytest.mark.parametrize("path", sorted(BUNDLES.glob("*/values.yaml")) + sorted(BUNDLES.glob("*/overlays/*.yaml")))
def test_no_value_is_null_since_an_umbrella_would_keep_the_default(path: Path) -> None:
    assert None not in list(walk(read(path)))


# --- the umbrellas


@pytest.mark.parametrize("bundle", DEFINITIONS)
def test_an_umbrella_passes_strict_lint(engine: Any, umbrellas: dict[str, Path], bundle: Path) -> None:
    report = engine.lint(umbrellas[bundle.name], strict=True, with_subcharts=True)
    assert report["errors"] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_passes_the_schemas_lints_and_renders(
    engine: Any, umbrellas: dict[str, Path], overlay: Path
) -> None:
    umbrella, values = umbrellas[overlay.parent.parent.name], read(overlay)
    assert engine.lint(umbrella, values, strict=True)["errors"] == []
    objects = render(engine, umbrella, values)
    assert all(item["apiVersion"] and item["kind"] and item["metadata"]["name"] for item in objects)
    assert max(Counter(map(identity, objects)).values()) == 1


@pytest.mark.parametrize("values", [{}, read(EU), read(DEMO)], ids=["defaults", "eu-production", "demo"])
def test_every_reference_between_objects_is_kept(engine: Any, shop: Path, values: Any) -> None:
    objects = render(engine, shop, values)
    here = set(map(identity, objects))
    wanted = set()
    for workload in workloads(objects):
        pod = workload["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes | claims
            wanted |= {("ConfigMap", source["configMapRef"]["name"]) for source in container.get("envFrom", [])}
        wanted |= {("ConfigMap", vol["configMap"]["name"]) for vol in pod.get("volumes", []) if "configMap" in vol}
        wanted |= {("ServiceAccount", pod["serviceAccountName"])} if "serviceAccountName" in pod else set()
    assert wanted
    assert wanted <= here


@pytest.mark.parametrize("name", ["shop", LONGEST_NAME], ids=["short", "longest"])
def test_each_service_selects_the_pods_of_one_workload(engine: Any, shop: Path, name: str) -> None:
    objects = render(engine, shop, name=name)
    pods = [(identity(item), item["spec"]["template"]["metadata"]["labels"].items()) for item in workloads(objects)]
    pods += [(identity(item), item["metadata"]["labels"].items()) for item in objects if item["kind"] == "Pod"]
    for service in (item for item in objects if item["kind"] == "Service"):
        selected = [owner for owner, labels in pods if service["spec"]["selector"].items() <= labels]
        assert len(selected) == 1, identity(service)


def test_names_stay_distinct_and_legal_under_the_longest_release_name(engine: Any, shop: Path) -> None:
    objects = render(engine, shop, name=LONGEST_NAME)
    assert max(Counter(map(identity, objects)).values()) == 1
    limits = {"Service": 63, "Job": 63, "CronJob": 52, "StatefulSet": 52, "Pod": 63}
    assert [identity(item) for item in objects if len(item["metadata"]["name"]) > limits.get(item["kind"], 253)] == []


def test_services_are_found_where_their_callers_look(engine: Any, shop: Path) -> None:
    objects = render(engine, shop, name=LONGEST_NAME)
    hosts = names(objects, "Service")
    settings = named(objects, "ConfigMap", f"{LONGEST_NAME}-checkout")["data"]
    called = {url.split("//")[1].split(":")[0] for key, url in settings.items() if key.endswith("_URL")}
    assert len(called) == 3
    assert called <= hosts
    assert named(objects, "ConfigMap", f"{LONGEST_NAME}-cart")["data"]["REDIS_HOST"] in hosts


def test_one_chart_is_installed_twice_under_two_aliases(engine: Any, shop: Path) -> None:
    objects = render(engine, shop)
    deployments = names(objects, "Deployment")
    assert {"shop-worker-email", "shop-worker-thumbnails"} <= deployments
    assert "shop-worker" not in deployments
    taken = {
        alias: named(objects, "ConfigMap", f"shop-{alias}")["data"] for alias in ("worker-email", "worker-thumbnails")
    }
    assert taken["worker-email"]["HANDLER"] == "email"
    assert taken["worker-thumbnails"]["THUMBNAIL_WIDTHS"] == "160,480,960,1920"


def test_a_condition_leaves_the_cache_out(engine: Any, shop: Path) -> None:
    without = {"cache": {"enabled": False}, "cart": {"session": {"store": "memory"}, "replicaCount": 1}}
    assert names(render(engine, shop), "StatefulSet") == {"shop-cache"}
    assert names(render(engine, shop, without), "StatefulSet") == set()


@pytest.mark.parametrize(
    ("tag", "deployment"), [("media", "shop-worker-thumbnails"), ("personalisation", "shop-recommendations")]
)
def test_a_tag_leaves_its_charts_out_and_no_other(engine: Any, shop: Path, tag: str, deployment: str) -> None:
    everything = names(render(engine, shop), "Deployment")
    assert everything - names(render(engine, shop, {"tags": {tag: False}}), "Deployment") == {deployment}


def test_imported_values_reach_the_bundles_own_templates(engine: Any, shop: Path) -> None:
    objects = render(engine, shop)
    assert named(objects, "ConfigMap", "shop-endpoints")["data"]["sessions"] == "shop-cache.market.svc:6379"
    egress = named(objects, "NetworkPolicy", "shop-payments-egress")["spec"]["egress"]
    assert [to["ipBlock"]["cidr"] for to in egress[-1]["to"]] == ["203.0.113.0/24", "198.51.100.0/24"]


def test_what_the_cache_exports_goes_with_it(engine: Any, shop: Path) -> None:
    objects = render(engine, shop, read(DEMO) | {"networkPolicy": {"enabled": True}})
    assert "sessions" not in named(objects, "ConfigMap", "shop-endpoints")["data"]
    assert names(objects, "NetworkPolicy") == {"shop-inside", "shop-edge", "shop-payments-egress"}


def test_globals_reach_every_chart(engine: Any, shop: Path) -> None:
    objects = render(engine, shop, read(EU))
    images = {item["image"] for item in walk(objects) if isinstance(item, dict) and isinstance(item.get("image"), str)}
    assert len(images) == 9
    assert {image.split("/")[0] for image in images} == {"mirror.eu.storefront.example:5000"}
    hosts = {rule["host"] for item in objects if item["kind"] == "Ingress" for rule in item["spec"]["rules"]}
    assert hosts == {"shop.eu.storefront.example", "payments.eu.storefront.example"}


def test_the_database_is_migrated_before_the_pods_change(engine: Any, shop: Path) -> None:
    job = named(render(engine, shop), "Job", "shop-catalog-migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    # a hook that runs first can use nothing of the release
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]
    assert "envFrom" not in job["spec"]["template"]["spec"]["containers"][0]


def test_every_warehouse_fits_its_custom_resource_definition(engine: Any, shop: Path) -> None:
    crd = read(STOREFRONT / "charts" / "inventory" / "crds" / "warehouses.yaml")
    (version,) = crd["spec"]["versions"]
    warehouses = [item for item in render(engine, shop, read(EU)) if item["kind"] == crd["spec"]["names"]["kind"]]
    assert len(warehouses) == 4
    for warehouse in warehouses:
        assert warehouse["apiVersion"] == f"{crd['spec']['group']}/{version['name']}"
        jsonschema.validate(warehouse["spec"], version["schema"]["openAPIV3Schema"]["properties"]["spec"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gateway": {"rateLimit": {"requestsPerSecond": "many"}}}, "requestsPerSecond"),
        ({"worker-email": {"queue": {"concurency": 8}}}, "concurency"),
        ({"worker-thumbnails": {"thumbnails": {"format": "gif"}}}, "format"),
        ({"catalog": {"search": {"engine": "opensearch"}}}, "url"),
        ({"cart": {"session": {"store": "memory"}, "replicaCount": 2}}, "replicaCount"),
        ({"payments": {"providers": {"acquirer": {"credentials": {"vaultPath": "secret/data/a"}}}}}, "credentials"),
        ({"inventory": {"warehouses": {"main": {"cutoff": "25:00"}}}}, "cutoff"),
        ({"cache": {"maxMemory": "256Mi"}}, "maxMemory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_value_is_refused_by_the_charts_schema(engine: Any, shop: Path, values: Any, said: str) -> None:
    assert said in refusal(engine, shop, values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"global": {"domain": "shop.storefront.example"}}, "domain"),
        ({"networkPolicy": {"ingresNamespace": "ingress"}}, "ingresNamespace"),
        ({"worker-email": {"handler": "reports"}}, "handler"),
        ({"global": {"environment": "production"}}, "tls"),
        ({"cache": {"enabled": False}}, "store"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_between_charts_is_kept_by_the_authors_schema(engine: Any, shop: Path, values: Any, said: str) -> None:
    assert said in refusal(engine, shop, values)


# --- the two greeters


def greetings(objects: list[Object]) -> list[str]:
    return [item["data"]["PODINFO_UI_MESSAGE"] for item in objects if item["kind"] == "ConfigMap"]


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        (None, ["Hello, world!", "Hi, world."]),
        (HELLO / "overlays" / "two-languages.yaml", ["Hello, Brolly!", "Servus, Brolly!"]),
    ],
    ids=["defaults", "two-languages"],
)
def test_two_greeters_share_an_audience_and_greet_it_each_in_its_own_way(
    engine: Any, umbrellas: dict[str, Path], overlay: Path | None, expected: list[str]
) -> None:
    objects = render(engine, umbrellas["hello-world"], read(overlay) if overlay else {})
    assert greetings(objects) == expected


@pytest.mark.parametrize(("alias", "expected"), [("hello-1", "Hello, Brolly!"), ("hello-2", "Servus, Brolly!")])
def test_a_greeter_takes_the_same_values_as_a_release_of_its_own(engine: Any, alias: str, expected: str) -> None:
    defaults, overlay = read(HELLO / "values.yaml"), read(HELLO / "overlays" / "two-languages.yaml")
    greeting = defaults[alias]["greeting"] | overlay[alias].get("greeting", {})
    values = {"global": defaults["global"] | overlay["global"]} | overlay[alias] | {"greeting": greeting}
    assert greetings(render(engine, HELLO / "charts" / "greeter", values, name=alias)) == [expected]


@pytest.mark.parametrize(
    "values", [{"hello-2": {"color": "blue"}}, {"hello-2": {"colour": "#000000"}}, {"global": {"audience": ""}}]
)
def test_a_wrong_value_of_a_greeter_is_refused(engine: Any, umbrellas: dict[str, Path], values: Any) -> None:
    assert refusal(engine, umbrellas["hello-world"], values)


def test_the_audience_is_set_once(engine: Any, umbrellas: dict[str, Path]) -> None:
    assert "audience" in refusal(engine, umbrellas["hello-world"], {"hello-1": {"greeting": {"audience": "you"}}})


def test_a_patch_is_one_item_of_kustomize_and_meets_a_release() -> None:
    releases = {key_of(dependency) for dependency in read(HELLO / "bundle.yaml")["dependencies"]}
    patches = [read(path) for path in HELLO.glob("patches/*.yaml")]
    assert patches
    for patch in patches:
        assert patch["target"]["name"] in releases
        assert [operation["op"] for operation in yaml.safe_load(patch["patch"])] == ["add"]


def test_resources_are_objects_and_leave_namespaces_to_the_operator() -> None:
    resources = [item for path in HELLO.glob("resources/*.yaml") for item in yaml.safe_load_all(path.read_text())]
    assert resources
    for item in resources:
        assert item["apiVersion"]
        # Flux's Kustomization renames a Namespace, and moves everything else, when it has a targetNamespace
        assert item["kind"] != "Namespace"
        assert "namespace" not in item["metadata"]
        assert all(json.loads(text) for name, text in item["data"].items() if name.endswith(".json"))
