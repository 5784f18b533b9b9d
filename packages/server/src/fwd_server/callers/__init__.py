"""The wire languages callers may speak. A dialect turns bytes into values and values into bytes; it never awaits."""
