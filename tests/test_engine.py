"""Helm's engine answers, and what a hostile chart does to it stays in its process."""

from __future__ import annotations

import contextlib
import http.server
import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from brolly.archive import Entry, stored_gzip, write_tar
from brolly.engine import Engine, EngineUnavailable
from brolly.engine_worker import Answer, Request
from brolly.engines import Engines
from brolly.errors import UsageError, WorldError
from brolly.rendering import CrdFile, EngineFailure, LintReport, Rendering, SchemaViolation, TemplatePlace
from workspaces import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: {{ .Values.a | quote }}}\n"
# renders for years, and gives the collector nothing to do
ENDLESS = "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}"


def chart(name: str = "demo", folder: str = "") -> dict[str, str]:
    return {f"{folder}Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 1.0.0\nicon: https://x.example/icon.svg\n"}


def package(files: dict[str, str]) -> bytes:
    return stored_gzip(write_tar(Entry(f"demo/{path}", text.encode()) for path, text in files.items()))


def with_template(template: str, **values: str) -> bytes:
    written = "".join(f"{key}: {text}\n" for key, text in values.items())
    return package(chart() | {"templates/a.yaml": template, "values.yaml": written})


GOOD = with_template(CONFIG_MAP, a="one")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    yield from started()


@pytest.fixture(scope="module")
def hurried() -> Iterator[Engine]:
    """Start an engine that soon loses patience, and cannot take much."""
    yield from started(timeout=1, memory=3 << 30)


def started(**limits: Any) -> Iterator[Engine]:
    if not Engine.available():
        pytest.skip("needs Helm's engine: pip install 'brolly[helm]'")
    with Engine(**limits) as engine:
        # loading the library is no part of any test's time
        assert engine.version.startswith("v4.")
        yield engine


def failed(answer: object) -> EngineFailure:
    assert isinstance(answer, EngineFailure), answer
    return answer


def still_works(engine: Engine) -> bool:
    return isinstance(engine.render(GOOD, {}, name="after"), Rendering)


def test_a_chart_renders_with_its_values_name_and_namespace(engine: Engine) -> None:
    packed = with_template("kind: A\nb: {{ .Release.Name }}/{{ .Release.Namespace }}/{{ .Values.a }}", a="default")
    rendered = engine.render(packed, {"a": "given"}, name="rel", namespace="ns")
    assert isinstance(rendered, Rendering)
    assert [manifest.content for manifest in rendered.manifests] == ["kind: A\nb: rel/ns/given"]


def test_crd_files_are_those_of_enabled_subcharts_parents_first(engine: Engine) -> None:
    files = chart() | {"crds/z.yaml": "top", "crds/a.yaml": "top a", "values.yaml": "disabled: {enabled: false}"}
    files["Chart.yaml"] += "dependencies:\n"
    for name in ("two", "one", "disabled"):
        files["Chart.yaml"] += f"- {{name: {name}, version: 1.0.0, condition: {name}.enabled}}\n"
        files |= chart(name, f"charts/{name}/") | {f"charts/{name}/crds/c.yaml": name}
    rendered = engine.render(package(files), {}, name="rel")
    assert isinstance(rendered, Rendering)
    assert set(rendered.crds[:2]) == {CrdFile("demo/crds/z.yaml", "top"), CrdFile("demo/crds/a.yaml", "top a")}
    assert rendered.crds[2:] == (
        CrdFile("demo/charts/one/crds/c.yaml", "one"),
        CrdFile("demo/charts/two/crds/c.yaml", "two"),
    )


def test_values_are_merged_as_helm_merges_them(engine: Engine) -> None:
    files = chart() | {"values.yaml": "a: 1\nb: {c: 2, d: 3}", "charts/sub/values.yaml": "x: 1\nz: 2"}
    files |= chart("sub", "charts/sub/")
    merged = engine.values(package(files), {"b": {"c": None, "e": 12345678901}, "sub": {"x": "given"}})
    assert merged == {"a": 1, "b": {"d": 3, "e": 12345678901}, "sub": {"global": {}, "x": "given", "z": 2}}


