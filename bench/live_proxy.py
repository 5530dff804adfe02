"""The proxy without a recorder: what relaying alone costs. `python live_proxy.py PORT UPSTREAM_PORT`."""

import sys
from typing import Any

from antiphon.server.proxying import ProxySettings, serve_proxy
from antiphon.server.upstreams import parse


def quiet(line: Any) -> None:
    """Say nothing."""


if __name__ == "__main__":
    upstream = parse(f"http://127.0.0.1:{sys.argv[2]}")
    serve_proxy(ProxySettings(mode="live", upstreams=(upstream,), port=int(sys.argv[1])), say=quiet, tell=quiet)
