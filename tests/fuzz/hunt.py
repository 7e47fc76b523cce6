"""One target under atheris: ``python -m tests.fuzz.hunt TARGET [options of libFuzzer]``.

This module is for a Python that has atheris; nothing else here does.
"""

import sys
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports]

with atheris.instrument_imports(include=["tasks", "web", "tests.fuzz.targets", "idna"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Hunts until libFuzzer's options say that it is enough; a find stops it and is written beside."""
    name, *options = sys.argv[1:]
    corpus = Path(__file__).parent / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    folders = [option for option in options if not option.startswith("-")] or [str(corpus)]
    flags = [option for option in options if option.startswith("-")]
    atheris.Setup([sys.argv[0], *flags, *folders], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
