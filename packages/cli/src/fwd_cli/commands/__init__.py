"""One module a command; each holds a ``command`` and imports heavy things inside it."""
