"""The description of the API: valid by itself, true to every recorded exchange, and complete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from fwd_server.values.chat import ChatBody
from fwd_server.web import examples
from fwd_server.web.example_failures import failure_examples, raised_by
from fwd_server.web.openapi import build_document

WIRE = Path(__file__).parents[2] / "golden" / "wire"
DOCUMENT = build_document("1.2.3")
CASES = [case for case in json.loads((WIRE / "manifest.json").read_text("utf-8"))["cases"] if case["surface"] == "chat"]


def problems(schema: str, value: Any) -> list[str]:
    """What a schema of the document finds wrong with ``value``."""
    validator = Draft202012Validator({**DOCUMENT, "$ref": f"#/components/schemas/{schema}"})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def read(case: dict[str, Any], role: str) -> Any:
    """A JSON file of a recorded case."""
    return json.loads((WIRE / case["files"][role]).read_text("utf-8"))


def frames(sse: str) -> Iterator[Any]:
    """The JSON objects of a stream."""
    for line in sse.split("\n"):
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


def of(*kinds: str) -> list[dict[str, Any]]:
    return [case for case in CASES if case["kind"] in kinds]


def test_document_is_valid_openapi() -> None:
    """The document follows the specification, references and all."""
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_document_is_json_and_the_same_every_time() -> None:
    """It has the version it was made for, and no hidden state."""
    assert json.loads(json.dumps(DOCUMENT)) == build_document("1.2.3")
    assert DOCUMENT["info"]["version"] == "1.2.3"


@named([case for case in CASES if "client_request" in case["files"]])
def test_recorded_requests_fit(case: dict[str, Any]) -> None:
    """What callers send is what the document describes."""
    assert problems("ChatBody", read(case, "client_request")) == []


@named(of("response"))
def test_recorded_answers_fit(case: dict[str, Any]) -> None:
    """What callers get is what the document describes."""
    assert problems("ChatCompletion", read(case, "expected")) == []


@named(of("error"))
def test_recorded_errors_fit(case: dict[str, Any]) -> None:
    """Errors too, and their status is one that the operation names."""
    expected = read(case, "expected")
    responses = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert problems("Error", expected["body"]) == []
    assert str(expected["status"]) in responses


@named(of("stream", "stream_error"))
def test_recorded_streams_fit(case: dict[str, Any]) -> None:
    """Every frame of a stream is a chunk or an error."""
    for frame in frames((WIRE / case["files"]["expected"]).read_text("utf-8")):
        assert problems("Error" if "error" in frame else "ChatCompletionChunk", frame) == []


@pytest.mark.parametrize("name", examples.chat_requests())
def test_examples_of_requests_fit(name: str) -> None:
    """An example that is offered to be tried is a valid call."""
    assert problems("ChatBody", examples.chat_requests()[name]["value"]) == []


@pytest.mark.parametrize("name", examples.chat_answers())
def test_examples_of_answers_fit(name: str) -> None:
    """An example of an answer is one."""
    assert problems("ChatCompletion", examples.chat_answers()[name]["value"]) == []


def test_examples_of_the_rest_fit() -> None:
    """Stream, models and readiness."""
    assert [problems("ChatCompletionChunk", frame) for frame in frames(examples.chat_stream())] == [[]] * 7
    assert examples.chat_stream().endswith("data: [DONE]\n\n")
    assert problems("ModelList", examples.model_list()) == []
    assert problems("Ready", examples.ready_answer()) == []


def test_examples_of_errors_stand_under_their_status() -> None:
    """Each failure of the gateway is shown where its status is, and with all four keys."""
    for status, errors in failure_examples().items():
        shown = DOCUMENT["components"]["responses"][f"Error{status}"]["content"]["application/json"]["examples"]
        assert {error.status for error in errors} == {status}
        assert len(shown) == len(errors)
        assert [problems("Error", example["value"]) for example in shown.values()] == [[]] * len(errors)


def test_an_example_that_no_longer_fails_is_noticed() -> None:
    """So none can be shown that the gateway does not give."""
    with pytest.raises(AssertionError, match="nothing was refused: 7"):
        raised_by(lambda: 7)


def test_every_field_of_a_call_is_described() -> None:
    """The request's schema comes from the class that reads it."""
    assert set(DOCUMENT["components"]["schemas"]["ChatBody"]["properties"]) == {
        attribute.name for attribute in ChatBody.__attrs_attrs__
    }


@pytest.mark.parametrize(
    ("part", "good"),
    [
        ({"type": "text", "text": "hi"}, True),
        ({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}, True),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, True),
        ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, True),
        ({"type": "text"}, False),
        ({"type": "image_url", "text": "hi"}, False),
        ({"text": "hi"}, False),
    ],
)
def test_content_part_is_one_of_its_types(part: dict[str, Any], good: bool) -> None:
    """A part has the field its type names; a type that nobody knows travels on."""
    assert (problems("Part", part) == []) is good


def test_bad_calls_do_not_fit() -> None:
    """The schema refuses what the gateway refuses."""
    hello = {"role": "user", "content": "hi"}
    assert problems("ChatBody", {"messages": []})
    assert problems("ChatBody", {"messages": [{"role": "wizard", "content": "hi"}]})
    assert problems("ChatBody", {"messages": [hello], "n": 0})
    assert problems("ChatBody", {"messages": [hello], "model": 3})


def test_every_operation_has_a_name_and_says_who_may_call_it() -> None:
    """Names are unique, for they become methods of generated clients; pages need no key."""
    operations = {
        f"{method} {path}": operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
    }
    open_to_all = {name for name, operation in operations.items() if operation.get("security") == []}
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations) == 15
    assert open_to_all == {"get /", "get /docs", "get /redoc", "get /openapi.json", "get /health"}


def test_no_schema_says_that_its_default_is_null() -> None:
    """Nor has any text the double backticks of docstrings."""
    text = json.dumps(DOCUMENT)
    assert '"default": null' not in text
    assert "``" not in text


def test_titles_are_the_names_of_schemas() -> None:
    """Generators name classes after titles: two that are alike would cost a caller one of them."""
    found = DOCUMENT["components"]["schemas"]
    assert [name for name, schema in found.items() if schema["title"] != name] == []
    assert len({name.lower() for name in found}) == len(found)
