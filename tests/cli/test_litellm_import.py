"""``fwd import litellm``: configurations in the style of LiteLLM's documents become files that ``fwd check`` takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.conftest import Run

from fwd_cli.litellm_import import Translated, translate
from fwd_cli.toml_text import value_text
from fwd_server.app import build_table
from fwd_server.routing.planner import Routes
from fwd_server.settings import load_settings
from fwd_server.settings.config_file import ConfigText
from fwd_server.settings.config_file_lines import parse_toml

CONFIGS = {
    "simple": """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
""",
    "without prefix": """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: gpt-4o}
  - model_name: sonnet
    litellm_params: {model: claude-3-5-sonnet-20240620}
""",
    "balanced": """
model_list:
  - model_name: smart
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/KEY_A, rpm: 500, weight: 9, order: 1}
  - model_name: smart
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/KEY_B, tpm: 100000, weight: 1, order: 2}
router_settings: {routing_strategy: least-busy, num_retries: 2, timeout: 30}
""",
    "fallbacks": """
model_list:
  - {model_name: a, litellm_params: {model: openai/x}}
  - {model_name: b, litellm_params: {model: anthropic/y}}
  - {model_name: c, litellm_params: {model: gemini/z}}
litellm_settings:
  num_retries: 3
  request_timeout: 10
  fallbacks: [{a: [b, nowhere]}]
  context_window_fallbacks: [{a: [c]}]
  content_policy_fallbacks: [{a: [b]}]
  default_fallbacks: [c]
""",
    "own servers": """
model_list:
  - model_name: local
    litellm_params: {model: openai/qwen, api_base: "http://10.0.0.5:8000/v1", api_key: none}
  - model_name: local
    litellm_params: {model: hosted_vllm/qwen, api_base: "http://10.0.0.6:8000/v1"}
  - model_name: mine
    litellm_params: {model: ollama/llama3.1, api_base: "http://localhost:11434"}
""",
    "literal keys": """
model_list:
  - {model_name: a, litellm_params: {model: openai/x, api_key: sk-canary-first}}
  - {model_name: a, litellm_params: {model: openai/x, api_key: sk-canary-second}}
general_settings: {master_key: sk-canary-master, database_url: "postgres://canary"}
""",
    "wildcards": """
model_list:
  - {model_name: "anthropic/*", litellm_params: {model: "anthropic/*", api_key: os.environ/ANTHROPIC_API_KEY}}
  - {model_name: "gpt-*", litellm_params: {model: "openai/gpt-*"}}
""",
    "aliases": """
model_list:
  - {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o}}
router_settings:
  model_group_alias: {gpt-4: gpt-4o, secret: {model: gpt-4o, hidden: true}, broken: nothing}
""",
    "prices and times": """
model_list:
  - model_name: a
    litellm_params:
      {model: openai/x, input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001, timeout: 9, stream_timeout: 6}
    model_info: {id: "1", max_input_tokens: 128000, mode: chat}
""",
    "parameters": """
model_list:
  - {model_name: a, litellm_params: {model: groq/x, temperature: 0.2, max_tokens: 100, stop: ["\\n"], tags: [eu]}}
""",
    "unknown providers": """
model_list:
  - {model_name: a, litellm_params: {model: azure/gpt-4o, api_base: os.environ/B, api_version: "2024"}}
  - {model_name: b, litellm_params: {model: bedrock/claude, aws_region_name: us-east-1}}
  - {model_name: c, litellm_params: {model: openai/ok}}
""",
    "everything else": """
model_list:
  - {model_name: "a b", litellm_params: {model: openai/x}}
