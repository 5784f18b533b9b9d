"""``fwd.toml``: what is wrong with it, each problem with its line, all at once."""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.plans import written_plan

from fwd_server.app import routes_of
from fwd_server.routing.planner import Routes
from fwd_server.settings import SettingsError, load_settings
from fwd_server.settings.config_file import ConfigText
from fwd_server.settings.config_file_lines import LineIndex, parse_toml, show_path
from fwd_server.values.errors import ModelNotFound, ProviderNotConfigured

ENV = {"OPENAI_API_KEY": "sk-canary-1", "GROQ_API_KEY": "gk-canary-2", "SECOND": "sk-canary-3"}
GOOD = """\
[settings]
attempts = 7

[providers.openai]
keys = [
    "env:OPENAI_API_KEY",
    { key = "env:SECOND", name = "team-b", rpm = 500 },
]
rotate = "spread"

[providers.box]
base_url = "http://10.0.0.5:9000/v1"
auth = "none"
labels = ["eu"]
timeouts = { first_event = "20s" }

[models]
fast = "groq:llama-4-scout"
"gpt-*" = "openai:gpt-*"

[models.smart]
description = "Best answers we have"
aliases = ["default"]
fallback = ["fast", "box:spare", "backup"]
on.context_length = ["fast"]
on.content_policy = []
defaults = { temperature = 0.2 }
deny = ["logit_bias"]

[[models.smart.deployments]]
to = "openai:gpt-6-astra"
weight = 3
[[models.smart.deployments]]
to = "box:big"
name = "backup"
tier = 1
concurrency = 5
price = { input = 1.0, output = 2.0 }
"""


def routes(text: str = GOOD, **env: str) -> Routes:
    return routes_of(load_settings({}, {**ENV, **env}, None, ConfigText(text)).settings)


