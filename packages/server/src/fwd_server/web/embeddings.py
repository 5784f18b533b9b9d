"""``POST /v1/embeddings``: texts in, vectors out."""

from __future__ import annotations

from fwd_server.callers.openai_embeddings import OPENAI_EMBEDDINGS
from fwd_server.web.calls import CallHandler


class EmbeddingsHandler(CallHandler):
    """Serves embeddings."""

    async def serve(self) -> None:
        """Read the call, have it answered, write the answer."""
        request = OPENAI_EMBEDDINGS.parse(self.take_body())
        record = self.begin(request)
        if record is not None:
            response = await self.gateway.embed(record)
            self.set_facts(record)
            self.write_json(OPENAI_EMBEDDINGS.render(response, request))
