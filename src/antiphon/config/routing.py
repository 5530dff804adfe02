"""Which model goes to which upstream, and what is different about it there: it depends on settings alone."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from antiphon.config.settings import Settings
from antiphon.dialects import Dialect, choose
from antiphon.errors import ModelNotFound


class Route(NamedTuple):
    """One place to ask: the name of an upstream, and its own name for the model."""

    upstream: str
    model: str


def dialect_of(settings: Settings, upstream: str, model: str) -> Dialect:
    """What is different about a model of an upstream."""
    asked = settings.upstreams[upstream]
    return choose(settings.dialects, base_url=asked.base_url, model=model, named=asked.dialect)


def route(settings: Settings, model: str) -> list[Route]:
    """Where to ask for a model: the first choice, then what to fall back on.

    An alias goes before ``upstream/model``, and that before the patterns of upstreams, in their order.

    Raises:
        ModelNotFound: no upstream answers to that name.
    """
    if alias := settings.models.get(model):
        fallbacks = [fallback.split("/", 1) for fallback in alias.fallbacks]
        return [Route(alias.upstream, alias.model), *(Route(upstream, name) for upstream, name in fallbacks)]
    upstream, _, name = model.partition("/")
    if name and upstream in settings.upstreams:
        return [Route(upstream, name)]
    for candidate in settings.upstreams.values():
        if any(fnmatchcase(model, pattern) for pattern in candidate.models):
            return [Route(candidate.name, model)]
    patterns = [pattern for candidate in settings.upstreams.values() for pattern in candidate.models]
    raise ModelNotFound(model, known=(*settings.models, *patterns))