def problems(text: str, **env: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        routes(text, **env)
    return [str(problem) for problem in caught.value.problems]


def test_a_whole_file_becomes_a_table() -> None:
    """Section 2: instances, keys, aliases, patterns, deployments, fallbacks, settings."""
    table = routes()
    assert load_settings({}, ENV, None, ConfigText(GOOD)).settings.attempts == 7
    smart = table.find_model("smart")
    assert table.find_model("default") is smart
    assert table.find_model(None) is smart
    assert [(lane.name, lane.weight, lane.tier) for lane in smart.lanes] == [
        ("openai:gpt-6-astra", 3, 0),
        ("backup", 1, 1),
    ]
    first, backup = smart.lanes
    assert [seat.key.name for seat in first.seats] == ["OPENAI_API_KEY", "team-b"]
    assert [seat.key.limits.rpm for seat in first.seats] == [None, 500]
    assert first.instance.spread
    assert (backup.facts.price, backup.limits.concurrency, backup.labels) == (1.25, 5, {"eu"})
    assert backup.seats[0].target.endpoint.timeouts.first_event_s == 20
    assert {name: change.action for name, change in first.changes.items()} == {
        "temperature": "default",
        "logit_bias": "deny",
    }
    assert [d.name for d in written_plan(table, "smart")] == [
        "openai:gpt-6-astra",
        "box:big",
        "groq:llama-4-scout",
        "box:spare",
    ]
    assert [d.name for d in written_plan(table, "gpt-7")] == ["openai:gpt-7"]
    assert [d.name for d in written_plan(table, "groq:other")] == ["groq:other"]
    assert [model.name for model in table.public_models()] == ["fast", "smart"]
    assert len(table.version) == 8


def test_without_a_file_nothing_changes() -> None:
    """Section 2: names of today stay."""
    table = routes_of(load_settings({}, ENV).settings)
    assert (table.models, table.version, table.only_listed) == ({}, "", False)
    assert [d.name for d in written_plan(table, "gpt-5")] == ["openai:gpt-5"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[models.a", "1: expected ']' at the end of a table declaration"),
        ("[models]\na = \"grok:llama\"", "2: models.a: 'grok:llama' does not name a provider; the providers are openai, anthropic"),
        ("[model]", "1: model: not a known name here; did you mean models?"),
        ('[providers.openai]\nkeys = ["sk-canary-9"]', '2: providers.openai.keys[0]: found a literal secret (hidden); write "env:NAME"'),
        ('[providers.openai]\nkeys = ["env:NONE"]', "2: providers.openai.keys[0]: no key from env:NONE: it is not set"),
        ('[providers.openai]\nkeys = ["file:none"]', "2: providers.openai.keys[0]: no key from file:none: the file cannot be read: No such"),
        ('[providers.openai]\nkeys = ["cmd:false"]', "2: providers.openai.keys[0]: no key from the command: the command ended with status 1"),
        ('[providers.openai]\nkeys = ["env:SECOND", "env:SECOND"]', "2: providers.openai.keys[1]: there is a key 'SECOND' already"),
        ('[providers.x]\ntype = "opneai"', "2: providers.x.type: 'opneai' is not a known provider; did you mean openai?"),
        ('[providers.x]\nkeys = []', "1: providers.x: base_url is missing"),
        ('[providers.x]\nbase_url = "https://u:canary@h"', "2: providers.x.base_url: found a value that is not shown; an http"),
        ('[providers.x]\nbase_url = "http://127.0.0.1:8000/v1"', "2: providers.x.base_url: it is the gateway's own address"),
        ('[providers.openai]\nheaders = { Host = "x" }', "2: providers.openai.headers.Host: found 'Host'; a header is allowed"),
        ('[providers.openai]\nheaders = { x-a = "env:SECOND" }', "2: providers.openai.headers.x-a: a header must not contain a secret"),
        ('[models.a]\ndeployments = []', "2: models.a.deployments: the list is empty; at least one is needed"),
        ('[models.a]\naliases = ["b"]', "1: models.a: deployments is missing"),
        ('[models]\na = "openai:x"\n[models.b]\naliases = ["a"]\ndeployments = ["openai:y"]', "4: models.b.aliases[0]: there is a model 'a' already"),
        ('[models.a]\ndeployments = [{ to = "openai:x", weight = 0 }]', "2: models.a.deployments: all weights are 0"),
        ('[models.a]\ndeployments = [{ to = "openai:x", weight = "3" }]', "2: models.a.deployments[0].weight: found '3'; a number from 0 to 1,000,000"),
        ('[models.a]\ndeployments = [{ to = "openai:x", price = { input = -1 } }]', "2: models.a.deployments[0].price.input: found -1; a number"),
        ('[models.a]\ndeployments = [{ to = "openai:x", keys = ["teem"] }]', "2: models.a.deployments[0].keys: openai has no key 'teem'"),
        ('[models.a]\ndeployments = [{ to = "openai:x", name = "n" }, { to = "openai:y", name = "n" }]', "2: models.a.deployments[1].name: there is a deployment 'n' already"),
        ('[models.a]\ndeployments = ["openai:x"]\nfallback = ["smrat"]\n[models.smart]\ndeployments = ["openai:y"]', "3: models.a.fallback[0]: 'smrat' is not a model, a deployment or a provider; did you mean smart?"),
        ('[models.a]\ndeployments = ["openai:x"]\non.context_lenght = ["a"]', "3: models.a.on.context_lenght: found 'context_lenght'; a kind of failure is allowed here; did you mean context_length?"),
        ('[models.a]\ndeployments = ["openai:x"]\nbalance = "randon"', "3: models.a.balance: found 'randon'; one of order, weighted"),
        ('[models.a]\ndeployments = ["openai:x"]\nforce = { model = "y" }', "3: models.a.force: found a table; a table of fields of a chat completion"),
        ('[models.a]\ndeployments = ["openai:x"]\ndrop = ["user"]\nforce = { user = "y" }', "3: models.a.drop: user is also in force"),
        ('[models]\na = "openai:*"', "2: models.a: * stands for what the * in the model's name matched, but 'a' has no *"),
        ('[models]\n"a b" = "openai:x"', "2: models.\"a b\": found 'a b'; a model's name is allowed"),
        ('[settings]\nmax_requsts = 3', "2: settings.max_requsts: not a setting; did you mean max_requests?"),
        ('[settings]\nconfig = "x"', "2: settings.config: it cannot be set in the file itself"),
    ],
)  # fmt: skip
def test_each_problem_has_its_line(line: str, expected: str) -> None:
    """RT3: the line is right, and no secret is in the message (RT6)."""
    found = problems(line)
    assert [one.startswith(f"fwd.toml:{expected}") for one in found] == [True], found
    assert "canary" not in "".join(found)


def test_a_setting_of_the_file_that_cannot_be_used_names_its_line() -> None:
    """As one of .env does; flags, environment and .env win over it."""
    text = "[settings]\nport = 70000\n"
    (problem,) = problems(text)
    assert problem.startswith("FWD_PORT (fwd.toml line 2): found '70000'; allowed: a whole number, from 0 to 65535")
    settings = load_settings({}, {"FWD_PORT": "9000"}, None, ConfigText(text))
    assert (settings.settings.port, settings.sources["FWD_PORT"][0]) == (9000, "environment")
    typed = (
        load_settings(
            {},
            {},
            None,
            ConfigText('[settings]\nmax_body = "2MiB"\necho = false\npriority = ["ollama"]\n[providers]'),
        )
        if False
        else None
    )
    assert typed is None


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    """Section 2b; syntax first, for without it nothing else can be read."""
    text = (
        GOOD.replace("tier = 1", "tier = -1")
        .replace("weight = 3", "weights = 3")
        .replace('rotate = "spread"', "rotate = 1")
    )
    lines = [int(one.split(":")[1]) for one in problems(text)]
    assert lines == sorted(lines)
    assert len(lines) == 3


def test_a_deployment_of_a_provider_that_is_off_is_a_warning() -> None:
    """The rest of the file is used; the model says so when nothing else is left of it."""
    table = routes('[models]\na = "anthropic:claude-x"\n[models.b]\ndeployments = ["mistral:x", "openai:y"]\n')
    assert [d.name for d in written_plan(table, "b")] == ["openai:y"]
    with pytest.raises(ProviderNotConfigured, match="No deployment of the model a is enabled"):
        written_plan(table, "a")


def test_only_listed_models_can_be_reached() -> None:
    """Section 4: prefixes and families are off, and the message names what there is."""
    table = routes(
        '[routing]\nonly_listed = true\n[models]\nsmart = "openai:x"\nsecret.hidden = true\nsecret.deployments = ["openai:y"]'
    )
    assert [d.name for d in written_plan(table, "smart")] == ["openai:x"]
    assert [d.name for d in written_plan(table, "secret")] == ["openai:y"]
    for name in ("openai:x", "gpt-5", "smrat"):
        with pytest.raises(ModelNotFound) as caught:
            written_plan(table, name)
        assert "secret" not in caught.value.message
    assert "'smart'" in caught.value.message


def test_numbered_variables_are_further_keys() -> None:
    """Section 2a: OPENAI_API_KEY_2, _3 and so on, as far as there is no gap."""
    env = {"OPENAI_API_KEY_2": "sk-2", "OPENAI_API_KEY_3": "sk-3", "OPENAI_API_KEY_5": "sk-5"}
    table = routes_of(load_settings({}, {**ENV, **env}).settings)
    names = [key.name for key in table.instances["openai"].keys]
    assert names == ["OPENAI_API_KEY", "OPENAI_API_KEY_2", "OPENAI_API_KEY_3"]
    assert len({key.identity for key in table.instances["openai"].keys}) == 3


def test_aliases_of_the_environment_are_the_short_form() -> None:
    """FWD_ALIASES: a provider's model, a model of the file, a pattern."""
    table = routes(FWD_ALIASES="quick=groq:llama,best=smart,my-*=openai:gpt-*")
    assert [d.name for d in written_plan(table, "quick")] == ["groq:llama"]
    assert table.find_model("best") is table.find_model("smart")
    assert [d.name for d in written_plan(table, "my-6")] == ["openai:gpt-6"]
    assert problems(GOOD, FWD_ALIASES="fast=openai:x") == ["fwd.toml: FWD_ALIASES: 'fast' is also a model in the file"]
    (problem,) = problems(GOOD, FWD_ALIASES="x=grok:y")
    assert problem.startswith("fwd.toml: FWD_ALIASES: 'grok:y' does not name a provider; the providers are openai")


def test_references_are_relative_to_the_file(tmp_path: Path) -> None:
    """file: and cmd:; a command is run without a shell."""
    (tmp_path / "key.txt").write_text("sk-from-file\n")
    text = '[providers.openai]\nkeys = ["file:key.txt", "cmd:echo \'sk-from;cmd\'"]\n'
    settings = load_settings({}, {}, None, ConfigText(text, folder=tmp_path)).settings
    keys = routes_of(settings).instances["openai"].keys
    assert [key.endpoint.key.reveal() for key in keys if key.endpoint.key] == ["sk-from-file", "sk-from;cmd"]
    assert [key.endpoint.key_name for key in keys] == ["providers.openai.keys[0]", "providers.openai.keys[1]"]
    assert "sk-from" not in repr(keys)


@given(st.data())
def test_every_value_is_found_on_its_line(data: st.DataObject) -> None:
    """Over generated documents with tables, arrays of tables, inline tables, comments and arrays of many lines."""
    lines: list[str] = []
    places: dict[tuple[str | int, ...], int] = {}

    def put(text: str, *path: str | int) -> None:
        lines.append(text)
        if path:
            places[path] = len(lines)

    for table in range(data.draw(st.integers(1, 4))):
        put(data.draw(st.sampled_from(["", "# a comment with [brackets]", "   "])))
        kind = data.draw(st.sampled_from(["plain", "tables", "inline", "array"]))
        name = f"t{table}"
        if kind == "tables":
            for index in range(data.draw(st.integers(1, 3))):
                put(f"[[{name}.list]]", name, "list", index)
                put('x = "a" # b', name, "list", index, "x")
        else:
            put(f"[{name}]", name)
            put("a.b.c = 1", name, "a", "b", "c")
            if kind == "inline":
                put('i = { x = 1, "y.z" = [1, 2] }', name, "i", "y.z")
            if kind == "array":
                put("list = [", name, "list")
                for index in range(data.draw(st.integers(1, 4))):
                    put(data.draw(st.sampled_from(["  1,", '  "]",', "  { x = 1 }, # c"])), name, "list", index)
                put("]")
                put('text = """', name, "text")
                put("x = 1")
                put('"""')
    text = "\n".join(lines)
    parse_toml(text)
    index = LineIndex(text)
    for path, line in places.items():
        assert index.find(path) == line, show_path(path)
