from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import ExtractionError
from antiphon.retrieval import documents
from antiphon.retrieval.extraction import extract
from antiphon.retrieval.formats import docx as docx_format
from retrieval.files import archive, docx, pdf

PAGE = b"""<!DOCTYPE html><html><head><title>Bread &amp; butter</title><style>p {color: red}</style></head><body>
<nav><a href="/">Home</a></nav><h1>Bread</h1><p>It is <b>baked</b><br>daily.</p><script>track()</script>
<pre>def bake():
    oven()</pre><ul><li>rye</li><li>wheat</ul>
<table> <tr> <th>kind</th> <th>price</th></tr><tr><td>rye</td><td>3</td></tr></table><footer>Imprint</footer>"""


def refusal(data: bytes, filename: str, media_type: str | None = None) -> str:
    with pytest.raises(ExtractionError) as refused:
        extract(data, filename=filename, media_type=media_type)
    assert refused.value.message.endswith(".")
    return refused.value.reason


# --- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_text_is_read_in_the_encoding_it_says(encoding: str) -> None:
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    assert extract(mark + "Grüße 🥖\r\nzwei".encode(encoding), filename="a.txt").text == "Grüße 🥖\nzwei"


def test_text_in_latin_1_is_read_and_the_guess_is_said() -> None:
    extracted = extract("Grüße – “ja”".encode("cp1252"), filename="a.txt")
    assert extracted.text == "Grüße – “ja”"
    assert "Latin-1" in extracted.notes[0]


@pytest.mark.parametrize(
    ("filename", "media_type", "kind", "language"),
    [
        ("a.txt", None, "text", ""),
        ("README", None, "text", ""),
        ("a.md", None, "markdown", ""),
        ("upload", "text/markdown; charset=utf-8", "markdown", ""),
        ("a.py", None, "code", "python"),
        ("A.RS", "text/plain", "code", "rust"),
    ],
)
def test_the_kind_is_known_by_name_and_media_type(
    filename: str, media_type: str | None, kind: str, language: str
) -> None:
    extracted = extract(b"# one", filename=filename, media_type=media_type)
    assert (extracted.text, extracted.kind, extracted.language) == ("# one", kind, language)


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"bread")
    assert extract(tmp_path / "a.txt", filename="a.txt").text == "bread"


# --- formats ------------------------------------------------------------------------------------


def test_a_page_is_read_as_markdown_without_its_navigation() -> None:
    extracted = extract(PAGE, filename="a.html")
    assert extracted.title == "Bread & butter"
    assert extracted.text == (
        "# Bread\n\nIt is baked\ndaily.\n\ndef bake():\n    oven()\n\n- rye\n- wheat\n\nkind | price\nrye | 3"
    )


def test_a_page_is_known_without_a_name() -> None:
    assert extract(PAGE, filename="upload").kind == "html"


def test_a_page_in_the_encoding_it_declares() -> None:
    page = '<meta charset="shift_jis"><p>パンを焼く</p>'.encode("shift_jis")
    assert extract(page, filename="a.html").text == "パンを焼く"


def test_deep_pages_do_not_end_the_stack() -> None:
    assert extract(b"<div>" * 3_000 + b"deep", filename="a.html").text == "deep"
    assert extract(b"<p>flat<br>" * 9_000, filename="a.html").text.startswith("flat")
    assert refusal(b"<div>" * 20_000 + b"deep", "a.html") == "invalid_file"


def test_a_pdf_is_read_page_by_page() -> None:
    extracted = extract(pdf(["Bread is baked.", "", "Salt is mined."], title="Food"), filename="upload")
    assert extracted.text == "Bread is baked.\n\nSalt is mined."
    assert [extracted.text[start:][:4] for start in extracted.pages] == ["Brea", "Salt", "Salt"]
    assert (extracted.kind, extracted.title) == ("pdf", "Food")
    assert extracted.notes == ("1 of 3 pages hold no text.",)


