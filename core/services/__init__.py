"""What can be done: one function, one transaction. Authorise, change, log the event.

The doors call these and nothing below them. Everything raises core.errors alone.
"""
