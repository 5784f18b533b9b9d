"""Draws ``architecture.svg``: the folders of the server, bottom to top, each with the first sentence of its docstring.

The rows are the layers that import-linter checks, so the picture cannot differ from what the build enforces.
"""

from __future__ import annotations

import ast
import re
import textwrap
from html import escape
from pathlib import Path
from typing import Final

from attrs import frozen

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "packages/server/src/fwd_server"
WIDTH: Final = 860
MARGIN: Final = 16
TITLE_HEIGHT: Final = 44
LINE_HEIGHT: Final = 17
CHARACTER_WIDTH: Final = 6.4  # of 12 px system-ui text, on the wide side
# A background of its own keeps it readable on any page; viewers that follow the colour scheme show it in dark.
STYLE: Final = """
.page { fill: #ffffff } .box { fill: #eef2f7; stroke: #8a99ad } .pure { fill: #e6f4ea; stroke: #6fa67f }
text { fill: #1b2430 } .name { font-weight: 600; font-size: 14px } .about, .note { font-size: 12px }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117 } .box { fill: #1c2530; stroke: #5b6b80 } .pure { fill: #14301f; stroke: #4d8a63 }
  text { fill: #e6edf3 }
}
"""


@frozen
class Folder:
    """A folder of the server; ``pure`` ones may touch no socket, loop or clock."""

    name: str
    about: str
    pure: bool


def read_layers() -> list[list[Folder]]:
    """The layers from the top, as the contracts in ``pyproject.toml`` list them; no module but ``app``."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pure = set(re.findall(r'"fwd_server\.(\w+)"', _list_after(text, "Translation is pure")))
    rows = re.findall(r'"([\w| ]+)"', _list_after(text, "containers = "))
    layers = [[name.strip() for name in row.split("|")] for row in rows]
    return [folders for row in layers if (folders := [_read_folder(name, pure) for name in row if _is_shown(name)])]


def _list_after(text: str, mark: str) -> str:
    """The first list that begins on a line after ``mark``."""
    return text[text.index(mark) :].split("= [\n", 1)[1].split("]", 1)[0]


def _is_shown(name: str) -> bool:
    return name == "app" or (PACKAGE / name).is_dir()


def _read_folder(name: str, pure: set[str]) -> Folder:
    path = PACKAGE / f"{name}.py" if name == "app" else PACKAGE / name / "__init__.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence = re.split(r"(?<=\.)\s", docstring.replace("``", ""), maxsplit=1)[0]
    return Folder(name, " ".join(sentence.split()), name in pure)


def draw_picture() -> str:
    """The picture, as the text of an SVG file."""
    y = TITLE_HEIGHT
    shapes: list[str] = []
    for row in read_layers():
        width = (WIDTH - 2 * MARGIN - 8 * (len(row) - 1)) / len(row)
        texts = [textwrap.wrap(folder.about, int((width - 122) / CHARACTER_WIDTH)) for folder in row]
        height = LINE_HEIGHT * max(map(len, texts)) + 14
        for index, (folder, lines) in enumerate(zip(row, texts, strict=True)):
            shapes += _draw_box(folder, lines, MARGIN + index * (width + 8), y, width, height)
        y += height + 6
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" role="img" '
        'font-family="system-ui, sans-serif">'
    )
    note = "Each folder imports only from those below it. Green is pure: no sockets, no event loop, no clock."
    return "\n".join(
        [
            head,
            "<title>The folders of the server, bottom to top</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{y + 10}"/>',
            f'<text class="note" x="{MARGIN}" y="26">{escape(note)}</text>',
            *shapes,
            "</svg>\n",
        ]
    )


def _draw_box(folder: Folder, lines: list[str], x: float, y: int, width: float, height: int) -> list[str]:
    kind = "pure" if folder.pure else "box"
    name = folder.name if folder.name == "app" else f"{folder.name}/"
    return [
        f'<rect class="{kind}" x="{x:g}" y="{y}" width="{width:g}" height="{height}" rx="4"/>',
        f'<text class="name" x="{x + 12:g}" y="{y + 21}">{name}</text>',
        *(
            f'<text class="about" x="{x + 110:g}" y="{y + 20 + LINE_HEIGHT * number}">{escape(line)}</text>'
            for number, line in enumerate(lines)
        ),
    ]
