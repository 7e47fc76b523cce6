"""What must hold for any input at all, looked for by machines.

::

    make fuzz                                  everything for a minute each; needs tools of its own, and says how to get them
    python -m tests.fuzz --tools VENV          the same by hand; --minutes N, names of targets
    VENV/bin/python -m tests.fuzz.hunt TARGET  one target under atheris, with libFuzzer's own options
    tests/test_fuzz.py                         replays the kept corpus, without any tool

``targets`` holds a function of bytes for each: it raises where something does not hold. ``corpus/<target>/`` keeps inputs that
have led into different parts of the code. This package is the fuzzing.
"""
