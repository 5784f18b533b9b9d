"""``fwd check`` and ``fwd config schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.conftest import Run
from tests.server.settings.test_config_file import GOOD

from fwd_cli.provider_checks import instances
from fwd_server.app import build_table
from fwd_server.settings import load_settings
from fwd_server.settings.config_file import ConfigText
from fwd_server.settings.config_file_jsonschema import config_schema
from fwd_server.settings.config_file_lines import parse_toml
from fwd_server.settings.config_file_reading import structure_config

KEYS = {"OPENAI_API_KEY": "sk-canary-1", "GROQ_API_KEY": "gk-canary-2", "SECOND": "sk-canary-3"}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def test_where_each_name_goes(fwd: Run) -> None:
    """The file of the working directory; every name, its aliases, its deployments and fallbacks."""
    Path("fwd.toml").write_text(GOOD)
    ended = fwd("check")
    assert [tuple(line.split("\t")) for line in ended.out.splitlines()] == [
        ("fast", "groq:llama-4-scout", ""),
        ("gpt-*", "openai:gpt-*", "2 keys"),
        ("smart (default)", "openai:gpt-6-astra", "weighted, weight 3, 2 keys"),
        ("smart (default)", "backup = box:big", "weighted, tier 1, 5 at once"),
        ("smart (default)", "fast, box:spare, backup", "fallback"),
        ("smart (default)", "fast", "fallback on context_length"),
        ("smart (default)", "nothing", "fallback on content_policy"),
    ]
    assert "canary" not in ended.out + ended.err


def test_three_planted_mistakes_are_found_at_once(fwd: Run) -> None:
    """Each with its line; the exit code is that of a setting that cannot be used."""
    text = GOOD.replace("weight = 3", 'weight = "3"').replace("aliases", "alias").replace("env:SECOND", "sk-canary-5")
    Path("bad.toml").write_text(text)
    ended = fwd("check", "bad.toml")
    assert ended.code == 78
    lines = [line for line in ended.err.splitlines() if line.startswith("bad.toml:")]
    assert [int(line.split(":")[1]) for line in lines] == [7, 23, 32]
    assert "canary" not in ended.out + ended.err


def test_a_provider_that_is_off_is_a_warning(fwd: Run) -> None:
    Path("fwd.toml").write_text('[models]\na = "mistral:x"\n')
    ended = fwd("check")
    assert ended.out == "a\tnothing that is enabled\t\n"
    assert "warning: fwd.toml:2: models.a: mistral:x is off, set MISTRAL_API_KEY" in ended.err
    assert ended.code == 0


def test_the_plan_of_a_model_says_why(fwd: Run) -> None:
    """The seats in their order, and what is left out with its reason."""
    Path("fwd.toml").write_text(
        '[models.a]\nbalance = "order"\nfallback = ["groq:y"]\n'
        'deployments = [{ to = "openai:x", tier = 1 }, { to = "openai:y", max_context = 1000 }]\n'
    )
    rows = [line.split("\t") for line in fwd("check", "--model", "a").out.splitlines()]
    assert rows == [
        ["1", "openai:y", "OPENAI_API_KEY", "order in tier 0, weight 1"],
        ["2", "openai:x", "OPENAI_API_KEY", "order in tier 1, weight 1"],
        ["3", "groq:y", "GROQ_API_KEY", "fallback"],
    ]
    (left_out,) = (
        json.loads(line) for line in fwd("check", "-m", "a", "--tokens", "5000", "--json").out.splitlines()[2:]
    )
    assert left_out == {
        "place": "-",
        "deployment": "openai:y",
        "key": "",
        "why": "left out: the prompt of about 5,000 tokens does not fit its 1,000",
    }
    assert fwd("check", "--model", "nope").code == 1


def test_what_a_reload_would_change(fwd: Run) -> None:
    """By the names of the file; values are not shown."""
    Path("fwd.toml").write_text(GOOD)
    new = GOOD.replace("weight = 3", "weight = 4").replace('fast = "groq:llama-4-scout"', 'quick = "groq:x"')
    Path("new.toml").write_text(
        new.replace('fallback = ["fast", ', 'fallback = ["quick", ').replace('= ["fast"]', "= []")
    )
    assert fwd("check", "new.toml", "--diff", "fwd.toml").out.splitlines() == [
        "- models.fast",
        "~ models.smart.deployments",
        "~ models.smart.fallback",
        "~ models.smart.on",
        "+ models.quick",
    ]
    assert fwd("check", "--diff", "fwd.toml").out == ""


def test_each_key_of_each_provider_is_asked() -> None:
    """--connect: in the provider's own way, at the instance's own address."""
    built = build_table(load_settings({}, KEYS, None, ConfigText(GOOD)).settings)
    asked: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((str(request.url), request.headers.get("authorization")))
        return httpx.Response(401 if "canary-3" in request.headers.get("authorization", "") else 200)

    found = list(instances(built.routes.instances.values(), httpx.MockTransport(answer)))
    assert asked == [
        ("https://api.openai.com/v1/models", "Bearer sk-canary-1"),
        ("https://api.openai.com/v1/models", "Bearer sk-canary-3"),
        ("https://api.groq.com/openai/v1/models", "Bearer gk-canary-2"),
        ("http://10.0.0.5:9000/v1/models", None),
    ]
    assert [(one.name, one.state) for one in found][:2] == [
        ("provider openai with OPENAI_API_KEY", "ok"),
        ("provider openai with team-b", "bad"),
    ]


def test_the_schema_is_json_schema_and_takes_the_example(fwd: Run) -> None:
    schema = json.loads(fwd("config", "schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(parse_toml(GOOD), schema)


SNIPPETS = [
    {"weight": -1},
    {"weight": 3},
    {"weights": 3},
    {"tier": 1.5},
    {"rpm": 0},
    {"labels": ["eu"]},
    {"labels": "eu"},
    {"timeouts": {"idle": "20s"}},
    {"timeouts": {"idles": "20s"}},
    {"price": {"input": -1}},
    {"enabled": 1},
    {"deny": ["user"]},
]


@given(st.lists(st.sampled_from(SNIPPETS), max_size=3), st.sampled_from(["order", "random"]), st.booleans())
def test_schema_and_reader_agree(snippets: list[dict[str, Any]], balance: str, has_target: bool) -> None:
    """What an editor marks is what the server refuses."""
    deployment: dict[str, Any] = {"to": "openai:x"} if has_target else {}
    for snippet in snippets:
        deployment |= snippet
    document = {"models": {"a": {"balance": balance, "deployments": [deployment]}}}
    _, problems = structure_config(document)
    errors = list(jsonschema.Draft202012Validator(config_schema()).iter_errors(document))
    assert bool(problems) == bool(errors)
