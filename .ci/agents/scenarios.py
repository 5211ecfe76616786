"""The conversations, and what must be true of each beside its golden transcript."""

import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from dialects import Picture, Tools
from model import Call, Failed, Find, Look, Seen, TooSlow, facts


def check(true, what):
    if not true:
        raise Failed(what)


def in_time(true, what):
    if not true:
        raise TooSlow(what)


def picture(width=64, height=48):
    """A PNG with a red square on blue."""

    def chunk(kind, data):
        size, crc = len(data), zlib.crc32(kind + data)
        return struct.pack(">I", size) + kind + data + struct.pack(">I", crc)

    def colour(x, y):
        inside = width // 4 < x < width * 3 // 4 and height // 4 < y < height * 3 // 4
        return b"\xd0\x30\x20" if inside else b"\x30\x40\x90"

    rows = b"".join(b"\0" + b"".join(colour(x, y) for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# What the calls of a conversation showed


def saved(shown, cost):
    """A job that is done: all that a model needs to go on, and the file where it says."""
    job = facts(shown)
    check(job.get("status") == "complete" and job["job_id"].startswith("job_"), f"{job}")
    check(job["cost_cu"] == cost and job["message"], f"it cost {job['cost_cu']}: {job}")
    for file in job["files"]:
        path = Path(file["path"])
        check(path.is_absolute() and path.stat().st_size == file["bytes"], f"{file}")
    check(job["files"], f"no file: {job}")
    return job


def seen(shown, size):
    """One picture reached the model, and the path of the whole one."""
    pictures = [part for part in shown if isinstance(part, Picture)]
    check([picture.size() for picture in pictures] == [size], f"{len(pictures)} pictures: {shown}")
    check(len(pictures[0].data) <= 100_000, f"{len(pictures[0].data)} bytes of picture")


def failed(shown, code):
    error = facts(shown)
    check(error["code"] == code and error["money"] == "not_charged", f"{error}")
    check(error["message"] and error["next_step"] and not error["retryable"], f"{error}")
    return error


def text(shown):
    return "\n".join(part for part in shown if isinstance(part, str))


FOUND = {
    0: "create_asset",
    2: "create_asset",
    3: "remove_background",
    4: "get_job",
    5: "quote",
}


def find(shown, client, loaded):
    """What is looked for is among the finds that a model is shown, or known from the start."""
    for number, name in FOUND.items():
        found = tools_of(shown[number])[: client.finds] + loaded
        check(any(name in tool for tool in found), f"{name} is not in {found}")


def tools_of(shown):
    """Names of tools in the order in which they were found."""
    found = []
    for part in shown:
        if isinstance(part, Tools):
            inner = [tool for some in part.tools for tool in some.get("tools", [some])]
            found += [tool["name"] for tool in inner]
        elif isinstance(part, str) and part.startswith("["):
            found += json.loads(part)
    return found


def create(shown, *_):
    job = saved(shown[0], 2)
    seen(shown[1], (64, 64))
    again = saved(shown[2], 2)
    check(again["job_id"] == job["job_id"] and again["purchase"] == "same_job_saved", f"{again}")
    saved(shown[3], 0.5)
    check(".wav" in text(shown[4]), f"{shown[4]}")
    check(not any(isinstance(part, Picture) for part in shown[4]), "a picture of a sound")
    check(len(saved(shown[5], 4)["files"]) == 2, "not two files")
    seen(shown[6], (512, 256))
    check(len(facts(shown[7])["jobs"]) == 3, "not three jobs")


def running(shown, *_):
    for early in shown[:2]:
        job = facts(early)
        check("status" in job, f"{job}")
        in_time(job["status"] == "running" and "cost_cu" not in job, f"{job}")
        check("get_job" in job["next_step"] and job["job_id"] in job["next_step"], f"{job}")
    saved(shown[2], 2)


def cancel(shown, *_):
    in_time(facts(shown[1])["status"] != "complete", f"{shown[1]}")
    check(facts(shown[1])["money"] in ("unknown", "not_charged"), f"{shown[1]}")


REFUSED = [
    "path_refused",
    "file_exists",
    "model_not_found",
    "invalid_argument",
    "invalid_argument",
    "job_unknown",
    "file_not_found",
]


def refused(shown, *_):
    for part, code in zip(shown, REFUSED):
        failed(part, code)


def no_consent(shown, client, _):
    for error in (shown[0], shown[3]):
        # Later than so, it may have been the user.
        in_time("client itself answered" in text(error), f"{error}")
    check(failed(shown[0], "confirmation_needed")["quote_id"], "no quote")
    check(facts(shown[1])["needs_confirmation"] and facts(shown[1])["estimated_cu"] == 2, shown[1])
    if client.asks_before_confirm_spend:
        check("requires permission" in text(shown[2]), f"{shown[2]}")
    else:
        failed(shown[2], "confirmation_needed")
    failed(shown[3], "confirmation_needed")
    check(facts(shown[4])["jobs"] == [], "something was bought")


def consent(shown, *_):
    saved(shown[0], 2)
    saved(shown[1], 2)


def budget(shown, *_):
    saved(shown[0], 2)
    check("LAYER_BUDGET_DAY_CU" in failed(shown[1], "budget")["next_step"], f"{shown[1]}")
    check(facts(shown[2])["balance_cu"] == 498, f"{shown[2]}")


def quote(shown, *_):
    price = facts(shown[0])
    check(price["estimated_cu"] == 2 and not price["needs_confirmation"], f"{price}")
    saved(shown[1], 2)
    check(facts(shown[2])["estimated_cu"] == 4, f"{shown[2]}")


def library(shown, *_):
    check(facts(shown[0])["models"] and "styles" in facts(shown[1]), "nothing listed")
    check(facts(shown[2])["balance_cu"] == 500, f"{shown[2]}")


def pictures(shown, *_):
    check(facts(shown[0])["file_id"] == facts(shown[1])["file_id"], "it was sent twice")
    check(facts(shown[1])["description"] and facts(shown[2])["prompt"], "no words")
    saved(shown[3], 0.1)
    seen(shown[4], (64, 48))
    saved(shown[5], 0.25)
    check(facts(shown[6])["status"] == "draft", f"{shown[6]}")


def not_allowed(shown, client, _):
    check(client.refusal in text(shown[0]), f"{shown[0]}")
    if client.allows_reading:
        check(facts(shown[1])["jobs"] == [], f"{shown[1]}")
    else:
        check(client.refusal in text(shown[1]), f"{shown[1]}")


def no_token(shown, *_):
    check("layer-mcp setup" in failed(shown[0], "credentials_missing")["next_step"], f"{shown[0]}")


@dataclass
class Scenario:
    name: str
    script: list
    # Of what the calls showed, the client, and the tools that were loaded from the start.
    check: object = None
    # Settings of the server beside the usual ones.
    env: dict = field(default_factory=dict)
    # Its flags.
    flags: tuple = ("--sandbox",)
    # Files of the project.
    files: dict = field(default_factory=dict)
    # Whether the transcript begins with what the model is told at the start.
    told: bool = False
    # Whether the user has allowed the server's tools beforehand.
    allowed: bool = True
    # Whether the user says yes to each question of the server.
    says_yes: bool = False
    # By name, where it is not for all clients.
    clients: tuple = ("claude-code", "codex", "codex-gpt-5.5")

    def answers(self, client):
        """What the client answers to questions of the server."""
        if "LAYER_CONFIRM_ABOVE_CU" in self.env:
            yield "accept" if self.says_yes else client.answers_for_nobody


STONE = {"prompt": "a mossy stone", "width": 64, "height": 64, "seed": 7}
STONES_PRICE = '{"prompt": "a mossy stone", "width": 64, "height": 64, "seed": 7}'

SCENARIOS = [
    Scenario("offer", [Look()], told=True),
    Scenario(
        "read-only",
        [Look(), Call("create_asset", **STONE)],
        flags=("--sandbox", "--read-only"),
        told=True,
    ),
    Scenario(
        "find",
        [
            Find("generate image"),
            Find("game sprite"),
            Find("sound effect"),
            Find("transparent background"),
            Find("job status"),
            Find("price"),
            Find("layer"),
        ],
        find,
    ),
    Scenario(
        "create",
        [
            Call("create_asset", **STONE, save_to="art/stone.png"),
            Call("view_asset", image=Seen("files.0.path", 0)),
            Call("create_asset", **STONE, save_to="art/stone.png"),
            Call("create_asset", prompt="a door creaks", use_case="sound_effects", seed=7),
            Call("view_asset", image=Seen("job_id", 3)),
            Call("create_asset", prompt="a banner", width=1600, height=800, seed=7, count=2),
            Call("view_asset", image=Seen("job_id", 5, "#2")),
            Call("list_jobs"),
        ],
        create,
    ),
    Scenario(
        "running",
        [
            Call("create_asset", **STONE, wait_seconds=0),
            Call("get_job", job_id=Seen("job_id", 0), wait_seconds=0),
            Call("get_job", job_id=Seen("job_id", 0)),
        ],
        running,
        # So that it still runs when it is looked at.
        env={"LAYER_SANDBOX_SPEED": "1"},
    ),
    Scenario(
        "cancel",
        [
            Call("create_asset", **STONE, wait_seconds=0),
            Call("cancel_job", job_id=Seen("job_id", 0)),
        ],
        cancel,
        env={"LAYER_SANDBOX_SPEED": "1"},
    ),
    Scenario(
        "refused",
        [
            Call("create_asset", **STONE, save_to="../stone.png"),
            Call("create_asset", **STONE, save_to="hero.png"),
            Call("create_asset", **STONE, model="no-such-model"),
            Call("create_asset", prompt="a stone", width="wide"),
            Call("create_asset", size=64),
            Call("get_job", job_id="job_0000000000000000"),
            Call("view_asset", image="nothing.png"),
            Call("make_asset", prompt="a stone"),
        ],
        refused,
        files={"hero.png": picture()},
    ),
    Scenario(
        "no-consent",
        [
            Call("create_asset", **STONE),
            Call("quote", arguments=STONES_PRICE),
            Call("confirm_spend", quote_id=Seen("quote_id", 1)),
            Call("create_asset", **STONE, quote_id=Seen("quote_id", 1)),
            Call("list_jobs"),
        ],
        no_consent,
        env={"LAYER_CONFIRM_ABOVE_CU": "0.1"},
    ),
    Scenario(
        "consent",
        [Call("create_asset", **STONE), Call("create_asset", **STONE)],
        consent,
        env={"LAYER_CONFIRM_ABOVE_CU": "0.1"},
        says_yes=True,
        clients=("claude-code",),
    ),
    Scenario(
        "budget",
        [
            Call("create_asset", **STONE),
            Call("create_asset", prompt="a second stone", width=64, height=64, seed=7),
            Call("get_workspace_info"),
        ],
        budget,
        env={"LAYER_BUDGET_DAY_CU": "3"},
    ),
    Scenario(
        "quote",
        [
            Call("quote", arguments=STONES_PRICE),
            Call("create_asset", **STONE, quote_id=Seen("quote_id", 0)),
            Call(
                "quote",
                calls=[
                    '{"tool": "create_asset", "arguments": {"prompt": "a crate"}}',
                    '{"tool": "create_asset", "arguments": {"prompt": "a barrel"}}',
                ],
            ),
        ],
        quote,
    ),
    Scenario(
        "library",
        [
            Call("list_models", use_case="text_to_image", limit=3),
            Call("list_styles", public=True, limit=2),
            Call("get_workspace_info", usage=True),
            Call("list_jobs"),
        ],
        library,
    ),
    Scenario(
        "pictures",
        [
            Call("upload_file", path="hero.png"),
            Call("describe_image", image="hero.png"),
            Call("generate_prompt", base_prompt="a hero", asset_type="icon"),
            Call("remove_background", image="hero.png", save_to="cut.png"),
            Call("view_asset", image="cut.png"),
            Call("refine_image", image="hero.png", action="upscale", save_to="large.png"),
            Call("create_style", name="Heroes", references=["hero.png"]),
        ],
        pictures,
        files={"hero.png": picture()},
    ),
    Scenario(
        "not-allowed",
        [Call("create_asset", **STONE), Call("list_jobs")],
        not_allowed,
        allowed=False,
    ),
    Scenario("no-token", [Call("create_asset", **STONE)], no_token, flags=()),
]
