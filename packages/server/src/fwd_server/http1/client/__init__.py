"""Our side of HTTP/1.1 towards providers."""
