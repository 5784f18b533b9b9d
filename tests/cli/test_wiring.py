"""Changes to the files of other programs."""

from __future__ import annotations

import pytest

from fwd_cli.wiring import BEGIN, CannotWire, Place, claude_code, codex, continue_

PLACE = Place("http://gateway", "fwd_key", "openai:gpt-5")
BLOCK = [
    BEGIN,
    '- name: "openai:gpt-5 (fwd)"',
    "  provider: openai",
    '  model: "openai:gpt-5"',
    "  apiBase: http://gateway/v1",
    "  apiKey: fwd_key",
    "# <<< fwd connect",
]


def block(indent: str) -> str:
    return "".join(f"{indent}{line}\n" for line in BLOCK)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"name: fwd\nversion: 1.0.0\nschema: v1\nmodels:\n{block('  ')}"),
        ("name: mine\n", f"name: mine\nmodels:\n{block('  ')}"),
        ("models:\n  - name: a\nrules: []\n", f"models:\n{block('  ')}  - name: a\nrules: []\n"),
        ("models:\n- name: a\n", f"models:\n{block('')}- name: a\n"),
        (
            "name: x\nmodels:\n\n    # mine\n    - name: a\n",
            f"name: x\nmodels:\n{block('    ')}\n    # mine\n    - name: a\n",
        ),
        ("models: []\nrules: []\n", f"models:\n{block('  ')}rules: []\n"),
        ("models:", f"models:\n{block('  ')}"),
    ],
)
def test_one_more_model_for_continue(before: str, after: str) -> None:
    """Indented like the others; the same again is no second one, another replaces it."""
    assert continue_(before, PLACE) == after
    assert continue_(after, PLACE) == after
    assert continue_(continue_(before, Place("http://old", "old", "old")), PLACE) == after


def test_models_in_one_line_are_left_alone() -> None:
    """What cannot be changed safely is not."""
    with pytest.raises(CannotWire, match="not a list of lines"):
        continue_("models: [{name: a}]\n", PLACE)


@pytest.mark.parametrize("before", ["[]", '{"env": 1}', "{"])
def test_settings_that_are_none(before: str) -> None:
    """Claude Code's are an object with an object under env."""
    with pytest.raises(CannotWire):
        claude_code(before, PLACE)


def test_a_profile_of_codex_holds_no_key() -> None:
    """It names the variable."""
    text = codex("", PLACE)
    assert 'env_key = "FORWARDER_KEY"' in text
    assert 'wire_api = "responses"' in text
    assert "fwd_key" not in text
