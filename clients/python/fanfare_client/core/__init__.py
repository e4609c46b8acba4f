"""What both flavours share and no network touches: positions, doors, backoff, the outbox.

Nothing here waits, sends, reads a clock or draws a number: time and randomness are handed in.
"""
