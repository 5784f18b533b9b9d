"""OpenAI's messages as Ollama's: one text for each, and bytes in bare base64 beside it.

https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Final

from fwd_server.providers import lenient, media, request_fields
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

PROVIDER: Final = "ollama"


def read_messages(messages: list[Json]) -> list[Json]:
    """The messages. Raises Refused for a part that Ollama cannot take."""
    names: dict[str, str] = {}  # of the calls, by id; an id used twice means the later one
    sent = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        turn = _turn(message, where)
        if message["role"] == "assistant":
            turn |= _assistant(message, names, where)
        elif message["role"] == "tool":
            turn["tool_name"] = names.get(message["tool_call_id"], "")
            turn["tool_call_id"] = message["tool_call_id"]
        sent.append(turn)
    return sent


def _turn(message: Json, where: str) -> Json:
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
    role = "system" if message["role"] == "developer" else message["role"]
    turn = {"role": role, "content": "\n".join(texts)}
    return {**turn, "images": pictures} if pictures else turn


def _assistant(message: Json, names: dict[str, str], where: str) -> Json:
    more: Json = {}
    if message.get("content") is None and message.get("refusal"):
        more["content"] = message["refusal"]
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if thinking:
        more["thinking"] = thinking
    calls = []
    for call, at in request_fields.calls_of(message, PROVIDER, where):
        name = names[call["id"]] = call["function"]["name"]
        calls.append({"id": call["id"], "function": {"name": name, "arguments": request_fields.arguments(call, at)}})
    return {**more, "tool_calls": calls} if calls else more


# A part's text, and its bytes in bare base64.
_Read = tuple["str | None", "str | None"]


def _text(part: Json, where: str) -> _Read:
    return request_fields.needed(part, part["type"], where), None


def _image(part: Json, where: str) -> _Read:
    url = request_fields.needed(part, "image_url", where)["url"]
    return None, media.inline(url, PROVIDER, f"{where}.image_url.url").data


def _audio(part: Json, where: str) -> _Read:
    # Models that hear take sound where others take images; a model that does not answers 400 itself.
    return None, media.bare_base64(request_fields.needed(part, "input_audio", where)["data"])


_TEXT_FILES: Final = re.compile(r"text/|application/(?:json|xml|yaml|x-yaml|toml|javascript|x-sh|sql)$")


def _file(part: Json, where: str) -> _Read:
    at = f"{where}.file.file_data"
    url = lenient.obj(part.get("file")).get("file_data")
    if not url:
        raise Refused(f"{PROVIDER} keeps no files: send '{at}' instead of an id.", param=f"{where}.file")
    read = media.inline(url, PROVIDER, at)
    try:
        if _TEXT_FILES.match(read.mime):
            return base64.b64decode(read.data, validate=True).decode(), None
    except (binascii.Error, UnicodeDecodeError):
        raise Refused(f"Invalid value for '{at}': expected UTF-8 text in base64.", code=None, param=at) from None
    raise Refused(f"{PROVIDER} takes text files only; '{at}' is {read.mime}.", param=at)


_PARTS: Final[Mapping[str, Callable[[Json, str], _Read]]] = {
    "text": _text,
    "refusal": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}
