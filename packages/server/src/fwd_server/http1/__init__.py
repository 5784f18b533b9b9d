"""HTTP/1.1 on sockets: one wing towards callers, one towards providers, which import nothing from each other."""
