"""What each upstream and model does differently, as data; never ``if "deepseek" in model``.

A `Dialect` is what the entries that match an upstream and a model amount to: `choose` lays them over each other in
order. This room reads no files: whoever reads the entries hands them over already checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from fnmatch import translate
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from antiphon.dialects.answers import AnswerRules
from antiphon.dialects.requests import ChatRules

__all__ = ["OPENAI", "AnswerRules", "Capabilities", "ChatRules", "Dialect", "Entry", "Match", "choose", "matching"]


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a model at an upstream can: what entries say, and of what none says anything, what most can.

    ``answer_format`` is the most that an answer can be held to; ``forced_tools`` which calls can be forced: of any tool
    by its name (``all``), of some tool (``modes``) or none (``auto``). ``reasoning_effort`` says that it can be asked
    for, ``reasoning_echo`` that the model wants its own thoughts back.
    """

    images: bool
    files: bool
    answer_format: Literal["json_schema", "json_object", "text"]
    strict_tools: bool
    forced_tools: Literal["all", "modes", "auto"]
    parallel_tools: bool
    sampling: bool
    reasoning_effort: bool
    reasoning_echo: bool


class Dialect(Struct, frozen=True, kw_only=True):
    """How one upstream and model differ: in what they answer, and in what they accept.

    ``entries`` are the ids of the entries it was made of, in order.
    """

    answers: AnswerRules = AnswerRules()
    requests: ChatRules = ChatRules()
    entries: tuple[str, ...] = ()

    @property
    def capabilities(self) -> Capabilities:
        """What the upstream and the model can, as far as it is known."""
        rules = self.requests
        return Capabilities(
            images=rules.images,
            files=rules.files,
            answer_format=rules.response_format,
            strict_tools=rules.strict_tools,
            forced_tools=rules.tool_choices,
            parallel_tools="parallel_tool_calls" in rules.parameters,
            sampling="temperature" in rules.parameters,
            reasoning_effort="reasoning_effort" in rules.parameters,
            reasoning_echo=rules.echo_reasoning != "forbid" or rules.echo_details,
        )

    @property
    def needs_repair(self) -> bool:
        """Whether a client that speaks OpenAI's chat API may fail at it: something is refused, or comes otherwise.

        That more is taken, or reasoning comes under another name, is no obstacle. Of OpenAI's own servers nothing is:
        their entries are for requests of the Responses API, a client's chat request is made for them.
        """
        if all(_family(entry) in _OF_OPENAI for entry in self.entries):
            return False
        return _differs(self.answers, OPENAI.answers) or _differs(self.requests, OPENAI.requests)


# Families of entries of servers that OpenAI's clients are made for.
_OF_OPENAI = frozenset({"openai", "azure"})
# Fields that refuse nothing a client of OpenAI sends, and change nothing that it reads; of others, such values.
_HARMLESS = frozenset({"reasoning_fields", "takes", "echo_details", "developer_role", "max_tokens_key", "responses"})
_HARMLESS_VALUES = frozenset({("echo_reasoning", "allow"), ("system_messages", "keep")})


def _differs(rules: Struct, plain: Struct) -> bool:
    found = {name: getattr(rules, name) for name in rules.__struct_fields__ if name not in _HARMLESS}
    return any(
        value != getattr(plain, name) and not (isinstance(value, str) and (name, value) in _HARMLESS_VALUES)
        for name, value in found.items()
    )


OPENAI = Dialect()


class Match(Struct, frozen=True, kw_only=True):
    """Where an entry applies: patterns as of `fnmatch`, in lower case; of each list that is not empty one must match.

    A pattern of ``host`` with a colon is compared with host and port of the base URL, others with the host alone.
    """

    host: tuple[str, ...] = ()
    model: tuple[str, ...] = ()


class Entry(Struct, frozen=True, kw_only=True):
    """One thing that is known about upstreams or models.

    ``id`` is ``family`` or ``family/name``. ``answers`` and ``requests`` are values for fields of `AnswerRules` and
    `ChatRules`. ``sources`` are ids of the catalogue of quirks, or URLs; ``since`` is the day it was last found to be
    so; ``origin`` names the file it stands in. An entry that matches nowhere is there to be named.
    """

    id: str
    match: Match = Match()
    answers: Mapping[str, Any] = {}
    requests: Mapping[str, Any] = {}
    reason: str = ""
    sources: tuple[str, ...] = ()
    since: date | None = None
    origin: str = ""


def choose(entries: Sequence[Entry], *, base_url: str, model: str, named: Collection[str] = ()) -> Dialect:
    """The dialect of a model at an upstream: all `matching` entries, of which each overrides fields of those before."""
    found = matching(entries, base_url=base_url, model=model, named=named)
    answers: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    for entry in found:
        answers.update(entry.answers)
        requests.update(entry.requests)
    return Dialect(
        answers=replace(OPENAI.answers, **answers),
        requests=replace(OPENAI.requests, **requests),
        entries=tuple(entry.id for entry in found),
    )


def matching(entries: Sequence[Entry], *, base_url: str, model: str, named: Collection[str] = ()) -> list[Entry]:
    """The entries that apply to a model at an upstream, in order.

    ``named`` are ids: those entries apply in any case. A family among them that has entries with a host says what kind
    of server it is: these count as being at their host then, and no others do.
    """
    kinds = {_family(entry.id) for entry in entries if entry.match.host}.intersection(named) if named else ()
    parts = urlsplit(base_url.lower())
    address, model = f"{parts.hostname or ''}:{parts.port}", model.lower()

    def applies(entry: Entry) -> bool:
        hosts, models = entry.match.host, entry.match.model
        if entry.id in named:
            return True
        if not hosts and not models:
            return False
        if hosts and not (_family(entry.id) in kinds if kinds else _addresses(hosts).match(address)):
            return False
        return not models or _names(models).match(model) is not None

    return [entry for entry in entries if applies(entry)]


def _family(name: str) -> str:
    return name.partition("/")[0]


@cache
def _addresses(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """What matches ``host:port``; a pattern without a port goes with any."""
    return _names(tuple(pattern if ":" in pattern else f"{pattern}:*" for pattern in patterns))


@cache
def _names(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))
