"""The shapes everything is made of: calls, messages, answers, usage, errors, the record of a call."""
