"""``.env.example`` and the settings say the same."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import evolve

from fwd_server.settings import Settings, documented_variables, example_dotenv, load_settings

TEXT = (Path(__file__).parents[1] / ".env.example").read_text("utf-8")


def test_the_file_is_what_the_settings_say() -> None:
    """Run ``python -c ...``."""
    assert example_dotenv() == TEXT


def test_every_setting_stands_in_it_commented_out() -> None:
    """A copy of the file changes nothing, and warns about nothing."""
    assert re.findall(r"^#(\w+)=", TEXT, re.MULTILINE) == [variable.name for variable in documented_variables()]
    loaded = load_settings({}, {}, TEXT)
    assert (loaded.settings, loaded.warnings) == (Settings(), ())


def test_the_defaults_in_it_are_the_defaults() -> None:
    """With every setting that has a default switched on, the settings are the same but for where they come from."""
    loaded = load_settings({}, {}, re.sub(r"^#(\w+=.)", r"\1", TEXT, flags=re.MULTILINE))
    assert {source.split(" line")[0] for source, _ in loaded.sources.values()} == {".env", "default"}
    assert unmentioned(loaded.settings) == Settings()


def unmentioned(settings: Settings) -> Settings:
    """The same settings, as if no variable of a provider were set."""
    providers = {name: evolve(provider, mentioned=False) for name, provider in settings.providers.items()}
    return evolve(settings, providers=providers)
