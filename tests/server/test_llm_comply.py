"""The suite llm-comply, in full, against the server as it is served."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_upstream import ChatUpstream
from whole_server import served

COMMAND = shutil.which("llm-comply", path=str(Path(sys.executable).parent))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMMAND is None, reason="llm-comply is not installed: uv sync --group suites"),
]


@pytest.mark.parametrize("suite", ["open-responses", "openai-chat"])
@pytest.mark.parametrize("profile", ["openai", "open-responses"])
def test_the_suite_passes(suite: str, profile: str, tmp_path: Path) -> None:
    # Its test of reasoning goes by the model's name.
    arguments = ["--model", "gpt-5-scripted", "--format", suite, "--json"]
    with served(ChatUpstream(), tmp_path, profile=profile, repair="always") as url:
        done = subprocess.run(
            [str(COMMAND), "--base-url", url, "--api-key", "none", *arguments],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    results = json.loads(done.stdout)["results"]
    assert {result["status"] for result in results} == {"passed"}
    assert len(results) >= 9
