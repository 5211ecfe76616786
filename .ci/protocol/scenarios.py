"""What the official conformance suite finds, scenario by scenario.

Every scenario of a revision runs, and every check in it must succeed but for those named here,
each with what the suite says instead and why. A check that does otherwise is a failure, be it
better or worse, and so is a scenario that isn't known here.
"""

FAILS, WARNS, SKIPPED = "FAILURE", "WARNING", "SKIPPED"

FIXTURE = "asks for a tool, a prompt or a resource that only the suite's own example server has"
PROXY = "is about HTTP, which the proxy before the server speaks"
GONE = "asks for what the newest revision deprecates, and this server never had"
NO_LISTS = "is about lists that change, and this server's never do"

# What both eras run and have the same findings in.
BOTH = {
    "tools-call-simple-text": (FIXTURE, {"tools-call-simple-text": FAILS}),
    "tools-call-image": (FIXTURE, {"tools-call-image": FAILS}),
    "tools-call-audio": (FIXTURE, {"tools-call-audio": FAILS}),
    "tools-call-embedded-resource": (FIXTURE, {"tools-call-embedded-resource": FAILS}),
    "tools-call-mixed-content": (FIXTURE, {"tools-call-mixed-content": FAILS}),
    "tools-call-error": (FIXTURE, {"tools-call-error": FAILS}),
    "tools-call-with-progress": (FIXTURE, {"tools-call-with-progress": FAILS}),
    "json-schema-2020-12": (FIXTURE, {"json-schema-2020-12-tool-found": FAILS}),
    "resources-read-text": (FIXTURE, {"resources-read-text": FAILS}),
    "resources-read-binary": (FIXTURE, {"resources-read-binary": FAILS}),
    "resources-templates-read": (FIXTURE, {"resources-templates-read": FAILS}),
    "prompts-get-simple": (FIXTURE, {"prompts-get-simple": FAILS}),
    "prompts-get-with-args": (FIXTURE, {"prompts-get-with-args": FAILS}),
    "prompts-get-embedded-resource": (FIXTURE, {"prompts-get-embedded-resource": FAILS}),
    "prompts-get-with-image": (FIXTURE, {"prompts-get-with-image": FAILS}),
    "completion-complete": (FIXTURE, {"completion-complete": FAILS}),
    "dns-rebinding-protection": (PROXY, {"localhost-host-rebinding-rejected": FAILS}),
    "prompts-list": None,
    "resources-list": None,
    "server-sse-multiple-streams": None,
    "tools-list": None,
}

LEGACY = BOTH | {
    "elicitation-sep1034-defaults": (FIXTURE, {"elicitation-sep1034-general": FAILS}),
    "elicitation-sep1330-enums": (FIXTURE, {"elicitation-sep1330-general": FAILS}),
    "logging-set-level": (GONE, {"logging-set-level": FAILS}),
    "ping": None,
    "resources-subscribe": (NO_LISTS, {"resources-subscribe": FAILS}),
    "resources-unsubscribe": (NO_LISTS, {"resources-unsubscribe": FAILS}),
    "server-initialize": None,
    "server-session-lifecycle": None,
    "server-sse-polling": (
        PROXY,
        {"server-sse-retry-field": WARNS, "server-sse-disconnect-resume": WARNS},
    ),
    "tools-call-elicitation": (FIXTURE, {"tools-call-elicitation": FAILS}),
    "tools-call-sampling": (GONE, {"tools-call-sampling": FAILS}),
    "tools-call-with-logging": (GONE, {"tools-call-with-logging": FAILS}),
}

