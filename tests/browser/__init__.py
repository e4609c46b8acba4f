"""The console page in a real Chromium, and its client against a network that misbehaves."""
