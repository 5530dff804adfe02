import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.retrieval.terms import searchable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, unchanged", "plain words, unchanged"),
        ("getUserName", "getUserName\nget User Name"),
        ("HTTPServer2Go", "HTTPServer2Go\nHTTP Server2 Go"),
        ("東京都", " 東京 京都 "),
        ("に", " に "),
        ("the 天気 is", "the  天気  is"),
        ("Grüße", "Grüße"),
        ("CamelCase und McDonald", "CamelCase und McDonald\nCamel Case Mc Donald"),
    ],
)
def test_words_are_written_out_as_they_are_looked_for(text: str, expected: str) -> None:
    assert searchable(text) == expected


@given(st.text())
def test_no_letter_is_lost(text: str) -> None:
    assert set(text) - {" "} <= set(searchable(text))