def test_one_render_does_not_change_the_next(engine: Engine) -> None:
    files = chart() | {"templates/a.yaml": "kind: Parent", "charts/sub/templates/b.yaml": "kind: Child"}
    files["Chart.yaml"] += "dependencies: [{name: sub, version: 1.0.0, condition: sub.enabled}]"
    files |= chart("sub", "charts/sub/")
    off, on = (engine.render(package(files), {"sub": {"enabled": on}}, name="rel") for on in (False, True))
    assert isinstance(off, Rendering)
    assert isinstance(on, Rendering)
    assert len(off.manifests) == 1
    assert len(on.manifests) == 2


def test_lint_renders_the_templates_of_a_package(engine: Engine) -> None:
    report = engine.lint(with_template("a: {{ .Values.a.b.c }}", a="text"), {})
    assert isinstance(report, LintReport)
    assert not report.passes
    assert [(said.level, said.path) for said in report.messages] == [("error", "templates/")]


def test_lint_fails_for_a_warning_only_when_it_is_strict(engine: Engine) -> None:
    packed = with_template("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_Valid}")
    strict, lax = engine.lint(packed, {}), engine.lint(packed, {}, strict=False)
    assert isinstance(strict, LintReport)
    assert isinstance(lax, LintReport)
    assert (strict.passes, lax.passes) == (False, True)
    assert strict.messages == lax.messages
    assert lax.messages[0].level == "warning"


def test_a_lint_report_names_no_temporary_folder(engine: Engine) -> None:
    files = chart() | {"templates/a.yaml": "kind: A"} | chart("sub", "charts/sub/")
    report = engine.lint(package(files), {})
    assert isinstance(report, LintReport)
    assert [(said.path, said.message) for said in report.messages if said.level != "info"] == [
        ("templates/a.yaml", report.messages[-2].message),
        ("demo", "chart metadata is missing these dependencies: sub"),
    ]


def test_a_failing_template_is_named_with_its_place(engine: Engine) -> None:
    found = failed(engine.render(with_template('\n{{ fail "no \x1b[31mway" }}'), {}, name="rel"))
    assert found == EngineFailure(
        "template",
        "execution error at (demo/templates/a.yaml:2:3): no �[31mway",
        place=TemplatePlace("demo/templates/a.yaml", 2, 4),
    )


HELMS_WORDS = (
    "YAML parse error on demo/templates/a.yaml: error converting YAML to JSON: "
    "yaml: mapping values are not allowed in this context"
)


def test_a_document_that_is_no_yaml_is_refused_in_helms_words(engine: Engine) -> None:
    found = failed(engine.render(with_template("a: b: c"), {}, name="rel"))
    assert (found.kind, found.message, found.place) == (
        "template",
        HELMS_WORDS,
        TemplatePlace("demo/templates/a.yaml"),
    )


def test_values_that_schemas_refuse_are_listed_for_every_chart(engine: Engine) -> None:
    files = chart() | {"values.schema.json": '{"properties": {"a": {"type": "string"}}}'}
    for path, key in (("charts/sub/", "sub"), ("charts/sub/charts/deep/", "deep")):
        files |= chart(key, path)
        files[path + "values.schema.json"] = '{"required": ["port"], "properties": {"x": {"items": {"minimum": 5}}}}'
    packed = package(files)
    found = failed(engine.render(packed, {"a": 1, "sub": {"x": [7, 3], "deep": {"port": 1}}}, name="rel"))
    assert found.kind == "values-schema"
    assert found.violations == (
        SchemaViolation("demo", "/a", "got number, want string"),
        SchemaViolation("sub", "", "missing property 'port'"),
        SchemaViolation("sub", "/x/1", "minimum: got 3, want 5"),
    )


def test_a_text_where_a_subchart_wants_values_is_refused(engine: Engine) -> None:
    files = chart() | chart("sub", "charts/sub/")
    assert failed(engine.values(package(files), {"sub": "text"})).kind == "other"


