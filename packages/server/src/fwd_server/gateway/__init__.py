"""The main path of a call: plan, attempts, fallback, relay."""