def test_a_word_document_is_read_in_its_order() -> None:
    extracted = extract(docx(), filename="upload.bin")
    assert (extracted.kind, extracted.title) == ("docx", "Report")
    assert extracted.text == (
        "# The report\n\n# Sales\n\nSales rose by 15 %.\n\n- in Europe\n\nRegion | Growth\nEU | 15 %\n\nThe end."
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_row_says_the_names_of_its_values(delimiter: str) -> None:
    rows = [["region", "growth"], ["EU", "15"], ["US", '"2\n3"'], ["", "4"]]
    data = "\r\n".join(delimiter.join(row) for row in rows).encode()
    assert extract(data, filename="a.csv").text == "region: EU; growth: 15\nregion: US; growth: 2 3\ngrowth: 4"


def test_rows_without_names_are_kept_as_they_are() -> None:
    assert extract(b"1,2\n3,4\n", filename="a.csv").text == "1; 2\n3; 4"
    assert extract(b"region,growth\n", filename="a.csv").text == "region; growth"


def test_values_of_json_say_their_path() -> None:
    data = b'[{"name": "rye", "made": {"of": ["flour", "salt"], "in": [{"oven": 1}]}, "old": null}, {"name": "x"}]'
    extracted = extract(data, filename="a.json")
    assert extracted.text == "name: rye\nmade.of: flour, salt\nmade.in[0].oven: 1\n\nname: x"
    assert extract(b'{"a": 1}\n\n{"a": true}', filename="a.jsonl").text == "a: 1\n\na: true"


@pytest.mark.parametrize("data", [b"{not json", b"[" * 100_000, b'{"a": 1} trailing'])
def test_what_is_called_json_and_is_none_is_text(data: bytes) -> None:
    extracted = extract(data, filename="a.json")
    assert extracted.text == data.decode()
    assert "not JSON" in extracted.notes[0]


# --- refusals -----------------------------------------------------------------------------------

PLAIN = b"[Content_Types].xml and so on"


@pytest.mark.parametrize(
    ("data", "filename", "reason"),
    [
        (b"", "a.txt", "empty_file"),
        (b" \r\n\t", "a.txt", "empty_file"),
        (b"\xef\xbb\xbf \n", "a.txt", "empty_file"),
        (b"\x00" * 100, "a.txt", "empty_file"),
        (bytes(range(256)) * 4, "a.txt", "unsupported_file"),
        (b"\x01\x02\x03bread", "a.txt", "unsupported_file"),
        (b"bread\x00salt", "a.txt", "unsupported_file"),
        (b"\xff\xfe\x00", "a.txt", "invalid_file"),
        (b"\x89PNG\r\n\x1a\n....", "a.txt", "unsupported_file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old", "a.doc", "unsupported_file"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "a.docx",
            "encrypted_file",
        ),
        (archive(xl__workbook_xml=PLAIN), "a.xlsx", "unsupported_file"),
        (archive(a_txt=PLAIN), "a.zip", "unsupported_file"),
        (archive(word__document_xml=PLAIN), "a.docx", "invalid_file"),
        (docx()[:-200], "a.docx", "invalid_file"),
        (b"bread", "a.docx", "invalid_file"),
        (b"bread", "a.pdf", "invalid_file"),
        (b"%PDF-1.4\nbut that is all", "a.pdf", "invalid_file"),
        (pdf(["secret"], encrypted=True), "a.pdf", "encrypted_file"),
        (pdf(["", ""]), "a.pdf", "no_text"),
        (b"<html><script>x()</script></html>", "a.html", "no_text"),
        (b'"' + b"x" * 200_000, "a.csv", "invalid_file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(data: bytes, filename: str, reason: str) -> None:
    assert refusal(data, filename) == reason


def test_a_small_document_that_unpacks_to_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive(word__document_xml=b"<w:t>" * 400_000)
    assert len(bomb) < 10_000
    monkeypatch.setattr(docx_format, "MAX_PART_BYTES", 1_000_000)
    assert refusal(bomb, "a.docx") == "file_too_large"


def test_a_document_that_lies_about_its_size_is_refused() -> None:
    honest = archive(word__document_xml=b"<w:t>" * 1000)
    size = (5000).to_bytes(4, "little")
    assert honest.count(size) == 2
    assert refusal(honest.replace(size, (50).to_bytes(4, "little")), "a.docx") == "invalid_file"


def test_files_and_texts_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_TEXT_CHARS", 100)
    assert refusal(b"bread " * 20, "a.txt") == "file_too_large"
    assert refusal(b"a_very_long_name\n" + b"1\n" * 20, "a.csv") == "file_too_large"
    assert refusal(b"<p>bread" * 40, "a.html") == "file_too_large"


# --- whatever it is -----------------------------------------------------------------------------

REASONS = {"unsupported_file", "invalid_file", "empty_file", "encrypted_file", "no_text", "file_too_large"}
EXTENSIONS = ["txt", "md", "py", "html", "csv", "json", "jsonl", "pdf", "docx", "", "bin"]
SAMPLES = [PAGE, pdf(["Bread is baked.", "Salt"]), docx(), b"a,b\n1,2\n", b'{"a": [1, {"b": null}]}', "Grüße".encode()]


def holds(data: bytes, extension: str) -> None:
    try:
        extracted = extract(data, filename=f"a.{extension}")
    except ExtractionError as error:
        refused = error.reason
        extracted = None
    if extracted is None:
        assert refused in REASONS
        return
    assert extracted.text.strip()
    extracted.text.encode()
    assert "\x00" not in extracted.text
    assert all(0 <= page <= len(extracted.text) for page in extracted.pages)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)), st.sampled_from(EXTENSIONS))
def test_any_bytes_give_text_or_a_reason(data: bytes, extension: str) -> None:
    holds(data, extension)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SAMPLES), st.sampled_from(EXTENSIONS), st.data())
def test_any_damage_to_a_file_gives_text_or_a_reason(sample: bytes, extension: str, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        if not damaged:
            break
    holds(bytes(damaged), extension)
