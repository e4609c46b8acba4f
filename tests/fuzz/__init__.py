"""What strangers send, made up by a machine: `python -m tests.fuzz`, and a short run in every test.

A target takes any bytes and fails where a parser breaks a promise: no exception but those that it
names, the same answer however the bytes are cut, no more kept than its limit, and what an
independent implementation reads is read alike.
"""
