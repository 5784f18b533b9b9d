"""Pure helpers of text and bytes: server-sent events, JSON, retry hints, redaction, token estimates."""
