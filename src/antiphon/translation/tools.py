"""Tools as a chat upstream takes them: functions only, with names of a narrow alphabet.

Namespaces are flattened (``ns__name``), freeform tools become functions of one string, tools of MCP servers and the
file search functions like any other, and names are changed as little as uniqueness allows. `Tool` says what a name on
the wire stands for, so that the way back is a look-up.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from itertools import count
from typing import Any, Literal

from msgspec import Struct, structs

from antiphon.dialects.requests import ChatRules
from antiphon.translation.notes import Notes
from antiphon.wire.hosted import DEFAULT_FILE_SEARCH_NAME, imported
from antiphon.wire.items import Item, tools_of

_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_-]")
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_FILE_SEARCH: dict[str, Any] = {
    "description": "Search the user's files. The passages that fit come back with the ids of their files.",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for, as a question or as keywords."}},
        "required": ["query"],
    },
}
_HASH_LENGTH = 8


class Tool(Struct, frozen=True):
    """A tool as the client knows it."""

    kind: Literal["function", "custom", "mcp", "file_search"]
    name: str
    namespace: str | None = None
    has_grammar: bool = False

    @property
    def flat_name(self) -> str:
        """The name with its namespace, not yet fit for every wire."""
        return self.name if self.namespace is None else f"{self.namespace}__{self.name}"

    @property
    def is_hosted(self) -> bool:
        """Whether a server runs it: then no client minds what the model knows it by."""
        return self.kind in ("mcp", "file_search")


class Offer(Struct):
    """The tools of one request, by their names on the wire: whose they are, their definitions, their schemas.

    ``wires`` finds the name on the wire by kind, namespace and name.
    """

    tools: dict[str, Tool]
    wires: dict[tuple[str, str | None, str], str]
    functions: dict[str, dict[str, Any]]
    schemas: dict[str, dict[str, Any]]

    def wire_name(self, named: dict[str, Any], kind: str, name: str) -> str | None:
        """The wire name of the offered tool that an item or a choice names, with or without its namespace.

        Without, the only tool of that name is meant.
        """
        namespace = namespace_of(named)
        if (wire := self.wires.get((kind, namespace, name))) is not None:
            return wire
        if namespace is None and name in self.tools:
            return name
        near = [wire for wire, tool in self.tools.items() if tool.name == name and namespace in (None, tool.namespace)]
        return near[0] if len(near) == 1 else None

    def renamed(self) -> dict[str, Tool]:
        """What must be restored in the answer, by the names a model may use.

        That is the name on the wire, and for a tool in a namespace its bare name where it can mean nothing else.
        """
        renamed = {wire: tool for wire, tool in self.tools.items() if tool.kind != "function" or tool.name != wire}
        bare = Counter(tool.name for tool in self.tools.values())
        for tool in list(renamed.values()):
            if bare[tool.name] == 1 and tool.name not in self.tools:
                renamed[tool.name] = tool
        return renamed

    def wires_of(self, kind: str, namespace: str | None) -> set[str]:
        """The names on the wire of all tools of a kind, in one namespace."""
        return {wire for wire, tool in self.tools.items() if tool.kind == kind and tool.namespace == namespace}

    def restrict(self, wire_names: set[str]) -> None:
        """Take back the offer of all others."""
        self.functions = {wire: function for wire, function in self.functions.items() if wire in wire_names}


def offer_tools(tools: list[dict[str, Any]], items: list[Item], *, rules: ChatRules, notes: Notes) -> Offer:
    """The offer made by a request's ``tools`` and by the items that bring tools along."""
    definitions = _flatten([*tools, *(tool for item in items for tool in tools_of(item))], notes)
    definitions.update(_imported(tools, items))
    offer = Offer(tools={}, wires={}, functions={}, schemas={})
    for wire, tool in _named(list(definitions), rules.max_name_length).items():
        definition = definitions[tool]
        schema = _parameters(tool, definition)
        offer.tools[wire] = structs.replace(tool, has_grammar=_grammar(tool, definition) is not None)
        offer.wires[tool.kind, tool.namespace, tool.name] = wire
        offer.schemas[wire] = schema
        offer.functions[wire] = _function(wire, tool, definition, schema, rules, notes)
    return offer


