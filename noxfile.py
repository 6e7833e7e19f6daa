"""Every command of the project, one word each: `nox -s tests`, `stress`, `lint`, `house`, `typing`, `bench`, `docs`.

Laws: each session makes its own virtual environment and needs nothing of the machine but Python and pip (`stress` also
a C compiler, and npm's registry, as does `bench -- --peers`); facts (dependency groups, the pure floors) are read from
pyproject.toml, never repeated here; what CI runs is a line of these sessions that a person can run. `nox -s versions`
runs the fast suite on every supported Python that the machine has.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "house", "typing"]

PROJECT = nox.project.load_toml("pyproject.toml")
PURE_FLOORS: list[str] = PROJECT["tool"]["trioflow"]["pure"]
VERSIONS = nox.project.python_versions(PROJECT)
TYPED = [place for place in PROJECT["tool"]["mypy"]["files"] if Path(place).is_file() or any(Path(place).rglob("*.py"))]


def _install(session: nox.Session, group: str, *, package: str = ".") -> None:
    """Install the project, editable so that coverage and the type checker see one tree, and a dependency group."""
    session.install("--quiet", "-e", package, *nox.project.dependency_groups(PROJECT, group))


def _suite(session: nox.Session) -> None:
    """Run the fast tests; a whole run must also cover every statement and branch of the pure floors."""
    _install(session, "house")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-m", "not slow", *session.posargs)
    if not session.posargs:
        pure = ",".join(f"trioflow/{floor}/*,trioflow/{floor}.py" for floor in PURE_FLOORS)
        session.run("coverage", "report", f"--include={pure}", "--fail-under=100")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast suite on this Python, and the coverage gate of the pure floors; with arguments, pytest on those only."""
    _suite(session)


@nox.session(python=VERSIONS)
def versions(session: nox.Session) -> None:
    """The fast suite on each supported Python that is installed: `nox -s versions-3.13` for one."""
    _suite(session)


@nox.session
def stress(session: nox.Session) -> None:
    """The slow tests, then the pure floors once more under two hash seeds and with the `fast` extra."""
    _install(session, "stress", package=".[fast]")
    no_tests_collected = 5
    session.run("pytest", "-m", "slow", *session.posargs, success_codes=[0, no_tests_collected])
    for seed in ("0", "4242"):
        session.run("pytest", "-q", "tests/history", "tests/kernel", "tests/engine", env={"PYTHONHASHSEED": seed})


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely bugs, and the layout of the code."""
    session.install("--quiet", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def house(session: nox.Session) -> None:
    """Floors, doors, sizes, laws and examples: the rules of the house as tests."""
    _install(session, "house")
    session.run("lint-imports", "--no-cache")
    session.run("pytest", "-q", "tests/house", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session, "typing")
    session.run("mypy", *(session.posargs or TYPED))


@nox.session
def bench(session: nox.Session) -> None:
    """The workloads on each store; `-- --peers` with other systems, too; `-- chain --size 1000` runs one."""
    _install(session, "test")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as HTML in docs/_build; a warning is an error."""
    _install(session, "docs")
    session.run(
        "sphinx-build", "-W", "-n", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html", *session.posargs
    )