@pytest.mark.parametrize("content", [b"", b"junk", GOOD[: len(GOOD) // 2], stored_gzip(b"junk" * 1000)])
def test_a_damaged_package_does_not_load(engine: Engine, content: bytes) -> None:
    assert failed(engine.render(content, {}, name="rel")).kind == "load"
    report = engine.lint(content, {})
    assert isinstance(report, LintReport)
    assert [said.level for said in report.messages] == ["error"]
    assert still_works(engine)


def test_an_endless_template_is_stopped(hurried: Engine) -> None:
    found = failed(hurried.render(with_template(ENDLESS), {}, name="rel"))
    assert (found.kind, found.message) == ("timeout", "Helm's engine gave no answer within 1 s")
    assert still_works(hurried)


HOSTILE = (
    "{{ tpl .Values.again . }}",
    '{{ repeat 2000000000 "x" }}',
    "{{ range until 100000000000 }}{{ end }}",
    '{{ $d := dict }}{{ $_ := set $d "itself" $d }}{{ print $d }}',
    '{{ $d := dict }}{{ $_ := set $d "itself" $d }}{{ deepCopy $d }}',
    '{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}',
)


@pytest.mark.parametrize("template", HOSTILE)
def test_a_hostile_template_ends_at_most_its_own_request(hurried: Engine, template: str) -> None:
    packed = with_template(template, again="'{{ tpl .Values.again . }}'")
    # which limit is met first (Go's stack, our memory, our time) is up to the machine
    assert failed(hurried.render(packed, {}, name="rel")).kind in {"crash", "memory", "timeout", "template"}
    assert still_works(hurried)


def test_more_text_than_any_release_can_hold_is_refused(engine: Engine) -> None:
    found = failed(engine.render(with_template('{{ repeat 70000000 "#" }}'), {}, name="rel"))
    assert (found.kind, found.message) == ("memory", "the templates give 66 MiB, more than 64 MiB")
    assert still_works(engine)


def test_an_engine_that_dies_says_why(engine: Engine) -> None:
    kill = threading.Timer(0.3, os.kill, (worker_of(engine), signal.SIGABRT))
    kill.start()
    found = failed(engine.render(with_template(ENDLESS), {}, name="rel"))
    kill.join()
    assert (found.kind, found.message) == ("crash", "Helm's engine crashed: SIGABRT")
    assert still_works(engine)


def test_of_several_values_only_those_that_kill_helm_fail(hurried: Engine) -> None:
    packed = with_template("{{ if .Values.loop }}" + ENDLESS + "{{ end }}kind: A")
    values: list[dict[str, bool]] = [{}, {"loop": True}, {"loop": False}]
    rendered = [hurried.render(packed, each, name="rel") for each in values]
    assert [type(one) for one in rendered] == [Rendering, EngineFailure, Rendering]
    assert [type(hurried.lint(packed, each)) for each in values] == [LintReport, EngineFailure, LintReport]
    assert failed(rendered[1]).kind == "timeout"


def test_a_worker_that_died_while_idle_is_replaced(hurried: Engine) -> None:
    worker = worker_of(hurried)
    os.kill(worker, signal.SIGKILL)
    wait_for_end(worker)
    assert still_works(hurried)


def worker_of(engine: Engine) -> int:
    assert engine.version
    assert engine._worker is not None
    return engine._worker._process.pid


def wait_for_end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        ended = os.pidfd_open(pid)
        assert select.select([ended], [], [], 10)[0], f"process {pid} lives"
        os.close(ended)


def test_an_interrupted_request_leaves_no_half_answer(hurried: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before, folder = worker_of(hurried), Path(hurried._worker._folder)  # type: ignore[union-attr]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hurried, "_timeout", 30)
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            hurried.render(with_template(ENDLESS), {}, name="rel")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert not folder.exists()
    assert still_works(hurried)


def test_ctrl_c_does_not_reach_the_worker(engine: Engine) -> None:
    assert os.getsid(worker_of(engine)) != os.getsid(0)


def test_the_worker_ends_when_its_parent_is_killed_in_the_middle_of_a_render(tmp_path: Path) -> None:
    if not Engine.available():
        pytest.skip("needs Helm's engine: pip install 'brolly[helm]'")
    (tmp_path / "endless.tgz").write_bytes(with_template(ENDLESS))
    program = """
        import sys
        from brolly.engine import Engine, _Worker
        engine, receive = Engine(), _Worker.receive
        engine.version
        def after_the_request(worker, *args):
            print(worker._process.pid, worker._folder, flush=True)
            return receive(worker, *args)
        _Worker.receive = after_the_request
        engine.render(open(sys.argv[1], "rb").read(), {}, name="rel")
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "endless.tgz")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        parent.kill()
    wait_for_end(int(pid))
    assert not Path(folder).exists()


def test_a_closed_engine_leaves_nothing_behind(engine: Engine) -> None:
    with Engine() as other:
        assert other.version == engine.version
        pid, folder = worker_of(other), Path(other._worker._folder)  # type: ignore[union-attr]
        assert folder.is_dir()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()


def test_threads_take_turns(engine: Engine) -> None:
    def render(number: int) -> object:
        rendered = engine.render(GOOD, {"a": str(number)}, name="rel")
        return rendered.manifests[0].data if isinstance(rendered, Rendering) else rendered

    with ThreadPoolExecutor(8) as threads:
        rendered = list(threads.map(render, range(40)))
    assert [one["data"]["a"] for one in rendered] == [str(number) for number in range(40)]  # type: ignore[index]


@pytest.fixture
def web() -> Iterator[tuple[str, list[str]]]:
    """Serve a schema on loopback; give the address, and what was asked for."""
    asked: list[str] = []

    class Schema(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Schema) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep a process from loopback")
def test_a_schema_that_refers_to_loopback_is_not_fetched(engine: Engine, web: tuple[str, list[str]]) -> None:
    host, asked = web
    packed = package(chart() | {"values.schema.json": f'{{"$ref": "http://{host}/schema.json"}}'})
    assert "socket: permission denied" in failed(engine.render(packed, {}, name="rel")).message
    assert asked == []


def test_a_schema_that_refers_to_the_internet_fails_at_once_even_behind_a_proxy(
    web: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, asked = web
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://{host}")
    packed = package(chart() | {"values.schema.json": '{"$ref": "http://schemas.example/schema.json"}'})
    for engine in started(timeout=10):
        assert failed(engine.render(packed, {}, name="rel")).kind == "values-schema"
    assert asked == []


def test_the_worker_sees_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "hunter2")
    for engine in started():
        assert b"hunter2" not in Path(f"/proc/{worker_of(engine)}/environ").read_bytes()


def test_nothing_starts_before_the_first_request() -> None:
    engine = Engine()
    engine.close()
    assert engine._worker is None


def test_an_engine_is_not_passed_to_another_process() -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Engine())


def test_without_the_engine_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "available", staticmethod(lambda: False))
    with pytest.raises(EngineUnavailable) as caught:
        Engine().render(GOOD, {}, name="rel")
    assert isinstance(caught.value, UsageError)
    assert caught.value.hint == "pip install 'brolly[helm]'"


def test_the_installed_engine_is_named_without_loading_it(engine: Engine) -> None:
    assert engine.identity().startswith("helm-python-sdk ")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the path of a library that stands in for Helm's."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(Engine, "available", staticmethod(lambda: True))
    return tmp_path / "helm_python.py"


def test_what_the_library_prints_does_not_break_the_conversation(library: Path) -> None:
    library.write_text('import os\nprint("noise", flush=True)\nos.write(1, b"x")\ndef helm_sdk_version(): return "v0"')
    with Engine() as engine:
        assert engine.version == "v0"


def test_a_library_that_does_not_load_is_said(library: Path) -> None:
    library.write_text('raise ImportError("wrong machine")')
    with Engine() as engine, pytest.raises(EngineUnavailable, match="does not load: ImportError: wrong machine"):
        engine.version  # noqa: B018


def test_a_library_that_ends_the_worker_is_said_with_its_last_words(library: Path) -> None:
    library.write_text('import os, sys\nprint("last words", file=sys.stderr, flush=True)\nos._exit(3)')
    with Engine() as engine, pytest.raises(EngineUnavailable, match=r"(?s)does not start: .*exit status 3.*last words"):
        engine.version  # noqa: B018


def test_an_engine_that_is_killed_as_it_starts_is_a_fault_of_the_world(library: Path) -> None:
    library.write_text("import os\nos.kill(os.getpid(), 9)")
    with Engine() as engine, pytest.raises(WorldError, match=r"starting Helm's engine: .* was killed \(signal 9\)"):
        engine.version  # noqa: B018


def counting(path: Path) -> str:
    """Write a library that leaves a byte each time it is loaded, and does not come to an end."""
    return f"import time\nopen({str(path)!r}, 'a').write('x')\ntime.sleep(100)"


def test_an_engine_that_hangs_as_it_starts_is_tried_once(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brolly.engine._START_SECONDS", (1.0, 60.0))
    library.write_text(counting(tmp_path / "starts"))
    made = []

    def make() -> Engine:
        made.append(Engine(timeout=0.5))
        return made[-1]

    with contextlib.closing(Engines(make, 3, ahead=2)) as engines:
        asked = [engines.submit(Request(b"", "{}", "values")) for _ in range(20)]
        start = time.monotonic()
        for one in asked:
            with pytest.raises(WorldError, match="starting Helm's engine: Helm's engine gave no answer within 1 s"):
                one.result()
    assert time.monotonic() - start < 5
    assert len(made) <= 3
    assert (tmp_path / "starts").read_text() == "x" * len(made)


def test_closing_does_not_wait_for_a_start(library: Path, tmp_path: Path) -> None:
    library.write_text(counting(tmp_path / "starts"))
    engines = Engines(Engine, 2, ahead=2)
    wait_for(lambda: (tmp_path / "starts").exists() and len((tmp_path / "starts").read_text()) == 2)
    start = time.monotonic()
    engines.close()
    assert time.monotonic() - start < 5


def test_there_are_no_more_engines_than_requests() -> None:
    class Idle(Engine):
        def ask(self, _: Request) -> Answer:
            return Answer()

    made: list[Engine] = []

    def make() -> Engine:
        made.append(Idle())
        return made[-1]

    with contextlib.closing(Engines(make, 10**8)) as engines:
        assert made == []
        for one in [engines.submit(Request(b"", "{}", "values")) for _ in range(5)]:
            assert one.result() == Answer()
    assert 1 <= len(made) <= 5


LIBRARY = """
import os, sys
def helm_sdk_version(): return "v0"
class HelmError(Exception): pass
class HelmRenderError(HelmError): pass
HelmReleaseError = HelmValuesError = HelmRenderError
HelmChartLoadError = HelmChartInvalidError = HelmInvalidArgError = HelmRenderError
class Chart:
  def load_archive(_):
    %s
"""


@pytest.mark.parametrize(
    ("death", "kind", "message"),
    [
        ('raise LookupError("a bug")', "crash", "LookupError: a bug"),
        ("raise MemoryError", "memory", "the engine's process is out of memory"),
        (r'os.write(2, b"fatal error: boom\n\nstacks\n"); os._exit(2)', "crash", "crashed: fatal error: boom"),
        (r'os.write(2, b"runtime: out of memory: 4 MiB\n"); os._exit(2)', "memory", "is limited to 6144 MiB"),
        ("os.kill(os.getpid(), 9)", "crash", "(signal 9): by the system, for want of memory, or by somebody"),
        (r'os.write(2, b"fatal error: out of memory\n"); os.kill(os.getpid(), 9)', "memory", "is limited to 6144 MiB"),
        (r'os.write(2, b"x" * 1000000 + b"the end"); os._exit(2)', "crash", "the end"),
        ('raise HelmError("what else")', "other", "what else"),
    ],
)  # fmt: skip
def test_the_death_of_a_worker_is_explained(library: Path, death: str, kind: str, message: str) -> None:
    library.write_text(LIBRARY % death)
    with Engine() as engine:
        found = failed(engine.render(GOOD, {}, name="rel"))
    assert found.kind == kind
    assert message in found.message
    assert len(found.message) <= 4000


def test_go_does_not_drown_the_cause_in_stacks(library: Path) -> None:
    library.write_text(
        LIBRARY % r'os.write(2, b"runtime: x\nfatal error: boom\n" + b"goroutine\n" * 99999); os._exit(2)'
    )
    with Engine() as engine:
        assert failed(engine.render(GOOD, {}, name="rel")).message == "Helm's engine crashed: fatal error: boom"
