"""The floors: imports go down only, the pure floors touch nothing of the world, one module yields."""

from __future__ import annotations

import graphlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.house.source import (
    PACKAGE,
    ROOT,
    called,
    floor_files,
    imported,
    module_name,
    parse,
    project,
    pure_floors,
    python_files,
    relative,
    uses,
)

# Modules that compute and nothing else.
COMPUTES: tuple[str, ...] = tuple(project()["tool"]["trioflow"]["computes"])

# Of these, only what is named: types and pure lookups, never the function that asks the world.
ALLOWED_PARTS = {
    "datetime": ("date", "datetime", "time", "timedelta", "timezone", "tzinfo", "UTC"),
    "logging": (
        *("CRITICAL", "DEBUG", "ERROR", "INFO", "NOTSET", "WARNING"),
        *("LogRecord", "Logger", "LoggerAdapter", "getLevelName", "getLevelNamesMapping", "getLogger"),
    ),
    "pathlib": ("Path", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "random": ("Random",),
    "threading": ("local",),  # a place to keep the current kernel, not a thread
    "uuid": ("NAMESPACE_OID", "UUID", "uuid5"),
    "zoneinfo": ("ZoneInfo",),
}

# The few modules of the pure floors that have a reason to know one module more.
EXCEPTIONS = {
    "trioflow._kernel._guard": ("trio",),  # hides trio while user code is stepped
    "trioflow._kernel._foreign": ("trio",),  # recognises trio's own traps, to explain them
    "trioflow._kernel._frames": ("gc",),  # looks through `asend`, which hides its generator, for messages
    "trioflow.history._json": ("orjson",),  # the optional fast converter, with the same output
}

# Questions to the world that hang from an allowed type.
QUESTIONS = (
    *("datetime.date.today", "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow"),
    *("pathlib.Path.cwd", "pathlib.Path.home"),
)


def test_imports_obey_the_floors() -> None:
    """The contract of pyproject.toml holds: each floor sees those below it, and no sibling."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(  # a process of its own, since the linter changes the import path
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", floor_files(*pure_floors()), ids=relative)
def test_a_pure_floor_touches_nothing_of_the_world(path: Path) -> None:
    """A module of a pure floor imports what computes, and of clocks, randomness and logging the types only."""
    allowed = EXCEPTIONS.get(module_name(path), ())
    found = [
        f"{relative(path)}:{line}: {name}"
        for line, name in uses(parse(path))
        if name.partition(".")[0] not in allowed and _is_worldly(name)
    ]
    found += [
        f"{relative(path)}:{call.lineno}: random.Random without a seed"
        for call in called(parse(path), "random.Random")
        if not call.args
    ]
    assert not found, "ask for it through Env or Host (DESIGN 4, laws 1 and 9):\n" + "\n".join(found)


def _is_worldly(name: str) -> bool:
    """Whether a dotted name reaches past what the pure floors may use."""
    module, _, rest = name.partition(".")
    if module in ALLOWED_PARTS:
        part = rest.partition(".")[0]
        return bool(part) and (part not in ALLOWED_PARTS[module] or name in QUESTIONS)
    return module not in COMPUTES


@pytest.mark.parametrize(
    "name", ["time.monotonic", "random.random", "uuid.uuid4", "datetime.datetime.now", "trio.run", "os.environ"]
)
def test_the_rule_knows_the_world(name: str) -> None:
    """Clocks, randomness, run-times and the environment are told from what computes."""
    assert _is_worldly(name)


@pytest.mark.parametrize(
    "name", ["random", "random.Random", "uuid.UUID", "datetime.timedelta", "attrs.frozen", "math.inf"]
)
def test_the_rule_knows_what_computes(name: str) -> None:
    """Types and arithmetic pass."""
    assert not _is_worldly(name)


def test_exceptions_are_in_use() -> None:
    """Every module that may know more exists as soon as its floor does, and does use what it was given."""
    for module, given in EXCEPTIONS.items():
        path = ROOT / (module.replace(".", "/") + ".py")
        if path.exists():
            roots = [name.partition(".")[0] for _, name in uses(parse(path))]
            assert all(name in roots for name in given), f"{module} no longer needs {given}"


def test_trio_errors_come_through_one_module() -> None:
    """Floor 0 knows trio in one place: the module that re-exports its exception classes."""
    door = PACKAGE / "_util" / "_trio_errors.py"
    strangers = [
        relative(path)
        for path in floor_files("errors", "_util")
        if path != door and any(name.partition(".")[0] == "trio" for _, name in uses(parse(path)))
    ]
    assert not strangers


def test_at_most_one_module_yields() -> None:
    """Traps are made in one module only, so there is one place where an orchestration can stop (DESIGN 4, law 10)."""
    makers = [
        relative(path)
        for path in python_files("trioflow")
        if any(name == "types.coroutine" for _, name in uses(parse(path)))
    ]
    assert len(makers) <= 1, makers


def test_nobody_inside_asks_the_front_door() -> None:
    """No module of the package imports a name from `trioflow` itself: that would tie every floor to the top."""
    found = []
    for path in python_files("trioflow"):
        if path == PACKAGE / "__init__.py":
            continue
        for line, name in uses(parse(path)):
            first = name.split(".")[1] if name.startswith("trioflow.") else ""
            is_floor = (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").is_file()
            if name.partition(".")[0] == "trioflow" and not (first and is_floor):
                found.append(f"{relative(path)}:{line}: {name}")
    assert not found, "\n".join(found)


def test_no_two_files_need_each_other() -> None:
    """Imports have no cycle at run time, however far round; a type may look back, under `TYPE_CHECKING`."""
    modules = {module_name(path): path for path in python_files("trioflow")}
    needs = {
        module: [other for name in imported(parse(path)) for other in (_nearest(name, modules),) if other is not None]
        for module, path in modules.items()
    }
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        pytest.fail("a cycle of imports: " + " <- ".join(error.args[1]))


def _nearest(name: str, modules: Mapping[str, Path]) -> str | None:
    """The module of ours that an imported dotted name lives in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def test_every_floor_is_written_down() -> None:
    """The layers name each package and module of trioflow exactly once."""
    layers = project_layers()
    named = [name for layer in layers for name in layer]
    assert len(named) == len(dict.fromkeys(named))
    present = [path.stem for path in sorted(PACKAGE.iterdir()) if path.suffix == ".py" or any(path.glob("*.py"))]
    missing = [name for name in present if name not in named and name not in ("__init__", "__pycache__")]
    assert not missing, missing


def project_layers() -> list[list[str]]:
    """The floors from the top down, as the contract in pyproject.toml has them."""
    contract = next(item for item in project()["tool"]["importlinter"]["contracts"] if item["id"] == "floors")
    return [[name.strip().strip("()") for name in layer.replace(":", "|").split("|")] for layer in contract["layers"]]
