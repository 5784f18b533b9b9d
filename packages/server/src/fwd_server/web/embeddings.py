"""``POST /v1/embeddings``: texts in, vectors out."""

from __future__ import annotations

from fwd_server.callers import openai_embeddings
from fwd_server.web.calls import CallHandler


class EmbeddingsHandler(CallHandler):
    """Serves embeddings."""

    async def serve(self) -> None:
        """Read the call, have it answered, write the answer."""
        request = openai_embeddings.parse_request(self.take_body())
        trip = self.begin(request)
        if trip is not None:
            response = await self.gateway.embed(trip)
            self.set_facts(trip)
            self.write_json(openai_embeddings.render_response(response))
