"""Tool calls that come in fragments, from servers of all kinds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers.golden import fresh_ids

from fwd_server.providers.call_ids import AnswerIds
from fwd_server.providers.compatible.calls import CallFragments


def fragment(arguments: object = None, **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def folded(*fragments: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What a client makes of it: id, name and arguments of each call, added up by index."""
    calls = CallFragments(AnswerIds(fresh_ids()))
    said = [given for given in map(calls.read_fragment, fragments) if given]
    found: dict[int, list[str]] = {}
    for given in [*said, *calls.missing_arguments()]:
        opening = "id" in given
        assert opening is (given["index"] not in found), "id, type and name come once, and first"
        call = found.setdefault(given["index"], [given.get("id", ""), given["function"].get("name", ""), ""])
        call[2] += given["function"]["arguments"]
    assert list(found) == list(range(len(found)))
    return [(id_, name, arguments) for id_, name, arguments in found.values()]


A, B = ("a", "f", '{"x":1}'), ("b", "g", "{}")


@pytest.mark.parametrize(
    "fragments",
    [
        [fragment("", index=0, id="a", name="f"), fragment('{"x"', index=0), fragment(":1}", index=0)],
        [fragment("", index=1, id="a", name="f"), fragment('{"x":1}', index=1)],
        [fragment(None, index=0, id="a", name="f"), fragment('{"x":1}')],
        [fragment('{"x"', id="a", name="f"), fragment(":1}", id="a", name="f")],
        [fragment('{"x"', index=0, id="a", name="f"), fragment(":1}", index=0, id="fresh")],
        [fragment('{"x"', index=0, id="a", name="f"), fragment(":1}", index=0, id="", name="f")],
        [fragment({"x": 1}, index=0, id="a", name="f")],
        [fragment('{"x":1}', index=0, id="a", name="f"), fragment('{"x":1}', index=0)],
        [fragment("", index=0, id="a"), fragment('{"x"', index=0), fragment(":1}", index=0, name="f")],
    ],
)
def test_one_call(fragments: list[dict[str, Any]]) -> None:
    """Pitfalls 5, 8: no index, one from 1, ids repeated or fresh, names repeated or late, arguments as an object."""
    assert folded(*fragments) == [A]


@pytest.mark.parametrize(
    "fragments",
    [
        [fragment('{"x":1}', index=0, id="a", name="f"), fragment("{}", index=1, id="b", name="g")],
        [fragment('{"x":1}', index=0, id="a", name="f"), fragment("{}", index=0, id="b", name="g")],
        [fragment('{"x":1}', id="a", name="f"), fragment("{}", id="b", name="g")],
        [
            fragment("", index=0, id="a", name="f"),
            fragment("", index=1, id="b", name="g"),
            fragment("{}", index=1),
            fragment('{"x":1}', index=0),
        ],
        [fragment('{"x":1}', index=0, id="a", name="f"), fragment("", index=1, id="b", name="g")],
        [fragment('{"x":1}', id="a", name="f"), fragment("", id="b", name="g"), fragment("{}", id="b")],
    ],
)
def test_two_calls(fragments: list[dict[str, Any]]) -> None:
    """Pitfalls 4, 7: one index for both, none at all, pieces in turns, a call without arguments."""
    assert folded(*fragments) == [A, B]


def test_two_calls_without_ids() -> None:
    """Pitfall 8: ids are made; another name, or a complete call before it, begins a new one."""
    both = folded(fragment("{}", index=0, name="f"), fragment("{}", index=0, name="g"), fragment("{}", name="g"))
    assert both == [("call_fx_0", "f", "{}"), ("call_fx_1", "g", "{}"), ("call_fx_2", "g", "{}")]


@pytest.mark.parametrize(
    "fragments",
    [
        [fragment('{"x":1}', index=0, id="a", name="f"), fragment("{}", index=1, id="a", name="g")],
        [fragment('{"x":1}', index=3, id="a", name="f"), fragment("{}", index=5, id="a", name="g")],
        [fragment('{"x":1}', id="a", name="f"), fragment("{}", id="a", name="g")],
        [
            fragment("", index=0, id="a", name="f"),
            fragment("", index=1, id="a", name="g"),
            fragment('{"x"', index=0, id="a"),
            fragment("{}", index=1, id="a"),
            fragment(":1}", index=0, id="a"),
        ],
    ],
)
def test_two_calls_with_one_id(fragments: list[dict[str, Any]]) -> None:
    """The index tells them apart, or without one the name; the second one gets an id of its own."""
    assert folded(*fragments) == [A, ("call_fx_0", "g", "{}")]


def test_one_function_called_twice_with_one_id() -> None:
    """The index tells the calls apart, whatever the id is."""
    first, second = fragment("{}", id="a", name="f"), fragment('{"x":1}', id="a", name="f")
    found = folded({**first, "index": 0}, {**second, "index": 1})
    assert found == [("a", "f", "{}"), ("call_fx_0", "f", '{"x":1}')]


def test_more_of_a_call_may_be_relayed_where_its_number_is_the_servers() -> None:
    """What went out as it came counts, too: a call that is said again in full adds nothing."""
    calls = CallFragments(AnswerIds(fresh_ids()))
    calls.read_fragment(fragment("", index=0, id="a", name="f"))
    calls.read_fragment(fragment("", index=2, id="b", name="g"))
    assert calls.add_relayed(0, '{"x":1}')
    assert not calls.add_relayed(0, '{"x":1}'), "said again"
    assert not calls.add_relayed(1, "{}"), "nobody's"
    assert not calls.add_relayed(2, "{}"), "has another number here"
    assert calls.missing_arguments() == [{"index": 1, "function": {"arguments": "{}"}}]


def test_a_call_without_a_name_is_none() -> None:
    """Pitfall 8: a call counts when it has a name."""
    assert folded(fragment("{}", index=0, id="a")) == []


def test_broken_arguments_stay_broken() -> None:
    """Pitfall 9: what the model wrote is never repaired, nor taken for a repetition."""
    assert folded(fragment("{", index=0, id="a", name="f"), fragment("{", index=0)) == [("a", "f", "{{")]


def test_long_arguments_are_not_read_again_and_again() -> None:
    """Contract T38: a name with every fragment, no ids; past 64 KiB another fragment of it is simply more."""
    piece = '{"x":"' + "y" * (1 << 16) + '"}'
    assert len(folded(fragment(piece, name="f"), fragment("{}", name="f"))) == 1
    assert len(folded(fragment("{}", name="f"), fragment("{}", name="f"))) == 2


def test_long_arguments_may_be_repeated_too() -> None:
    """The whole call once more at its end is dropped, however long it is."""
    piece = '{"x":"' + "y" * (1 << 17) + '"}'
    assert folded(fragment(piece, index=0, id="a", name="f"), fragment(piece, index=0)) == [("a", "f", piece)]


def test_what_else_a_call_says_stays() -> None:
    """Gemini's signature travels in extra_content."""
    calls = CallFragments(AnswerIds(fresh_ids()))
    found = calls.read_fragment(fragment("{}", index=3, id="a", name="f", extra_content={"google": {}}))
    assert found is not None
    assert found["extra_content"] == {"google": {}}
    assert (found["index"], found["type"], orjson.loads(found["function"]["arguments"])) == (0, "function", {})
