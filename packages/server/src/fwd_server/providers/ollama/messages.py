"""OpenAI's messages as Ollama's: one text for each, and bytes in bare base64 beside it.

https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Final

from fwd_server.providers import call_ids, lenient, media, request_fields
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

PROVIDER: Final = "ollama"


def read_messages(messages: list[Json]) -> list[Json]:
    """The messages; a result carries the name of the function that was called, which OpenAI's does not.

    Raises Refused for a part that Ollama cannot take.
    """
    sent: list[Json] = []
    calls: list[Json] = []  # those of the last assistant message, as the caller wrote them
    for are_results, run in groupby(enumerate(messages), lambda item: item[1]["role"] == "tool"):
        numbered = [(f"messages[{index}]", message) for index, message in run]
        if are_results:
            sent += _read_results(calls, numbered)
            continue
        for where, message in numbered:
            turn = _read_message(message, where)
            if message["role"] == "assistant":
                calls = lenient.objects(message.get("tool_calls"))
                turn |= _assistant_fields(message, turn["content"], where)
            sent.append(turn)
    return sent


def _read_results(calls: list[Json], run: list[tuple[str, Json]]) -> list[Json]:
    """Results in the caller's order, each with its call's name, and with the id that the call was sent with."""
    given_ids = [call["id"] for call in calls]
    ids = call_ids.number_repeated(given_ids)
    order = call_ids.match_results(given_ids, (message["tool_call_id"] for _, message in run))
    return [
        {**_read_message(message, where), "tool_name": calls[place]["function"]["name"], "tool_call_id": ids[place]}
        for place, (where, message) in zip(order, run, strict=True)
    ]


def _read_message(message: Json, where: str) -> Json:
    texts: list[str] = []
    pictures: list[str] = []
    for index, part in enumerate(request_fields.parts_of(message.get("content"))):
        at = f"{where}.content[{index}]"
        read = _PARTS.get(part["type"])
        if read is None:
            raise media.part_refused(part["type"], PROVIDER, at)
        written, data = read(part, at)
        texts += [written] if written is not None else []
        pictures += [data] if data is not None else []
    # Templates of models know the four older roles only.
    role = "system" if message["role"] == "developer" else message["role"]
    turn = {"role": role, "content": "\n".join(texts)}
    return {**turn, "images": pictures} if pictures else turn


def _assistant_fields(message: Json, content: str, where: str) -> Json:
    """What an assistant's turn has beside its text, and the text where a refusal belongs to it."""
    if message.get("audio"):
        raise media.part_refused("audio", PROVIDER, f"{where}.audio")
    more: Json = {}
    # Our own answers may have a refusal beside the text that came before it.
    refusal = message.get("refusal")
    if refusal and refusal not in content.split("\n"):  # Ollama has no field for it
        more["content"] = f"{content}\n{refusal}" if content else refusal
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if thinking:
        more["thinking"] = thinking
    calls = list(request_fields.calls_of(message, PROVIDER, where))
    ids = call_ids.number_repeated(call["id"] for call, _ in calls)
    sent = [
        # Arguments are an object here; as OpenAI's string they break the template of the next turn (pitfall 13).
        {
            "id": call_id,
            "function": {"name": call["function"]["name"], "arguments": request_fields.parse_arguments(call, at)},
        }
        for (call, at), call_id in zip(calls, ids, strict=True)
    ]
    return {**more, "tool_calls": sent} if sent else more


# A part's text, and its bytes in bare base64.
_Read = tuple["str | None", "str | None"]


def _read_text(part: Json, where: str) -> _Read:
    return request_fields.require_field(part, part["type"], where), None


def _read_image(part: Json, where: str) -> _Read:
    url = request_fields.require_field(part, "image_url", where)["url"]
    return None, media.read_data_url(url, PROVIDER, f"{where}.image_url.url").data


def _read_audio(part: Json, where: str) -> _Read:
    # Models that hear take sound where others take images; a model that does not answers 400 itself.
    return None, media.bare_base64(request_fields.require_field(part, "input_audio", where)["data"])


_TEXT_FILES: Final = re.compile(r"text/|application/(?:json|xml|yaml|x-yaml|toml|javascript|x-sh|sql)$")


def _read_file(part: Json, where: str) -> _Read:
    at = f"{where}.file.file_data"
    url = lenient.obj(part.get("file")).get("file_data")
    if not url:
        raise Refused(f"{PROVIDER} keeps no files: send '{at}' instead of an id.", param=f"{where}.file")
    read = media.read_data_url(url, PROVIDER, at)
    try:
        if _TEXT_FILES.match(read.mime):
            return base64.b64decode(read.data, validate=True).decode(), None
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(f"Invalid value for '{at}': expected UTF-8 text in base64.", code=None, param=at) from None
    raise Refused(f"{PROVIDER} only accepts text files; '{at}' is {read.mime}.", param=at)


_PARTS: Final[Mapping[str, Callable[[Json, str], _Read]]] = {
    "text": _read_text,
    "refusal": _read_text,
    "image_url": _read_image,
    "input_audio": _read_audio,
    "file": _read_file,
}
