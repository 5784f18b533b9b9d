"""Writes the parts of the documents that come from the code: ``nox -s docs``. A test holds them in step."""

from __future__ import annotations

import re
from pathlib import Path

import architecture
import config_reference
import parameters
import sizing
import surfaces

from fwd_cli.reference import reference
from fwd_server.settings import ABOUT, SettingVariable, documented_variables
from fwd_server.values.provider_info import PROVIDER_TABLE, ProviderInfo, stem_of

HERE = Path(__file__).parent
SECTION = "<!-- {name}: this table is made from the code by `nox -s docs` -->\n{text}\n<!-- end of {name} -->"


def main() -> None:
    """Write every document that has a part from the code."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


def documents() -> dict[Path, str]:
    """Each such document or picture as it should read now."""
    configuration, providers, capacity = (HERE / f"{name}.md" for name in ("configuration", "providers", "sizing"))
    models = HERE / "models.md"
    figures = (HERE / "benchmarks.md").read_text(encoding="utf-8")
    return {
        configuration: replaced(configuration.read_text(encoding="utf-8"), "settings", settings_table()),
        providers: replaced(
            replaced(providers.read_text(encoding="utf-8"), "providers", providers_table()),
            "parameters",
            parameters.tables(),
        ),
        models: replaced(models.read_text(encoding="utf-8"), "reference", config_reference.reference_tables()),
        capacity: replaced(capacity.read_text(encoding="utf-8"), "sizing", sizing.sizing_table(figures)),
        HERE / "surfaces.md": replaced(
            (HERE / "surfaces.md").read_text(encoding="utf-8"), "surfaces", surfaces.table()
        ),
        HERE / "cli.md": reference(),
        HERE / "architecture.svg": architecture.draw_picture(),
    }


def replaced(document: str, name: str, text: str) -> str:
    """``document`` with the section called ``name`` made anew."""
    pattern = re.compile(rf"<!-- {name}: .*?<!-- end of {name} -->", re.DOTALL)
    if not pattern.search(document):
        raise ValueError(f"the document has no section {name!r}")
    return pattern.sub(lambda _: SECTION.format(name=name, text=text), document)


LANGUAGES = {
    "openai": "OpenAI's",
    "anthropic": "[Messages API](wire/anthropic.md)",
    "google": "[`generateContent`](wire/gemini.md)",
    "vertex": "[`generateContent`](wire/gemini.md)",
    "ollama": "[`/api/chat`](wire/ollama.md)",
    "echo": "[built in](echo.md)",
}


def providers_table() -> str:
    """Every provider that is known by name: prefix, what turns it on, language, address."""
    lines = ["| provider | prefix | switched on by | language | address |", "|---|---|---|---|---|"]
    for info in PROVIDER_TABLE.values():
        families = "".join(f", `{family}*`" for family in info.families)
        prefix = f"`{info.name}:`" + (f", also{families[1:]}" if families else "")
        address = f"`{info.base_url or info.address_form}`" if info.base_url or info.address_form else ""
        lines.append(f"| {info.title} | {prefix} | {_enabling(info)} | {LANGUAGES[info.language]} | {address} |")
    return "\n".join(lines)


def _enabling(info: ProviderInfo) -> str:
    if info.built_in:
        return "on unless `FWD_ECHO=false`"
    if info.key_required:
        return " and ".join(f"`{name}`" for name in info.enabled_by.split(" and "))
    stem = stem_of(info.name)
    own = f"any `{stem}_*` variable" if info.any_variable else f"`{stem}_BASE_URL`, `_API_KEY` or `_MODEL`"
    return own + (f"; an explicit `{info.name}:` is tried in any case" if info.always_tried else "")


def settings_table() -> str:
    """Every setting: name, option, default, meaning; grouped as in ``.env.example``."""
    lines: list[str] = []
    group = ""
    for variable in documented_variables():
        if variable.group != group:
            group = variable.group
            about = ["", ABOUT[group]] if group in ABOUT else []
            lines += ["", f"**{group}**", *about, "", "| name | default | meaning |", "|---|---|---|"]
        lines.append(_profile(variable))
    return "\n".join([*lines, ""])


def _profile(variable: SettingVariable) -> str:
    name = f"`{variable.name}`" + (f"<br>`{variable.option}`" if variable.option else "")
    default = variable.display_text(variable.default)
    shown = f"`{default}`" if default else (variable.note or "none")
    return f"| {name} | {shown} | {variable.help} |"


if __name__ == "__main__":
    main()
