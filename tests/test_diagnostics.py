"""The page of diagnostics names every id that the code can emit, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "antiphon"
PAGE = ROOT / "docs" / "diagnostics.md"
_ID = re.compile(r"[QR]\d{2,3}")


def emitted(tree: ast.AST) -> Iterator[str]:
    """The ids in a module: what looks like one, and the first argument of calls that tell of something.

    Rows that only name a rule are left out: those whose ``done`` is None, and those that leave it to what they call.
    """
    silent = {id(call.args[0]) for call in ast.walk(tree) if isinstance(call, ast.Call) and _is_silent(call)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if _ID.fullmatch(text) and id(node) not in silent:
                yield text
            case ast.Call(func=ast.Attribute(attr="add"), args=[ast.Constant(value=str(text))], keywords=keywords) if {
                word.arg for word in keywords
            } == {"seen", "done"}:
                yield text
            case ast.Call(func=ast.Attribute(attr="note"), args=[ast.Constant(value=str(text)), _, _]) if (
                not _ID.fullmatch(text)
            ):
                yield text
            case ast.keyword(arg="quirk", value=ast.Constant(value=str(text))) if not _ID.fullmatch(text):
                yield text


def _is_silent(call: ast.Call) -> bool:
    match call:
        case ast.Call(func=ast.Name(id="Row"), args=[_, *_, ast.Constant(value=None)]):
            return True
        case ast.Call(func=ast.Name(id="Rule"), args=[_, *_]):
            return True
    return False


def test_the_page_has_every_diagnostic_that_can_be_emitted_and_no_other() -> None:
    in_code = {id_ for path in SRC.rglob("*.py") for id_ in emitted(ast.parse(path.read_text(encoding="utf-8")))}
    on_page = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8").partition("\n## Metrics")[0], re.MULTILINE)
    assert len(in_code) > 40
    assert sorted(on_page) == sorted(in_code)


def test_an_id_is_found_however_it_is_emitted() -> None:
    code = """
note("Q01", seen, "done")
Row("Q02", "meaning", when, "new", "done"); Row("Q03", "meaning", when, "new", None); Rule("Q04", "meaning", settle)
Settled((), quirk="Q05"); quirk = "Q106" if x else "R07"
notes.add("unknown_thing", seen=x, done="y"); seen.add("nothing"); Diagnostic(quirk="thing_dropped")
note("nothing", 1); self.note("thing_noted", seen, "done")
"""
    assert sorted(emitted(ast.parse(code))) == [
        "Q01",
        "Q02",
        "Q05",
        "Q106",
        "R07",
        "thing_dropped",
        "thing_noted",
        "unknown_thing",
    ]
