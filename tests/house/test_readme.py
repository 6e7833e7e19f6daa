"""What the README shows is true: its example runs as printed, its commands are the ones that CI runs."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_example_runs_as_printed(tmp_path: pathlib.Path) -> None:
    """The Python block, in an empty directory, prints what the text below it says."""
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (printed,) = re.findall(r"^It prints `([^`]+)`", README, re.MULTILINE)
    script = tmp_path / "shop.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, printed), done.stderr


def test_the_two_commands_are_there() -> None:
    """A newcomer finds them, and CI runs the second as it stands."""
    assert "pip install . && python examples/hello_world.py" in README
    assert "pip install nox && nox -s tests" in README
    ci = (ROOT / ".ci" / "run").read_text()
    assert "nox" in ci
    assert "examples/hello_world.py" in ci


def test_every_example_is_listed() -> None:
    """The table names each file in examples/."""
    for example in sorted((ROOT / "examples").glob("*.py")):
        assert f"(examples/{example.name})" in README, example.name
