"""Runs the targets and the API's document for a bounded time each: ``python -m tests.fuzz --tools var/tools --minutes 1``.

It needs atheris and schemathesis in an environment of their own, and says how to make that. This module is the fuzzing for
people.
"""

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS
from tests.processes import KEY, ROOT, running_stack
from tests.relay import ScriptedRelay

HOW = """\
make fuzz needs two tools that are not locked with the project, in an environment of their own:

  python3 -m venv {tools}
  {tools}/bin/pip install schemathesis atheris
  {tools}/bin/pip install --require-hashes -r requirements.txt
"""
API = "api"


def main() -> None:
    """Exits with 1 where something was found, with 2 where the tools are missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Looks for inputs that break a promise.")
    parser.add_argument("--tools", type=Path, default=Path("var/tools"), help="the environment with atheris and schemathesis")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("target", nargs="*", help="all where none is named")
    args = parser.parse_args()
    tools = args.tools.absolute()
    has_atheris = (tools / "bin/python").exists() and not subprocess.run(
        [tools / "bin/python", "-c", "import atheris, msgspec, idna"], check=False, capture_output=True
    ).returncode
    if not has_atheris or not (tools / "bin/schemathesis").exists():
        print(HOW.format(tools=args.tools), file=sys.stderr)
        raise SystemExit(2)
    found = [name for name in args.target or [*TARGETS, API] if not hunt(tools, name, args.minutes * 60)]
    print(f"\nsomething was found by: {', '.join(found)}" if found else "\nnothing was found")
    raise SystemExit(bool(found))


def hunt(tools: Path, name: str, seconds: float) -> bool:
    """One target, at low priority; True where nothing was found. What was found is kept in ``var/fuzz``."""
    print(f"{name}: {seconds:.0f} s", flush=True)
    finds = ROOT / "var" / "fuzz"
    fresh = finds / name
    fresh.mkdir(parents=True, exist_ok=True)
    if name == API:
        return asyncio.run(call(tools, seconds, finds / "api.txt"))
    kept = ROOT / "tests" / "fuzz" / "corpus" / name
    options = [f"-max_total_time={seconds:.0f}", "-max_len=1500", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
    with (finds / f"{name}.txt").open("wb") as log:
        done = subprocess.run(
            ["nice", "-n", "19", tools / "bin/python", "-m", "tests.fuzz.hunt", name, fresh, kept, *options,
             f"-artifact_prefix={finds / name}-"],
            cwd=ROOT, check=False, stdout=log, stderr=log,
        )  # fmt: skip
    print(f"  {'nothing' if done.returncode == 0 else 'found something'}, see {finds / name}.txt", flush=True)
    return done.returncode == 0


async def call(tools: Path, seconds: float, log: Path) -> bool:
    """Every route of the OpenAPI document, right and wrong, against real processes."""
    async with ScriptedRelay() as relay, running_stack(f"smtp+plain://127.0.0.1:{relay.port}") as stack:
        await stack.start_worker()
        with log.open("wb") as file:
            # What types cannot say, such as what an address is, is no fault of the document.
            process = await asyncio.create_subprocess_exec(
                "nice", "-n", "19", tools / "bin/schemathesis", "run", f"{stack.url}/openapi.json", "--no-color",
                "-H", f"Authorization: Bearer {KEY}", "--max-time", str(int(seconds)), "--continue-on-failure",
                "--exclude-checks", "positive_data_acceptance", cwd=log.parent, stdout=file, stderr=file,
            )  # fmt: skip
            code = await process.wait()
        errors = [line for path in stack.log_dir.glob("*.jsonl") for line in path.read_text().splitlines() if '"ERROR"' in line]
    for line in errors:
        print(f"  {line}", flush=True)
    print(f"  {'nothing' if code == 0 and not errors else 'found something'}, see {log}", flush=True)
    return code == 0 and not errors


if __name__ == "__main__":
    main()
