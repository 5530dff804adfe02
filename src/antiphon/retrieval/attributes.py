"""The attributes of all files of an index as columns, so that a filter is judged once for each distinct value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antiphon.retrieval.filters import Attributes, Comparison, Compound, Filter, Value, compare, kind

if TYPE_CHECKING:
    import numpy as np

    Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

# Above it, not every integer is a float64.
_EXACT = 2**53


class AttributeTable:
    """One row for each file; a key is a column of codes, a code stands for a value, and 0 for none."""

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, _Column] = {}

    def append(self, attributes: Attributes) -> int:
        """Add a row; gives its number."""
        self._rows += 1
        self.replace(self._rows - 1, attributes)
        return self._rows - 1

    def replace(self, row: int, attributes: Attributes) -> None:
        """Give a row other attributes."""
        for key in attributes.keys() - self._columns.keys():
            self._columns[key] = _Column()
        for key, column in self._columns.items():
            column.put(row, attributes.get(key))

    def mask(self, wanted: Filter) -> Mask:
        """Which rows a filter wants."""
        import numpy as np

        if isinstance(wanted, Compound):
            join = np.logical_and if wanted.operator == "and" else np.logical_or
            mask: Mask = join.reduce([self.mask(each) for each in wanted.filters])
            return mask
        column = self._columns.get(wanted.key)
        if column is None:
            return np.full(self._rows, compare(wanted, None))
        return column.mask(wanted, self._rows)


class _Column:
    """The values of one key."""

    def __init__(self) -> None:
        import numpy as np

        self._codes = np.zeros(16, dtype=np.int32)
        self._code_of: dict[tuple[str, Value], int] = {}
        self._values: list[Value | None] = [None]
        self._numbers: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None

    def put(self, row: int, value: Value | None) -> None:
        import numpy as np

        if row >= len(self._codes):
            if value is None:
                return  # what lies beyond the end has no value
            grown = np.zeros(max(row + 1, 2 * len(self._codes)), dtype=np.int32)
            grown[: len(self._codes)] = self._codes
            self._codes = grown
        self._codes[row] = 0 if value is None else self._code(value)

    def mask(self, wanted: Comparison, rows: int) -> Mask:
        import numpy as np

        verdicts = self._verdicts(wanted)
        mask = np.full(rows, verdicts[0])
        known = min(rows, len(self._codes))
        mask[:known] = verdicts[self._codes[:known]]
        return mask

    def _code(self, value: Value) -> int:
        key = (kind(value), value)
        code = self._code_of.get(key)
        if code is None:
            code = self._code_of[key] = len(self._values)
            self._values.append(value)
            self._numbers = None
        return code

    def _verdicts(self, wanted: Comparison) -> Mask:
        """What a comparison says of each value, by its code."""
        import numpy as np

        if wanted.operator in ("eq", "in", "ne", "nin"):
            values = wanted.value if isinstance(wanted.value, tuple) else (wanted.value,)
            codes = [code for value in values if (code := self._code_of.get((kind(value), value)))]
            verdicts = np.zeros(len(self._values), dtype=np.bool_)
            verdicts[codes] = True
            return ~verdicts if wanted.operator in ("ne", "nin") else verdicts
        bound = _number(wanted.value)
        if bound is not None and abs(bound) <= _EXACT and (numbers := self._as_numbers()) is not None:
            order = {"gt": np.greater, "gte": np.greater_equal, "lt": np.less, "lte": np.less_equal}
            return order[wanted.operator](numbers, bound)
        return np.fromiter((compare(wanted, value) for value in self._values), dtype=np.bool_)

    def _as_numbers(self) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
        """The values as floats, NaN where they are no numbers; None if a float cannot hold one of them."""
        import numpy as np

        if self._numbers is None:
            numbers = [_number(value) for value in self._values]
            if any(number is not None and abs(number) > _EXACT for number in numbers):
                return None
            self._numbers = np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
        return self._numbers


def _number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