def namespace_of(named: dict[str, Any]) -> str | None:
    """The namespace an item or a choice gives; kinds that have none are not checked for it."""
    namespace = named.get("namespace") or named.get("server_label")
    return namespace if isinstance(namespace, str) else None


def wire_safe(name: str, max_length: int) -> str:
    """The name with what upstreams refuse replaced, cut to length."""
    return _FORBIDDEN.sub("_", name)[:max_length]


def _flatten(tools: list[dict[str, Any]], notes: Notes, namespace: str | None = None) -> dict[Tool, dict[str, Any]]:
    """Definitions by tool, in order; a tool defined twice keeps its place and takes the later definition."""
    flat: dict[Tool, dict[str, Any]] = {}
    for tool in tools:
        match tool.get("type"):
            case "function":
                flat[Tool("function", tool["name"], namespace)] = tool
            case "custom":
                flat[Tool("custom", tool["name"], namespace)] = tool
            case "file_search":
                flat[Tool("file_search", tool.get("name", DEFAULT_FILE_SEARCH_NAME))] = _FILE_SEARCH
            case "mcp":
                pass  # what it offers stands in the items
            case "namespace" if namespace is None:
                flat.update(_described(_flatten(tool["tools"], notes, tool["name"]), tool.get("description")))
            case other:
                notes.add("R25", seen=f"tool {other}", done="not offered: nothing here can run it")
    return flat


def _imported(tools: list[dict[str, Any]], items: list[Item]) -> dict[Tool, dict[str, Any]]:
    """The tools of MCP servers."""
    flat: dict[Tool, dict[str, Any]] = {}
    for server, listed in imported(tools, items):
        label = server.server_label
        of_server = {
            Tool("mcp", tool["name"], label): {
                "description": tool.get("description"),
                "parameters": tool.get("input_schema"),
            }
            for tool in listed
        }
        flat.update(_described(of_server, server.server_description))
    return flat


def _described(tools: dict[Tool, dict[str, Any]], about: str | None) -> dict[Tool, dict[str, Any]]:
    """A flat list has no place for a namespace's description but before that of its first tool."""
    if tools and about:
        first = next(iter(tools))
        described = "\n\n".join(filter(None, (about, tools[first].get("description"))))
        tools[first] = {**tools[first], "description": described}
    return tools


def _named(tools: list[Tool], max_length: int) -> dict[str, Tool]:
    """Wire names in the tools' order. Who needs no change goes first, so that nobody loses a name to a mended one."""
    names: dict[str, Tool] = {}
    wires: dict[Tool, str] = {}
    bare = Counter(tool.name for tool in tools)
    # A model calls a tool of a server by the name that the server's own descriptions use, where no other has it.
    wanted = {tool: tool.name if tool.kind == "mcp" and bare[tool.name] == 1 else tool.flat_name for tool in tools}
    unchanged = [tool for tool in tools if wire_safe(tool.name, max_length) == wanted[tool]]
    for tool in (*unchanged, *tools):
        if tool in wires:
            continue
        wire = wire_safe(wanted[tool], max_length)
        # Cut names always carry the hash: two long names usually differ at their end.
        if wire in names or len(wanted[tool]) > max_length:
            wire = _hashed(tool, names, max_length)
        names[wire] = tool
        wires[tool] = wire
    return {wires[tool]: tool for tool in tools}


def _hashed(tool: Tool, taken: dict[str, Tool], max_length: int) -> str:
    stem = wire_safe(tool.flat_name, max_length - _HASH_LENGTH - 1)
    identities = ("\0".join((str(salt), tool.kind, tool.namespace or "", tool.name)) for salt in count())
    wires = (f"{stem}_{_digest(identity)}" for identity in identities)
    return next(wire for wire in wires if wire not in taken)


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]


def _parameters(tool: Tool, definition: dict[str, Any]) -> dict[str, Any]:
    if tool.kind != "custom":
        return definition.get("parameters") or _NO_PARAMETERS
    text = {"type": "string", "description": f"The whole input of {tool.name}, as plain text."}
    return {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}


