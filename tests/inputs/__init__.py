"""Bad input and its right answer: every row of the table, against the real processes.

::

    python -m tests.inputs            prints kind, input, expected, got, and ends with 1 where they differ
    python -m tests.inputs smuggling  only the kinds that hold this word
    tests/test_inputs.py              the same as tests

A ``Case`` asks the live service one thing and gives a short text of what came back; it is right when that is the expected
text. ``mail`` holds what goes into an email, ``wire`` what goes over HTTP, ``pages`` what an operator meets. This package is
the table.
"""
