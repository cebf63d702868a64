"""How tests look at what is refused."""

import warnings

import pytest


def refused(function, *args, kind=ValueError, **options):
    """The message with which a function refuses what it is given: one line, and no warning before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(kind) as caught:
            function(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
