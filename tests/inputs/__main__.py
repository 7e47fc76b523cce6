"""Prints the table: kind, input, expected, got. Exits with 1 where something differs.

This module is the table for people.
"""

import asyncio
import sys

from tests.inputs import mail, pages, slow, wire
from tests.inputs.probe import Case, Probe, probing

CASES = [*mail.CASES, *wire.CASES, *pages.CASES]
SLOW = slow.CASES


async def answer(probe: Probe, case: Case) -> str:
    """What came back; an error of the case itself is told as such."""
    try:
        return await case.ask(probe)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def run(cases: list[Case], slow_cases: list[Case]) -> dict[Case, str]:
    """Everything that came back. The slow ones run beside the others."""
    async with probing() as probe:
        waiting = [(case, asyncio.create_task(answer(probe, case))) for case in slow_cases]
        found = {case: await answer(probe, case) for case in cases}
        for case, task in waiting:
            found[case] = await task
        if probe.measured:
            print(f"measured: {probe.measured}", file=sys.stderr)
    return found


def main() -> None:
    """Runs the kinds that the command line names, or all."""
    word = " ".join(sys.argv[1:]).lower()
    cases = [case for case in CASES if word in str(case).lower()]
    slow_cases = [case for case in SLOW if word in str(case).lower()]
    found = asyncio.run(run(cases, slow_cases))
    for case, got in found.items():
        mark = "ok  " if got == case.expected else "BAD "
        print(f"{mark}{case.kind:24} | {case.input:60} | {case.expected} | {got}")
    bad = sum(got != case.expected for case, got in found.items())
    print(f"\n{len(found)} inputs, {bad} answered otherwise than expected")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
