"""The pages about ``fwd.toml``: every example is a file that fwd takes without a warning of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fwd_cli.litellm_import import translate
from fwd_server.app import build_table
from fwd_server.routing.planner import Routes
from fwd_server.settings import load_settings
from fwd_server.settings.config_file import ConfigText

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "models.md").read_text()
EXAMPLES = re.findall(r"^## ([^\n]+)\n|```toml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
KEYS = ("OPENAI_API_KEY", "OPENAI_API_KEY_2", "ANTHROPIC_API_KEY", "GROQ_API_KEY", "GOOGLE_API_KEY")
VARIABLES = {
    **dict.fromkeys((*KEYS, "OPENROUTER_API_KEY", "AZURE_EU_KEY"), "canary-key"),
    "PROVIDERS_PRIORITY": "openai",
    "OPENAI_MODEL": "gpt-5",
}


def named_examples() -> list[tuple[str, str]]:
    found, title = [], ""
    for heading, text in EXAMPLES:
        title = heading or title
        if text:
            found.append((f"{title} {sum(name.startswith(title) for name, _ in found) + 1}", text))
    return found


def table_of(text: str) -> tuple[Routes, tuple[str, ...]]:
    built = build_table(load_settings({}, VARIABLES, None, ConfigText(text)).settings)
    return built.routes, built.warnings


@pytest.mark.parametrize(("name", "text"), named_examples(), ids=[name for name, _ in named_examples()])
def test_every_example_is_a_good_file(name: str, text: str) -> None:
    """Whoever copies it has what the page says, without a warning; every name in it can be planned."""
    routes, warnings = table_of(text)
    assert warnings == ()
    for public in routes.models.values():
        assert routes.find_model(public.name.replace("*", "x")).lanes


def test_the_names_of_the_examples_go_where_the_page_says() -> None:
    examples = dict(named_examples())
    routes, _ = table_of(examples["A name of your own 1"])
    assert [lane.name for lane in routes.find_model("gpt-5").lanes] == ["openai:gpt-5"]
    routes, _ = table_of(examples["Several deployments 1"])
    smart = routes.find_model("gpt-4o")
    assert [(lane.instance.name, lane.weight, lane.tier) for lane in smart.lanes] == [
        ("openai", 3, 0),
        ("azure-eu", 1, 0),
        ("openrouter", 1, 1),
    ]
    assert routes.find_model(None) is smart
    assert [key.name for key in table_of(examples["Several keys 1"])[0].instances["openai"].keys][1] == "team-b"


def test_the_litellm_example_becomes_what_the_page_says() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "from-litellm.md").read_text(), re.DOTALL)
    translated = translate(yaml.safe_load(text))
    keys = {"KEY_A": "a", "KEY_B": "b"}
    settings = load_settings({}, {**VARIABLES, **keys}, None, ConfigText(translated.toml)).settings
    routes = build_table(settings).routes
    smart = routes.find_model("smart")
    assert sorted(lane.weight for lane in smart.lanes) == [1, 9]
    assert (smart.fallback, smart.balance) == (("claude",), "weighted")
