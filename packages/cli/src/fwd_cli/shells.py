"""Completion in bash for words with a colon, which model names always have.

Bash takes a colon for the end of a word: it hands over ``openai``, ``:`` and ``gpt`` where ``openai:gpt`` was typed,
and replaces only what follows the colon. So its script passes the line as it was typed, and of an answer the part
before the colon is left out.
"""

from __future__ import annotations

import os

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

__all__ = ["Bash", "get_completion_class", "shell_complete"]

BREAK = ":"
_LINE = 'COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS"'


class Bash(BashComplete):
    """Click's completion for bash, with the line itself in ``COMP_LINE``."""

    source_template = BashComplete.source_template.replace("COMP_CWORD=$COMP_CWORD", f"COMP_CWORD=$COMP_CWORD {_LINE}")

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one to complete, and its beginning."""
        line = os.environ.get("COMP_LINE")
        if line is None:
            return super().get_completion_args()
        words = split_arg_string(line)
        # After a space a new word begins, of which nothing is typed yet.
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """The item as the script reads it: without what bash will leave alone."""
        typed = self.get_completion_args()[1]
        kept = typed.rpartition(BREAK)[0] + BREAK
        if BREAK in os.environ.get("COMP_BREAKS", "") and BREAK in typed and item.value.startswith(kept):
            item = CompletionItem(item.value.removeprefix(kept), item.type)
        return super().format_completion(item)


add_completion_class(Bash)
