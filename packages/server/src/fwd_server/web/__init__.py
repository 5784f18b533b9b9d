"""What callers reach: the guard at the door, calls, lists of models, health, pages."""