MODERN = BOTH | {
    "caching": None,
    "http-custom-header-server-validation": (
        FIXTURE,
        {
            "sep-2243-server-no-xmcp-tool": FAILS,
            "sep-2243-server-decode-base64": FAILS,
            "sep-2243-server-validate-param-match": FAILS,
            "sep-2243-server-reject-invalid-param-chars": FAILS,
            "sep-2243-server-reject-param-mismatch": FAILS,
        },
    ),
    "http-header-validation": None,
    "input-required-result-basic-elicitation": (
        FIXTURE,
        {"sep-2322-elicitation-incomplete": FAILS},
    ),
    "input-required-result-basic-list-roots": (GONE, {"sep-2322-list-roots-incomplete": FAILS}),
    "input-required-result-basic-sampling": (GONE, {"sep-2322-sampling-incomplete": FAILS}),
    "input-required-result-capability-check": (
        FIXTURE,
        {"sep-2322-respect-client-capabilities": FAILS},
    ),
    "input-required-result-ignore-extra-params": (
        FIXTURE,
        {"sep-2322-ignore-unexpected-params": WARNS},
    ),
    "input-required-result-missing-input-response": (
        FIXTURE,
        {"sep-2322-missing-response-rerequests": WARNS},
    ),
    "input-required-result-multi-round": (FIXTURE, {"sep-2322-multi-round-r1": FAILS}),
    "input-required-result-multiple-input-requests": (
        FIXTURE,
        {"sep-2322-multiple-inputs-incomplete": FAILS},
    ),
    "input-required-result-non-tool-request": (FIXTURE, {"sep-2322-non-tool-incomplete": FAILS}),
    "input-required-result-request-state": (
        FIXTURE,
        {"sep-2322-request-state-incomplete": FAILS},
    ),
    "input-required-result-result-type": (FIXTURE, {"sep-2322-result-type-included": FAILS}),
    "input-required-result-tampered-state": (FIXTURE, {"sep-2322-reject-tampered-state": FAILS}),
    "input-required-result-unsupported-methods": None,
    "input-required-result-validate-input": None,
    "sep-2164-resource-not-found": None,
    "server-stateless": (
        FIXTURE + ", or " + NO_LISTS,
        {
            "sep-2575-server-rejects-undeclared-capability": FAILS,
            "sep-2575-missing-capability-http-400": FAILS,
            "sep-2575-http-server-no-independent-requests-on-stream": FAILS,
            "sep-2575-server-no-log-without-loglevel": FAILS,
            "sep-2575-server-sends-prompts-list-changed-on-subscription": SKIPPED,
            "sep-2575-server-sends-tools-list-changed-on-subscription": SKIPPED,
        },
    ),
    "tasks-capability-negotiation": (
        FIXTURE + ", or for methods that the proxy does not pass on",
        {
            "sep-2663-tasks-methods-non-declaring": FAILS,
            "sep-2663-server-rejects-undeclared-client": FAILS,
            "tasks-per-request-meta-opt-in": FAILS,
        },
    ),
    "tasks-dispatch-and-envelope": (
        FIXTURE + ", or for a method that the proxy does not pass on",
        {
            "sep-2663-tasks-get-invalid-task-id-32602": FAILS,
            "tasks-server-directed-creation-no-hint": FAILS,
            "sep-2663-legacy-task-param-ignored": FAILS,
            "tasks-immediate-result-shortcut": FAILS,
            "tasks-result-type-complete-on-non-task-responses": FAILS,
            "sep-2663-durable-create-strong-consistency": FAILS,
        },
    ),
    "tasks-lifecycle": (
        FIXTURE,
        {
            "tasks-sync-tool-call": FAILS,
            "sep-2663-result-type-task-on-create": FAILS,
            "sep-2663-tasks-get-status-working": FAILS,
            "sep-2663-tasks-get-status-completed": FAILS,
            "sep-2663-tool-error-uses-completed-status": FAILS,
            "sep-2663-tasks-get-status-failed": FAILS,
            "sep-2663-cancel-ack-empty-result": FAILS,
            "tasks-cancel-terminal-idempotent-ack": FAILS,
        },
    ),
    "tasks-mrtr-composition": (
        FIXTURE,
        {"sep-2663-mrtr-synchronous-before-task-creation": FAILS},
    ),
    "tasks-mrtr-input": (
        FIXTURE,
        {
            "sep-2663-tasks-get-status-input-required": FAILS,
            "tasks-mrtr-tasks-update-resumes": FAILS,
            "tasks-mrtr-partial-fulfillment": FAILS,
        },
    ),
    "tasks-request-headers": (
        FIXTURE,
        {
            "tasks-headers-tolerate-mcp-method-on-tools-call": FAILS,
            "sep-2663-routing-headers-accepted-on-tasks-get": FAILS,
            "sep-2663-server-rejects-mismatched-mcp-name-on-tasks-get": FAILS,
        },
    ),
    "tasks-request-state-removal": (FIXTURE, {"tasks-request-state-removal-setup": FAILS}),
    "tasks-required-task-error": (
        FIXTURE,
        {"sep-2663-server-returns-missing-capability-when-required": FAILS},
    ),
    "tasks-status-notifications": (FIXTURE, {"tasks-status-notifications": SKIPPED}),
    "tasks-wire-fields": (
        FIXTURE,
        {
            "tasks-wire-field-renames": FAILS,
            "tasks-no-early-ttl-expiry": FAILS,
            "tasks-no-related-task-meta-on-inlined-result": FAILS,
        },
    ),
}

# The revision whose required scenarios run, what the proxy speaks to the server, and the table.
SETS = [("2025-11-25", "legacy", LEGACY), ("2026-07-28", "modern", MODERN)]

# What a server may lack while the part is not demanded of it.
OF_PARTS = {
    "prompts": {"prompts-list", "caching"},
    "resources": {"resources-list", "caching", "sep-2164-resource-not-found"},
    "tasks": {"tasks-capability-negotiation", "tasks-dispatch-and-envelope"},
}
