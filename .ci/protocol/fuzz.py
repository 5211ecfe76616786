"""PyPI's mcp-fuzzer against every tool and method."""

import json

from clients import check, environment, python, run

# Requests with nonsense in fields that the schemas leave open are answered, which it reports.
# Nothing else may come up: no crash, no hang, nothing that is no JSON-RPC.
HARMLESS = {"accepted_malformed", "injection_reflection"}


def prove(world):
    """How many tries were handled, and what came up."""
    out = world.home / "fuzz"
    server = f"{world.program} --sandbox serve"
    options = ["--mode", "all", "--phase", "both", "--runs", "5", "--seed", "7", "--no-network"]
    options += ["--protocol", "stdio", "--endpoint", server, "--fs-root", world.home / "fs"]
    env = environment() | world.env
    run(
        [python("fuzzer").parent / "mcp-fuzzer", *options, "--output-dir", out],
        env=env,
        cwd=world.home,
    )
    (results,) = out.glob("sessions/*/*_fuzzing_results.json")
    return json.loads(results.read_text()), json.loads((out / "findings.json").read_text())
