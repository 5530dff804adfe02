"""Each row of the two tables of quirks has a test that is named for it: ``test_q13_…``, ``test_r17_…``.

Q is what upstreams send and refuse, R what breaks in programs that stand where this one stands. R20 to R28 are about
tools, and are tested where tools are. A name may hold several ids (``q49_q50``) or a range (``q75_to_q78``).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
_CASE = re.compile(r"[qr]\d{2,3}_\w+")  # the name of a case: ``test_what_is_learned[q80_in_plain_text]``

ROWS = {
    # tool calls
    "Q01": "a piece without an index",
    "Q02": "an index of null",
    "Q03": "several calls at index 0, told apart by their ids",
    "Q04": "several calls at index 0 without ids",
    "Q05": "indices that begin at 1 or have gaps",
    "Q06": "an index that is only a position in the chunk",
    "Q07": "several calls in one delta",
    "Q08": "fragments of two calls that alternate",
    "Q09": "no id at all",
    "Q10": "empty strings on every later piece",
    "Q11": "an empty id on the first piece",
    "Q12": "id, type and name on every piece",
    "Q13": "an id that changes after the first piece",
    "Q14": "a new id on every nameless piece",
    "Q15": "the name repeated",
    "Q16": "the name in pieces",
    "Q17": "arguments before the name",
    "Q18": "arguments that are an object",
    "Q19": "arguments of null",
    "Q20": "empty arguments of a whole call",
    "Q21": "all arguments at once",
    "Q22": "arguments in the first delta",
    "Q23": "arguments encoded twice",
    "Q24": "arguments that are the word null",
    "Q25": "arguments cut off",
    "Q26": "markup behind the arguments",
    "Q27": "a call written as text",
    "Q28": "deltas with nothing in them",
    "Q29": "function_call, the old form",
    "Q30": "tool_calls of null or []",
    "Q31": "ids that must be nine letters and digits",
    "Q32": "ids that must be functions.name:n",
    "Q33": "ids used again in a later turn",
    "Q34": "ids longer than 64 characters",
    "Q35": "unknown fields within a call that must be echoed",
    "Q36": "an index in the calls of the history",
    # finish, content, role, choices
    "Q37": "calls, then finish reason stop",
    "Q38": "no finish reason, but [DONE]",
    "Q39": "no finish reason and no [DONE]",
    "Q40": "a finish reason and no [DONE]",
    "Q41": "an empty finish reason",
    "Q42": "a finish reason sent twice",
    "Q43": "text beside the finish reason",
    "Q44": "deltas after the finish reason",
    "Q45": "finish reasons of other words",
    "Q46": "a finished answer with nothing in it",
    "Q47": "content of null, empty or absent",
    "Q48": "content as a list of parts",
    "Q49": "an empty role",
    "Q50": "the role on every chunk",
    "Q51": "a first chunk without choices, id and model",
    "Q52": "choices of null",
    "Q53": "a choice index that counts tokens",
    "Q54": "choices that alternate",
    "Q55": "one turn in two choices",
    "Q56": "another id on each chunk",
    "Q57": "unknown keys everywhere",
    "Q58": "a refusal",
    "Q59": "annotations",
    "Q60": "citations beside the choices",
    "Q61": "log probabilities of the old shape",
    # reasoning
    "Q62": "reasoning_content",
    "Q63": "reasoning",
    "Q64": "reasoning_details in fragments",
    "Q65": "the same reasoning in two fields",
    "Q66": "reasoning between tags that chunks cut",
    "Q67": "only the closing tag",
    "Q68": "a tag that is the user's text",
    "Q69": "reasoning and no answer",
    "Q70": "reasoning that must be echoed",
    "Q71": "reasoning that must not be echoed",
    "Q72": "signed and encrypted reasoning",
    "Q73": "both fields on every delta, one of them null",
    "Q74": "reasoning, text and calls in turns",
    # usage
    "Q75": "usage on a chunk without choices",
    "Q76": "usage on the finish chunk",
    "Q77": "usage on both",
    "Q78": "usage on every chunk",
    "Q79": "zeros first",
    "Q80": "usage only if asked for, and stream_options refused",
    "Q81": "vendors' own keys of usage",
    "Q82": "timings beside it",
    # errors
    "Q83": "an error in a chunk",
    "Q84": "an error beside choices",
    "Q85": "an error event",
    "Q86": "a page where a stream was expected",
    "Q87": "a JSON body where a stream was expected",
    "Q88": "an error in a list",
    "Q89": "errors of other shapes",
    "Q90": "how long to wait, in all forms",
    "Q91": "a context overflow in all words",
    # framing
    "Q92": "no space behind the colon",
    "Q93": "line ends of all kinds",
    "Q94": "keep-alives, as comments and as data",
    "Q95": "characters cut by reads",
    "Q96": "long lines",
    "Q97": "no line end at the end, byte order marks, several data lines",
    "Q98": "two objects in one event",
    "Q99": "padding",
    # requests
    "Q100": "max_tokens or max_completion_tokens",
    "Q101": "the role developer",
    "Q102": "system messages that are not first, roles that must alternate",
    "Q103": "tool messages that must be text",
    "Q104": "an empty list of tools",
    "Q105": "a tool_choice while thinking",
    "Q106": "parameters that are refused",
    "Q107": "keywords of JSON Schema",
    "Q108": "names of tools",
    "Q109": "images and files",
    "Q110": "calls without outputs, outputs without calls",
    "Q111": "content beside calls",
    "Q112": "unknown fields",
    # Responses over Chat Completions
    "R01": "argument deltas after the first are dropped",
    "R02": "a fake stream has only its last event",
    "R03": "tool calls have no events",
    "R04": "sequence numbers are constant or missing",
    "R05": "items are not announced, or share an index",
    "R06": "ids are placeholders",
    "R07": "reasoning has no parts of its own",
    "R08": "the last events are never sent",
    "R09": "events do not name their item and place",
    "R10": "the first index is 1",
    "R11": "indices are left out",
    "R12": "the content index counts tokens",
    "R13": "output_text.done is never sent",
    "R14": "required fields are missing or null",
    "R15": "usage has no details",
    "R16": "an error becomes a completed response",
    "R17": "a stream ends without a terminal event",
    "R18": "a cut stream looks like a success",
    "R19": "a failure in mid-stream begins to count again",
    "R29": "parallel calls become a message each",
    "R30": "reasoning becomes an empty message",
    "R31": "of text and calls, the calls are dropped",
    "R32": "arguments are only in the done event",
    "R33": "previous_response_id is ignored or not found",
    "R34": "without a store, reasoning is lost",
    "R35": "without a store, echoed items are not found",
    "R36": "an input that is a string is lost",
    "R37": "a client that leaves does not cancel the upstream",
    "R38": "events are numbered but not kept",
}

# Row -> why no test could be named for it.
UNTESTABLE: dict[str, str] = {}


def covered() -> set[str]:
    """The ids in the names of all tests, those of a range too."""
    return {id_ for path in TESTS.rglob("test_*.py") for name in _test_names(path) for id_ in ids_in(name)}


def _test_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _CASE.fullmatch(node.value):
            yield f"test_{node.value}"


def ids_in(name: str) -> set[str]:
    """The rows that a test is named for."""
    single = {word.upper() for word in name.split("_") if re.fullmatch(r"[qr]\d{2,3}", word)}
    for kind, first, last in re.findall(r"_([qr])(\d+)_to_[qr](\d+)(?=_|$)", name):
        single |= {f"{kind.upper()}{number:02}" for number in range(int(first), int(last) + 1)}
    return single


def test_the_table_has_every_row() -> None:
    numbers = [*range(1, 20), *range(29, 39)]
    assert list(ROWS) == [*(f"Q{number:02}" for number in range(1, 113)), *(f"R{number:02}" for number in numbers)]


@pytest.mark.parametrize("name", ["test_q13_an_id", "test_q12_q13_an_id", "test_q12_to_q14_ids"])
def test_ids_are_found_in_names(name: str) -> None:
    assert "Q13" in ids_in(name)
    assert "Q01" not in ids_in(name)


def test_every_row_has_a_test_named_for_it_or_a_reason() -> None:
    missing = ROWS.keys() - covered()
    assert {row: ROWS[row] for row in sorted(missing)} == {row: ROWS[row] for row in sorted(UNTESTABLE)}
