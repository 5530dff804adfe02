"""A user's own code is checked against the library's types, strictly."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_users_code_is_checked_strictly_and_knows_its_types() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", HERE / "users_code.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stdout
