"""JSON in and out, strict: UTF-8 only, no NaN, no lone surrogates, keys are text.

`Raw` marks text that is JSON already, so that what the log stores is sent without being parsed.
"""

from typing import Any

import orjson

Raw = orjson.Fragment


class JsonError(ValueError):
    """The text is not JSON."""


def dumps(value: object) -> bytes:
    """Render a value, compactly."""
    return orjson.dumps(value)


def dumps_canonical(value: object) -> bytes:
    """Render a value so that equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def loads(text: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        JsonError: it is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise JsonError(str(error)) from error
