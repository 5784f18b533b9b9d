"""``POST /v1/embeddings``: texts in, vectors out."""

from __future__ import annotations

from fwd_server.callers import openai_embeddings
from fwd_server.web.calls import CallHandler


class EmbeddingsHandler(CallHandler):
    """Serves embeddings."""

    async def serve(self) -> None:
        """Read the call, have it answered, write the answer."""
        request = openai_embeddings.parse_request(self.take_body())
        record = self.begin(request)
        if record is not None:
            response = await self.gateway.embed(record)
            self.set_facts(record)
            self.write_json(openai_embeddings.render_response(response))
