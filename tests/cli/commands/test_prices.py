"""``fwd prices``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

LITELLM = {
    "gpt-6-sol": {"litellm_provider": "openai", "input_cost_per_token": 3e-06, "output_cost_per_token": 1e-05},
    "brand-new": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, value: object) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def test_the_packaged_prices_are_listed(fwd: Run) -> None:
    lines = fwd("prices", "list", "openai:gpt-6-sol").out.splitlines()
    assert lines[0].split("\t")[:4] == ["openai:gpt-6-sol", "2", "0.2", "10"]
    assert fwd("prices", "list", "ollama").out == "ollama:*\t0\t\t0\tfree\n"


def test_nothing_found_says_so(fwd: Run) -> None:
    run = fwd("prices", "list", "no-such-model")
    assert (run.code, run.out) == (0, "")
    assert "fwd prices list" in run.err


def test_one_model_is_shown_with_tiers_steps_and_days(fwd: Run) -> None:
    rows = [line.split("\t") for line in fwd("prices", "show", "google:gemini-4-argon").out.splitlines()]
    assert ["2026-12-01", "", "", "input", "4"] in rows
    assert ["", "flex", "", "input", "1"] in rows
    assert ["", "", "", "each web_search", "0.014"] in rows
    value = json.loads(fwd("prices", "show", "openai:gpt-6-sol", "--json").out)
    assert value["rates"][1]["above"] == 272000


def test_a_model_without_a_price_says_how_to_set_one(fwd: Run) -> None:
    run = fwd("prices", "show", "compat:mine")
    assert run.code == 1
    assert "fwd prices set compat:mine --input 1 --output 2" in run.err
    assert fwd("prices", "set", "compat:mine", "--input", "0.5", "--output", "$2", "--cached", "0.05").code == 0
    assert fwd("prices", "list", "compat:").out.startswith("compat:mine\t0.5\t0.05\t2\t")
    assert fwd("prices", "set", "compat:mine", "--input", "1", "--output", "2", "--json").code == 0
    assert fwd("prices", "list", "compat:").out.startswith("compat:mine\t1\t\t2\t")


@pytest.mark.parametrize(
    "arguments",
    [("mine", "--input", "1", "--output", "1"), ("compat:m", "--input", "x", "--output", "1"),
     ("compat:m", "--input", "-1", "--output", "1"), ("compat:m", "--input", "0.1234567", "--output", "1")],
)  # fmt: skip
def test_what_is_no_price_is_a_mistake_on_the_command_line(fwd: Run, here: Path, arguments: tuple[str, ...]) -> None:
    assert fwd("prices", "set", *arguments).code == 2
    assert not (here / "data").exists()


def test_an_update_prints_the_difference_and_installs_the_table(fwd: Run, here: Path) -> None:
    run = fwd("prices", "update", write(here / "new.json", LITELLM))
    assert run.code == 0, run.err
    assert "openai:gpt-6-sol\tinput\t2\t3\t+50 %\n" in run.out
    assert "openai:brand-new\tnew\t\t\t\n" in run.out
    assert fwd("prices", "list", "openai:gpt-6-sol").out.startswith("openai:gpt-6-sol\t3\t\t10\t")
    assert (here / "data" / "prices.json").stat().st_mode & 0o777 == 0o600
    # What the new table leaves out is still priced by the packaged one.
    assert fwd("prices", "list", "anthropic:claude-opus-5").out != ""


def test_an_alarming_update_needs_a_word(fwd: Run, here: Path) -> None:
    fwd("prices", "update", write(here / "new.json", LITELLM))
    dearer = {"gpt-6-sol": LITELLM["gpt-6-sol"] | {"input_cost_per_token": 4e-05}}
    dear = write(here / "dear.json", dearer)
    run = fwd("prices", "update", dear)
    assert run.code != 0
    assert "openai:gpt-6-sol input goes from 3.0 to 40.0" in run.err
    assert "1 of 2 models lose their price" in run.err
    assert fwd("prices", "list", "openai:gpt-6-sol").out.startswith("openai:gpt-6-sol\t3\t")
    assert fwd("prices", "update", dear, "--yes").code == 0
    assert fwd("prices", "list", "openai:gpt-6-sol").out.startswith("openai:gpt-6-sol\t40\t")


def test_a_digest_is_checked(fwd: Run, here: Path) -> None:
    path = write(here / "new.json", LITELLM)
    digest = hashlib.sha256((here / "new.json").read_bytes()).hexdigest()
    assert fwd("prices", "update", path, "--sha256", digest[::-1]).code == 1
    assert fwd("prices", "update", path, "--sha256", digest.upper(), "--json").code == 0


def test_one_wrong_number_refuses_a_file_whole_and_names_its_path(fwd: Run, here: Path) -> None:
    """S23; the table in use stays as it is."""
    rows = [{"provider": "openai", "id": name, "rates": [{"input": 1, "output": price}]}
            for name, price in (("gpt-6-sol", 1), ("gpt-6-luna", -1))]  # fmt: skip
    bad = write(here / "bad.json", {"schema": 2, "as_of": "2026-12-01", "currency": "USD", "models": rows})
    for name in ("check", "update"):
        run = fwd("prices", name, bad)
        assert run.code == 1
        assert "bad.json: models[1].rates[0].output is not between 0 and 100,000" in run.err
    assert fwd("prices", "list", "--prices", bad).code == 1
    assert fwd("prices", "list", "openai:gpt-6-sol").out.startswith("openai:gpt-6-sol\t2\t")


def test_check_lists_where_a_file_disagrees(fwd: Run, here: Path) -> None:
    run = fwd("prices", "check", write(here / "new.json", LITELLM))
    assert run.code == 0
    assert "openai:gpt-6-sol\tinput\t2\t3\t+50 %\n" in run.out
    assert fwd("prices", "check").out.endswith("0 models; 0 in both, 0 differences.\n")
    lines = fwd("prices", "check", str(here / "new.json"), "--json").out.splitlines()
    assert {"new": "openai:brand-new"} in map(json.loads, lines)


def test_a_file_that_is_not_there(fwd: Run) -> None:
    assert fwd("prices", "check", "nowhere.json").code == 1
