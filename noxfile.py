"""The menu: what can be done with this repository. `nox -l` lists it; sessions hold no logic of their own."""

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["check"]

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")
LINT = nox.project.dependency_groups(PROJECT, "lint")


def brolly(session: nox.Session, *commands: str) -> None:
    """Install Brolly with Helm's engine and run its commands, each with the session's own arguments."""
    session.install("-e", ".[helm,re2]")
    for command in commands:
        session.run("brolly", *command.split(), *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve the bundles' dependencies and write their locks."""
    brolly(session, "lock")


@nox.session
def check(session: nox.Session) -> None:
    """Run all checks on the bundles; write nothing."""
    brolly(session, "check")


@nox.session
def build(session: nox.Session) -> None:
    """Compile the bundles into dist/."""
    brolly(session, "build")


@nox.session
def render(session: nox.Session) -> None:
    """Print the bundles' final objects."""
    brolly(session, "render")


@nox.session
def publish(session: nox.Session) -> None:
    """Check the locks, build and check the bundles, publish them (default: into registry/)."""
    session.install("-e", ".[helm,re2]")
    session.run("brolly", "lock", "--check")
    session.run("brolly", "build")
    session.run("brolly", "publish", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install("-e", ".[helm,re2]", *TEST)
    session.run("pytest", *session.posargs)


@nox.session
def fidelity(session: nox.Session) -> None:
    """Run the property tests against Helm's engine with fresh random cases."""
    session.install("-e", ".[helm,re2]", *TEST)
    session.run("pytest", "--hypothesis-seed=random", *session.posargs, env={"HYPOTHESIS_PROFILE": "fidelity"})


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which branches the tests take."""
    session.install("-e", ".[helm,re2]", *TEST)
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--show-missing")


@nox.session
def bench(session: nox.Session) -> None:
    """Compare Brolly with Helm's engine on the same work (`-- --quick`, `-- DIR_OF_REAL_CHARTS`)."""
    session.install("-e", ".[helm,re2]", *TEST)
    session.chdir("tests")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style and the types of the code."""
    session.install("-e", ".[helm,re2]", *LINT)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session
def schemas(session: nox.Session) -> None:
    """Write schemas/ and docs/reference/ anew from the code."""
    session.install("-e", ".[helm,re2]", *TEST)
    session.run("pytest", "tests/test_generated.py", "--rewrite")