def _function(
    wire: str, tool: Tool, definition: dict[str, Any], schema: dict[str, Any], rules: ChatRules, notes: Notes
) -> dict[str, Any]:
    function: dict[str, Any] = {"name": wire}
    description = definition.get("description") or ""
    if tool.kind == "custom":
        description = f"{description}\n\n{_how_to_call(_grammar(tool, definition))}".strip()
    if description:
        function["description"] = description
    function["parameters"] = _projected(schema, rules.schema_keywords, notes)
    strict = definition.get("strict")
    if strict is not None and rules.strict_tools:
        function["strict"] = strict
    elif strict:
        notes.add("Q106", seen=f"strict tool {tool.name}", done="sent without strict, which this upstream refuses")
    return {"type": "function", "function": function}


def _grammar(tool: Tool, definition: dict[str, Any]) -> dict[str, Any] | None:
    form = definition.get("format") if tool.kind == "custom" else None
    return form if form and form["type"] == "grammar" else None


def _how_to_call(grammar: dict[str, Any] | None) -> str:
    """What a model must know of a freeform tool that it sees as a function."""
    how = "Call it with one argument, `input`: the whole text as one JSON string."
    if grammar is None:
        return how
    return f"{how} The text must follow this {grammar['syntax']} grammar:\n\n{grammar['definition']}"


# --- JSON Schema, cut to what an upstream knows (Q107) ---------------------------------------

_SCHEMAS_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS_OF_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})


def _projected(schema: Any, keywords: frozenset[str] | None, notes: Notes) -> Any:
    if keywords is None or not isinstance(schema, dict):
        return schema
    projected: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword == "const" and keyword not in keywords:
            projected["enum"] = [value]
        elif keyword not in keywords:
            notes.add("Q107", seen=f"schema keyword {keyword}", done="left out of the tool's parameters")
        elif keyword in _SCHEMAS_BY_NAME and isinstance(value, dict):
            projected[keyword] = {name: _projected(inner, keywords, notes) for name, inner in value.items()}
        elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
            projected[keyword] = [_projected(inner, keywords, notes) for inner in value]
        else:
            projected[keyword] = _projected(value, keywords, notes)
    return projected


# --- tool_choice -----------------------------------------------------------------------------


def choose(
    choice: str | dict[str, Any] | None, offer: Offer, *, rules: ChatRules, notes: Notes
) -> str | dict[str, Any] | None:
    """The chat ``tool_choice``; ``allowed_tools`` is a hard limit, so the others are taken out of the offer.

    Where an upstream cannot be told to call a single tool, only that tool is offered.
    """
    mode: str | None
    named: str | None = None
    if isinstance(choice, dict):
        mode, named = _chosen(choice, offer, notes)
    else:
        mode = choice
    if not offer.functions:
        if mode == "required":
            notes.add("Q104", seen="tool_choice required", done="left out: no tool can be offered")
        return None
    if named is not None and rules.tool_choices == "all":
        return {"type": "function", "function": {"name": named}}
    if named is not None:
        offer.restrict({named})
    if mode == "required" and rules.tool_choices == "auto":
        notes.add(
            "Q105", seen=f"tool_choice {named or mode}", done="sent as auto: this upstream cannot be made to call"
        )
        return "auto"
    return mode


def _chosen(choice: dict[str, Any], offer: Offer, notes: Notes) -> tuple[str, str | None]:
    kind = choice.get("type")
    if kind == "allowed_tools":
        allowed = choice.get("tools") or []
        offer.restrict(set().union(*(_meant(tool, offer) for tool in allowed)))
        return ("required" if choice.get("mode") == "required" else "auto"), None
    meant = _meant(choice, offer)
    named = next(iter(meant)) if len(meant) == 1 else None
    if len(meant) > 1:
        offer.restrict(meant)
    elif named is None:
        notes.add("Q105", seen=f"tool_choice {choice}", done="sent as auto: no such tool is offered")
        return "auto", None
    return "required", named


def _meant(choice: dict[str, Any], offer: Offer) -> set[str]:
    """The names on the wire of the tools that a choice names: one, or all of a server."""
    kind, name = str(choice.get("type")), choice.get("name")
    if kind == "file_search":
        return offer.wires_of(kind, None)
    if kind == "mcp" and name is None:
        return offer.wires_of(kind, namespace_of(choice))
    named = offer.wire_name(choice, kind, str(name))
    return set() if named is None else {named}
