"""Writes the parts of the documents that come from the code: ``nox -s docs``. A test holds them in step."""

from __future__ import annotations

import re
from pathlib import Path

import parameters

from fwd_cli.reference import reference
from fwd_server.settings import ABOUT, Variable, documented

HERE = Path(__file__).parent
SECTION = "<!-- {name}: this table is made from the code by `nox -s docs` -->\n{text}\n<!-- end of {name} -->"


def main() -> None:
    """Write every document that has a part from the code."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


def documents() -> dict[Path, str]:
    """Each such document as it should read now."""
    configuration, providers = HERE / "configuration.md", HERE / "providers.md"
    return {
        configuration: replaced(configuration.read_text(encoding="utf-8"), "settings", settings_table()),
        providers: replaced(providers.read_text(encoding="utf-8"), "parameters", parameters.tables()),
        HERE / "cli.md": reference(),
    }


def replaced(document: str, name: str, text: str) -> str:
    """``document`` with the section called ``name`` made anew."""
    pattern = re.compile(rf"<!-- {name}: .*?<!-- end of {name} -->", re.DOTALL)
    if not pattern.search(document):
        raise ValueError(f"the document has no section {name!r}")
    return pattern.sub(lambda _: SECTION.format(name=name, text=text), document)


def settings_table() -> str:
    """Every setting: name, option, default, meaning; grouped as in ``.env.example``."""
    lines: list[str] = []
    group = ""
    for variable in documented():
        if variable.group != group:
            group = variable.group
            about = ["", ABOUT[group]] if group in ABOUT else []
            lines += ["", f"**{group}**", *about, "", "| name | default | meaning |", "|---|---|---|"]
        lines.append(_profile(variable))
    return "\n".join([*lines, ""])


def _profile(variable: Variable) -> str:
    name = f"`{variable.name}`" + (f"<br>`{variable.option}`" if variable.option else "")
    default = variable.shown(variable.default)
    shown = f"`{default}`" if default else (variable.note or "none")
    return f"| {name} | {shown} | {variable.help} |"


if __name__ == "__main__":
    main()
