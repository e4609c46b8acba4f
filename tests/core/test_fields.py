"""Fields: what is in bounds is taken as it is, what is not is refused and never bent."""

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core import fields, json
from core.errors import InvalidError
from core.ids import is_id, new_epoch, new_id, new_secret
from core.validation import check

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


def takes(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


class TestData:
    @given(values)
    def test_it_is_kept_as_it_is_unless_it_holds_nul(self, value):
        kept = "\\u0000" not in json.dumps(value).decode() or "\x00" not in _texts(value)

        assert takes(fields.Data, value) == kept
        if kept:
            assert json.loads(json.dumps(TypeAdapter(fields.Data).validate_python(value))) == value


def _texts(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(map(_texts, [*value.keys(), *value.values()]))
    if isinstance(value, list):
        return "".join(map(_texts, value))
    return value if isinstance(value, str) else ""


class TestBounds:
    @pytest.mark.parametrize(
        ("kind", "good", "bad"),
        [
            (fields.Id, [new_id()], ["", "x", new_id().upper(), new_id() + "\n", "0" * 36, 1]),
            (
                fields.Slug,
                ["ab", "a" * 64, "0-9"],
                ["a", "a" * 65, "-a", "a-", "A", new_id(), "a\n"],
            ),
            (
                fields.Username,
                ["ab", "A.b_c-9", "x" * 32],
                ["a", "x" * 33, ".a", "a b", "é", "ab\n"],
            ),
            (fields.Password, ["x" * 8, "é" * 128], ["x" * 7, "x" * 129, "x" * 8 + "\x00"]),
            (fields.Name, ["x", " x ", "é" * 80], ["", "  ", "x" * 81, "x\x00"]),
            (fields.Topic, ["", "x" * 250], ["x" * 251, "\x00"]),
            (fields.Key, ["x", " ", "é" * 128], ["", "x" * 129, "\x00"]),
            (fields.EventType, ["a.b", "a." + "b" * 126], ["a", "a.b\n", "a." + "b" * 127, "A.b"]),
            (fields.Offset, [0, 1, 2**53 - 1], [-1, 2**53, "1", 1.0, True, None]),
            (fields.Epoch, ["x", "x" * 16], ["", "x" * 17, "\x00"]),
        ],
    )
    def test_at_and_over(self, kind, good, bad):
        assert [value for value in good if not takes(kind, value)] == []
        assert [value for value in bad if takes(kind, value)] == []


class TestInput:
    class Sample(fields.Input):
        """A model of two fields."""

        name: fields.Name
        count: Annotated[int, "any"] = 0

    def test_every_fault_is_named_and_nothing_repeated(self):
        with pytest.raises(InvalidError) as refused:
            check(self.Sample, {"name": 42, "count": "secret", "other": "secret"})

        assert [fault.field for fault in refused.value.faults] == ["name", "count", "other"]
        assert "secret" not in repr(refused.value.faults)

    def test_what_is_no_object_is_at_fault_as_a_whole(self):
        with pytest.raises(InvalidError) as refused:
            check(self.Sample, [1])

        assert [fault.field for fault in refused.value.faults] == ["(whole)"]

    def test_many_faults_are_cut_short(self):
        with pytest.raises(InvalidError) as refused:
            check(self.Sample, {str(number): 1 for number in range(1000)})

        assert len(refused.value.faults) == 20


class TestIds:
    def test_they_sort_in_the_order_of_their_making(self):
        made = [new_id() for _ in range(2_000)]

        assert made == sorted(made)
        assert len(set(made)) == 2_000
        assert all(is_id(text) for text in made)

    @pytest.mark.parametrize("text", ["", "x", "0" * 36, new_id() + "\n", new_id().upper()])
    def test_what_is_none(self, text):
        assert not is_id(text)

    def test_secrets_are_long_and_epochs_short(self):
        assert len({new_secret() for _ in range(100)}) == 100
        assert len(new_secret()) >= 43
        assert len(new_epoch()) <= 16
