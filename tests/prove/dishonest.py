"""The product with one safeguard taken out, for the honesty runs: ``python -m tests.prove.dishonest WHAT MODULE``.

The text of a Lua script is edited in this child process before the module starts; the product itself has no switch. A text
that is not found any more ends the process, so that a run cannot pass with the safeguard in place.

This module is the saboteur.
"""

import hashlib
import runpy
import sys

from tasks.script import Script

EDITS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "lease": (
        ("mark", "if redis.call('GET', LEASE .. id) ~= token then return 'lease' end", ""),
        ("mark", "if f[1] ~= 'sending' or f[2] ~= attempt then return 'state' end", ""),
    ),
    "mark": (("mark", "redis.call('HSET', EMAIL .. id, 'dot', attempt)", ""),),
    "sweeper": (("sweep", "mended = mended + mend(id, f, found[n + 1])", ""),),
}
"""What is taken out: script, text, and what stands there instead."""


def edited(what: str, name: str, source: str) -> str:
    """A script's text without the safeguard. Raises SystemExit where the text is not found."""
    for script, old, new in EDITS[what]:
        if script == name:
            if source.count(old) != 1:
                raise SystemExit(f"dishonest: {name}.lua has changed, «{old}» is not in it")
            source = source.replace(old, new)
    return source


def sabotaged(what: str, name: str) -> tuple[str, str]:
    """A script's text and SHA-1 without the safeguard."""
    source = edited(what, name, Script(name).source)
    return source, hashlib.sha1(source.encode()).hexdigest()


def main() -> None:
    """Edits, then becomes the module that is named."""
    what, module = sys.argv[1], sys.argv[2]
    usual = Script.__init__

    def init(self: Script, name: str) -> None:
        usual(self, name)
        self.source = edited(what, name, self.source)
        self.sha = hashlib.sha1(self.source.encode()).hexdigest()

    Script.__init__ = init
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
