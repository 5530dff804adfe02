"""What each provider and model does differently: types and pure look-up. Data, never ``if "deepseek" in model``.

The data lies beside this module in ``dialects.toml``; users add files of the same form. This room reads none of them:
whoever does hands over the tables they parse to.

A `Rule` says for which upstreams and models it holds, what it sets, why, and where that was seen. `choose` applies all
rules that match, in order, so a user's rules come last and win.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from antiphon.errors import ConfigError

VERSION = 1


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one upstream and model differ from OpenAI's own chat completions, as far as answers go.

    ``reasoning_fields`` are the names reasoning text comes under, the first non-empty one wins (Q62, Q63).
    ``think_tags`` are tags that may open the text, such as ``think`` for ``<think>`` (Q66); ``starts_in_thinking``
    says that the prompt template has already opened the first of them (Q67). ``finish_reasons`` adds to the table
    of finish reasons (Q45). ``mends_argument_tail`` cuts markup off behind whole arguments (Q26).
    ``tool_markup`` names the ways in which tool calls may be written into the text (Q27): ``hermes``, ``dsml``,
    ``calling_tool``. ``empty_answer_fails`` makes an answer without any output a failure that may be retried (Q46).
    """

    name: str = "openai"
    reasoning_fields: tuple[str, ...] = ("reasoning_content", "reasoning")
    think_tags: tuple[str, ...] = ()
    starts_in_thinking: bool = False
    finish_reasons: Mapping[str, str] = {}
    mends_argument_tail: bool = False
    tool_markup: tuple[str, ...] = ()
    empty_answer_fails: bool = False


OPENAI = Dialect()


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the data. ``upstream`` and ``model`` are patterns as of file names, matched in lower case.

    ``upstream`` is matched with the host of the upstream's URL. ``quirk`` is what it answers to, ``reason`` and
    ``source`` are for people.
    """

    name: str
    upstream: str = "*"
    model: str = "*"
    quirk: str
    reason: str
    source: str
    set: dict[str, Any]

    def matches(self, host: str, model: str) -> bool:
        """Whether it holds for a model at an upstream."""
        return fnmatchcase(host.lower(), self.upstream.lower()) and fnmatchcase(model.lower(), self.model.lower())


def parse(table: Mapping[str, Any], *, origin: str) -> tuple[Rule, ...]:
    """The rules of a parsed file; ``origin`` names it in errors.

    Raises:
        ConfigError: it is of another version, or an entry is not a rule, or sets what a dialect does not have.
    """
    if table.get("version") != VERSION:
        raise ConfigError(f"{origin}: version is {table.get('version')!r}; this program reads version {VERSION}.")
    entries = table.get("dialect", [])
    if not isinstance(entries, list):
        raise ConfigError(f"{origin}: dialect must be a list of tables: write [[dialect]].")
    rules = []
    for number, entry in enumerate(entries, 1):
        try:
            rule = msgspec.convert(entry, Rule)
            _apply(OPENAI, rule)
        except (msgspec.ValidationError, ConfigError) as error:
            raise ConfigError(f"{origin}: [[dialect]] number {number}: {error}") from None
        rules.append(rule)
    return tuple(rules)


def choose(rules: Iterable[Rule], *, host: str, model: str) -> Dialect:
    """The dialect of a model at an upstream: `OPENAI`, and on it every rule that matches, in order."""
    dialect = OPENAI
    for rule in rules:
        if rule.matches(host, model):
            dialect = _apply(dialect, rule)
    return dialect


def _apply(dialect: Dialect, rule: Rule) -> Dialect:
    unknown = rule.set.keys() - (_SETTINGS - {"name"})
    if unknown:
        raise ConfigError(f"set.{min(unknown)} is nothing a dialect has; it has {', '.join(sorted(_SETTINGS))}.")
    name = rule.name if dialect.name == OPENAI.name else f"{dialect.name}+{rule.name}"
    return msgspec.convert({**msgspec.structs.asdict(dialect), **rule.set, "name": name}, Dialect)


_SETTINGS = frozenset(Dialect.__struct_fields__)
