"""What a plan depends on of a call."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


class CallNeeds(Protocol):
    """What planning asks of a call; most calls are never asked for most of it.

    ``estimate`` are the tokens of its prompt, by our own count; ``tokens`` what is reserved under limits of tokens (the
    estimate and the answer); ``needs`` are abilities (image, audio, file, tools, json_schema). Without ``fallback``
    only the model's own deployments are asked.
    """

    @property
    def estimate(self) -> int:
        """The tokens of its prompt."""
        ...

    @property
    def tokens(self) -> int:
        """The tokens to reserve."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What a deployment must be able to take."""
        ...

    @property
    def stream(self) -> bool:
        """Whether the answer is streamed."""
        ...

    @property
    def fallback(self) -> bool:
        """Whether another model may answer."""
        ...

    def exceeds(self, tokens: float) -> bool:
        """Whether the estimate is above so many tokens."""
        ...

    def sticky_id(self, sticky: str) -> str:
        """What its conversation is known by at a model with this setting; "": nothing."""
        ...


@frozen
class Ask:
    """The needs of a call, written out (``CallNeeds``)."""

    estimate: int = 0
    tokens: int = 0
    needs: frozenset[str] = frozenset()
    conversation: str = ""
    stream: bool = False
    fallback: bool = True

    def exceeds(self, tokens: float) -> bool:
        """Whether the estimate is above so many tokens."""
        return self.estimate > tokens

    def sticky_id(self, sticky: str) -> str:
        """What its conversation is known by."""
        return self.conversation
