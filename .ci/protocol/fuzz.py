"""PyPI's mcp-fuzzer against every tool and method."""

import json

from clients import check, environment, python, run

# Requests with nonsense in fields that the schemas leave open are answered, which it reports.
# Nothing else may come up: no crash, no hang, nothing that is no JSON-RPC.
HARMLESS = {"accepted_malformed", "injection_reflection"}


def prove(world):
    """How many calls were answered."""
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
    (file,) = out.glob("sessions/*/*_fuzzing_results.json")
    results = json.loads(file.read_text())["data"]
    check(results["total_tools"] > 10, f"it saw {results['total_tools']} tools")
    tries = sum(of_outcomes(one) for one in results["tools_tested"])
    findings = json.loads((out / "findings.json").read_text())["findings"]
    worse = [one for one in findings if one["category"] not in HARMLESS]
    check(not worse, f"{worse}")
    return f"{tries} calls, no crash"


def of_outcomes(tool):
    """How often a tool was called; each time it answered, and the server went on."""
    bad = ("anomaly", "crashed", "exceptions")
    check(not any(tool["outcomes"][one] for one in bad), f"{tool}")
    return tool["runs"]