litellm_settings: {callbacks: [langfuse], cache: true, drop_params: true}
router_settings: {routing_strategy: my-own, redis_host: os.environ/REDIS, enable_pre_call_checks: true}
environment_variables: {LANGFUSE_HOST: "https://canary"}
""",
}


def translated(name: str) -> Translated:
    return translate(yaml.safe_load(CONFIGS[name]))


def table(toml: str) -> Routes:
    """The table that the server makes of it, with every variable it refers to."""
    variables = dict.fromkeys(re.findall(r'"env:(\w+)"', toml), "sk-1")
    defaults = ("OPENAI", "ANTHROPIC", "GOOGLE", "GROQ")
    return build_table(
        load_settings({}, {**{f"{n}_API_KEY": "sk-2" for n in defaults}, **variables}, None, ConfigText(toml)).settings
    ).routes


@pytest.mark.parametrize("name", CONFIGS)
def test_every_result_is_taken_by_the_server(name: str) -> None:
    """RT21; and no secret of the original is in it or in the report."""
    result = translated(name)
    table(result.toml)
    assert "canary" not in result.toml
    assert "canary" not in repr((result.lost, result.todo))


def lanes(name: str, model: str) -> list[tuple[Any, ...]]:
    found = table(translated(name).toml).find_model(model)
    return [(lane.instance.name, lane.model, lane.weight, lane.tier) for lane in found.lanes]


def test_models_of_one_name_are_deployments_of_it() -> None:
    """With weights, tiers, limits, and the keys that each one has."""
    assert lanes("balanced", "smart") == [("openai", "gpt-4o", 9, 1), ("openai", "gpt-4o", 1, 2)]
    smart = table(translated("balanced").toml).find_model("smart")
    assert smart.balance == "least-busy"
    assert [[seat.key.endpoint.key_name for seat in lane.seats] for lane in smart.lanes] == [["KEY_A"], ["KEY_B"]]
    assert [(lane.limits.rpm, lane.limits.tpm) for lane in smart.lanes] == [(500, None), (None, 100_000)]
    assert parse_toml(translated("balanced").toml)["settings"] == {"attempts": 3, "total_timeout": "30s"}


def test_fallbacks_by_kind() -> None:
    """Those of the list; others are reported."""
    result = translated("fallbacks")
    routes = table(result.toml)
    assert (routes.models["a"].fallback, routes.models["b"].fallback) == (("b",), ("c",))
    assert routes.models["a"].on == {"context_length": ("c",), "content_policy": ("b",)}
    assert [(note.path, note.text) for note in result.lost] == [
        ("litellm_settings.fallbacks", "'nowhere' is not a model of the list")
    ]


def test_servers_of_ones_own_are_instances() -> None:
    """Each address is one; Gemini's key has another name there."""
    assert [lane[:2] for lane in lanes("own servers", "local")] == [
        ("openai-10-0-0-5", "qwen"),
        ("vllm-10-0-0-6", "qwen"),
    ]
    assert 'keys = ["env:GEMINI_API_KEY"]' in translated("fallbacks").toml


def test_literal_keys_become_references() -> None:
    """The report says which variables to set; the master key has another meaning here."""
    result = translated("literal keys")
    assert [note.text for note in result.todo] == [
        "a literal key: put it into .env as OPENAI_API_KEY=...",
        "a literal key: put it into .env as OPENAI_API_KEY_2=...",
        "make keys for callers with: fwd generate-key",
    ]
    assert [note.path for note in result.lost] == ["general_settings.database_url"]


def test_what_is_not_carried_over_stands_in_the_report() -> None:
    """Each with its path."""
    assert [note.path for note in translated("everything else").lost] == [
        "model_list[0].model_name",
        "router_settings.routing_strategy",
        "router_settings.redis_host",
        "litellm_settings.callbacks",
        "litellm_settings.cache",
        "environment_variables.LANGFUSE_HOST",
    ]
    assert [note.path for note in translated("unknown providers").lost][:2] == [
        "model_list[0].litellm_params.model",
        "model_list[1].litellm_params.model",
    ]


NAMES = st.sampled_from(["zz_one", "zz_two", "zz_three"])
VALUES = st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=2))


@given(st.lists(st.tuples(st.integers(0, 5), NAMES, VALUES), max_size=8))
def test_nothing_vanishes(additions: list[tuple[int, str, Any]]) -> None:
    """RT21: whatever unknown name is added anywhere, the report has its path."""
    document = yaml.safe_load(CONFIGS["simple"])
    params = document["model_list"][0]["litellm_params"]
    info = document["model_list"][0]["model_info"] = {}
    router = document["router_settings"] = {}
    general = document["general_settings"] = {}
    tables = {
        0: ("", document),
        1: ("model_list[0].", document["model_list"][0]),
        2: ("model_list[0].litellm_params.", params),
        3: ("model_list[0].model_info.", info),
        4: ("router_settings.", router),
        5: ("general_settings.", general),
    }
    expected = set()
    for where, name, value in additions:
        path, into = tables[where]
        into[name] = value
        expected.add(path + name)
    result = translate(document)
    assert {note.path for note in result.lost} == expected
    table(result.toml)


@given(st.text(max_size=30), st.integers(), st.floats(0, 1e9), st.booleans())
def test_values_are_written_as_toml_reads_them(text: str, number: int, fraction: float, flag: bool) -> None:
    """Control characters, quotes and numbers of any size."""
    text = "".join(c for c in text if c.isprintable() or c in '\n\t"\\')
    number %= 2**63
    values = {"a": text, "b": number, "c": flag, "d": [text], "e": {"x y": text}}
    written = "\n".join(f"{name} = {value_text(value)}" for name, value in values.items())
    assert parse_toml(written) == values
    assert parse_toml(f"f = {value_text(fraction)}")["f"] == pytest.approx(fraction, rel=1e-5)


def test_the_command(fwd: Run, tmp_path: Path) -> None:
    """The file to standard output, the report to standard error; --strict is for scripts."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIGS["literal keys"])
    ended = fwd("import", "litellm", str(path))
    assert ended.out == translated("literal keys").toml
    assert "not carried over: general_settings.database_url: it has no counterpart" in ended.err
    assert "to do: model_list[0].litellm_params.api_key: a literal key" in ended.err
    assert (ended.code, fwd("import", "litellm", str(path), "--strict").code) == (0, 1)
    path.write_text("a: [")
    assert fwd("import", "litellm", str(path)).code == 1
    assert fwd("import", "litellm", str(tmp_path / "none.yaml")).code == 1
