"""A user's own code is checked against the library's types, by both checkers that people use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_a_users_code_is_checked_strictly_and_knows_its_types() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", HERE / "users_code.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_another_checker_says_the_same(tmp_path: Path) -> None:
    project = {"include": [str(HERE / "users_code.py")], "typeCheckingMode": "standard", "pythonVersion": "3.11"}
    path = tmp_path / "pyrightconfig.json"
    path.write_text(json.dumps(project))
    command = [sys.executable, "-m", "basedpyright", "--project", path, "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 errors" in done.stdout
