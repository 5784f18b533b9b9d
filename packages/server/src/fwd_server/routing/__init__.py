"""Where a call can go: names to plans, and which deployments are cooling down. Pure."""
