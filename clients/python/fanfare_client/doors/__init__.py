"""The three doors, each behind the same face: open it, tell it what has changed, close it."""
