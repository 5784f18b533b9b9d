"""What other programs need to know to call the gateway: lines for a shell, or a change to a file of theirs. Pure.

Where each program looks:
- OpenAI's SDK: https://github.com/openai/openai-python, Anthropic's: https://github.com/anthropics/anthropic-sdk-python
- Claude Code: https://code.claude.com/docs/en/llm-gateway (the address without /v1, the token in ``env``)
- Codex: https://developers.openai.com/codex/config-advanced (a profile is a file of its own; Responses only)
- Open WebUI: https://docs.openwebui.com, Continue: https://docs.continue.dev/reference
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from attrs import frozen

BEGIN, END = "# >>> fwd connect", "# <<< fwd connect"


class CannotWire(ValueError):
    """A file that is not as expected; the text says why it cannot be changed."""


@frozen
class Place:
    """What is wired to: the gateway's address, the key (or the words for it), the model if one was chosen."""

    url: str
    key: str
    model: str = ""


@frozen
class Target:
    """A program. ``needs`` is the path of the gateway it calls; either ``lines`` or ``file`` and ``change``.

    ``file`` is below the folder that ``home`` names, or below its default in the home directory. ``change`` makes the
    new text of that file from the old one, which is empty when there is none.
    """

    about: str
    needs: str = "/v1/chat/completions"
    lines: Callable[[Place], str] | None = None
    note: str = ""
    home: tuple[str, str] = ("", "")
    file: str = ""
    change: Callable[[str, Place], str] | None = None
    needs_model: bool = False
    then: str = ""


def openai_sdk(place: Place) -> str:
    """Variables that OpenAI's SDKs read, in every language."""
    return f'export OPENAI_BASE_URL={place.url}/v1\nexport OPENAI_API_KEY="{place.key}"\n'


def anthropic_sdk(place: Place) -> str:
    """Variables that Anthropic's SDKs read; they add ``/v1`` themselves."""
    return f'export ANTHROPIC_BASE_URL={place.url}\nexport ANTHROPIC_API_KEY="{place.key}"\n'


def curl(place: Place) -> str:
    """One call."""
    body = {"messages": [{"role": "user", "content": "hello"}]}
    sent = json.dumps({"model": place.model, **body} if place.model else body)
    return (
        f"curl -s {place.url}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {place.key}" -H "Content-Type: application/json" \\\n'
        f"  -d '{sent}'\n"
    )


def open_webui(place: Place) -> str:
    """Variables of Open WebUI's server."""
    return f'export OPENAI_API_BASE_URL={place.url}/v1\nexport OPENAI_API_KEY="{place.key}"\n'


def claude_code(before: str, place: Place) -> str:
    """``settings.json`` with the gateway in its ``env``; everything else stays."""
    try:
        settings = json.loads(before or "{}")
    except ValueError as error:
        raise CannotWire(f"it is not JSON: {error}") from error
    # A file that other programs read is not repaired by guessing.
    if not isinstance(settings, dict) or not isinstance(settings.get("env", {}), dict):
        raise CannotWire("it is not an object with an object under env")
    ours = {"ANTHROPIC_BASE_URL": place.url, "ANTHROPIC_AUTH_TOKEN": place.key}
    model = {"ANTHROPIC_MODEL": place.model} if place.model else {}
    return json.dumps({**settings, "env": {**settings.get("env", {}), **ours, **model}}, indent=2) + "\n"


def codex(before: str, place: Place) -> str:
    """A profile of its own; the key stays in the environment."""
    return f"""\
{BEGIN}
model = {json.dumps(place.model)}
model_provider = "fwd"

[model_providers.fwd]
name = "fwd"
base_url = "{place.url}/v1"
env_key = "FORWARDER_KEY"
wire_api = "responses"
{END}
"""


def continue_(before: str, place: Place) -> str:
    """``config.yaml`` with one more model, before the others; everything else stays."""
    # What an earlier connect wrote goes first, or the model would be there twice.
    text = re.sub(rf"^ *{BEGIN}\n.*?^ *{END}\n", "", before, flags=re.DOTALL | re.MULTILINE)
    if not text.strip():
        return f"name: fwd\nversion: 1.0.0\nschema: v1\nmodels:\n{_continue_model(place, '  ')}"
    # Edited as lines: reading and writing YAML would lose comments and the order.
    found = re.search(r"^models:[ \t]*(\[\])?[ \t]*\n(?:[ \t]*(?:#.*)?\n)*([ ]*)(- )?", f"{text}\n", re.MULTILINE)
    if found is None:
        if re.search(r"^models:", text, re.MULTILINE):
            raise CannotWire("its models are not a list of lines")
        return f"{text.rstrip()}\nmodels:\n{_continue_model(place, '  ')}"
    # The list goes on as it began: YAML takes only one indent in it.
    indent = found[2] if found[3] else "  "
    line_end = text.index("\n", found.start()) + 1 if "\n" in text[found.start() :] else len(text)
    return f"{text[: found.start()]}models:\n{_continue_model(place, indent)}{text[line_end:]}"


def _continue_model(place: Place, indent: str) -> str:
    lines = (
        BEGIN,
        f"- name: {json.dumps(f'{place.model} (fwd)')}",
        "  provider: openai",
        f"  model: {json.dumps(place.model)}",
        f"  apiBase: {place.url}/v1",
        f"  apiKey: {place.key}",
        END,
    )
    return "".join(f"{indent}{line}\n" for line in lines)


_NOT_IN_DOTENV = "Not for the .env of the gateway itself: there these names mean the provider."
TARGETS: Mapping[str, Target] = {
    "openai-sdk": Target("OpenAI's SDKs, and whatever reads their variables", lines=openai_sdk, note=_NOT_IN_DOTENV),
    "anthropic-sdk": Target("Anthropic's SDKs", needs="/v1/messages", lines=anthropic_sdk, note=_NOT_IN_DOTENV),
    "claude-code": Target(
        "Claude Code",
        needs="/v1/messages",
        home=("CLAUDE_CONFIG_DIR", ".claude"),
        file="settings.json",
        change=claude_code,
        then="claude, where /status shows the address",
    ),
    "codex": Target(
        "Codex",
        needs="/v1/responses",
        home=("CODEX_HOME", ".codex"),
        file="fwd.config.toml",
        change=codex,
        needs_model=True,
        then="codex --profile fwd, with FORWARDER_KEY exported",
    ),
    "curl": Target("a shell", lines=curl),
    "open-webui": Target(
        "Open WebUI",
        lines=open_webui,
        note="In a container 127.0.0.1 is the container: run the gateway with --host 0.0.0.0 and "
        "FWD_ALLOWED_HOSTS=host.docker.internal, and give that name here with --server.",
    ),
    "continue": Target(
        "Continue, for VS Code and JetBrains",
        home=("CONTINUE_GLOBAL_DIR", ".continue"),
        file="config.yaml",
        change=continue_,
        needs_model=True,
        then="Continue reads its file again by itself",
    ),
}
