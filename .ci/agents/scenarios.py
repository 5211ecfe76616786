"""The conversations, and what must be true of each beside its golden transcript."""

import struct
import zlib
from dataclasses import dataclass, field

from dialects import Picture
from model import Call, Failed, Find, Look, Seen, facts


def check(true, what):
    if not true:
        raise Failed(what)


@dataclass
class Scenario:
    name: str
    script: list
    # Settings of the server beside the usual ones.
    env: dict = field(default_factory=dict)
    # Flags of the server.
    flags: tuple = ()
    # Whether the transcript begins with what the model is told at the start.
    told: bool = False
    # Files of the project.
    files: dict = field(default_factory=dict)
    # Some clients only.
    clients: tuple = ()
    # Further checks, of what the calls showed.
    check: object = None
    sandbox: bool = True
    # Of Codex: whether the user has allowed the server's tools beforehand.
    approved: bool = True


def picture(width=64, height=48):
    """A PNG with a red square on blue."""
    rows = b""
    for y in range(height):
        inside = lambda x: width // 4 < x < width * 3 // 4 and height // 4 < y < height * 3 // 4
        row = (b"\xd0\x30\x20" if inside(x) else b"\x30\x40\x90" for x in range(width))
        rows += b"\0" + b"".join(row)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


STONE = {"prompt": "a mossy stone", "width": 64, "height": 64, "seed": 7}

SCENARIOS = [
    Scenario("offer", [Look()], told=True),
    Scenario("read-only", [Look(), Call("create_asset", **STONE)], flags=("--read-only",)),
    Scenario(
        "find",
        [
            Find("image"),
            Find("game sprite"),
            Find("sound effect"),
            Find("transparent background"),
            Find("job status"),
            Find("price"),
            Find("layer"),
        ],
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
            Call("view_asset", image=Seen("job_id", 5) + "#2"),
            Call("list_jobs"),
        ],
    ),
    Scenario(
        "running",
        [
            Call("create_asset", **STONE, wait_seconds=0),
            Call("get_job", job_id=Seen("job_id", 0), wait_seconds=0),
            Call("get_job", job_id=Seen("job_id", 0)),
        ],
        env={"LAYER_SANDBOX_SPEED": "2"},
    ),
    Scenario(
        "cancel",
        [
            Call("create_asset", **STONE, wait_seconds=0),
            Call("cancel_job", job_id=Seen("job_id", 0)),
            Call("get_job", job_id=Seen("job_id", 0)),
        ],
        env={"LAYER_SANDBOX_SPEED": "2"},
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
        files={"hero.png": picture()},
    ),
    Scenario(
        "consent",
        [
            Call("create_asset", **STONE),
            Call("quote", arguments='{"prompt": "a mossy stone", "width": 64, "height": 64}'),
            Call("confirm_spend", quote_id=Seen("quote_id", 1)),
            Call("create_asset", prompt="a mossy stone", width=64, height=64, quote_id=Seen("quote_id", 1)),
        ],
        env={"LAYER_CONFIRM_ABOVE_CU": "0.1"},
    ),
    Scenario(
        "budget",
        [
            Call("create_asset", **STONE),
            Call("create_asset", prompt="a second stone", width=64, height=64, seed=7),
            Call("get_workspace_info"),
        ],
        env={"LAYER_BUDGET_DAY_CU": "3"},
    ),
    Scenario(
        "quote",
        [
            Call("quote", arguments='{"prompt": "a mossy stone", "width": 64, "height": 64, "seed": 7}'),
            Call("create_asset", **STONE, quote_id=Seen("quote_id", 0)),
            Call(
                "quote",
                arguments='[{"prompt": "a crate"}, {"prompt": "a barrel"}]',
            ),
        ],
    ),
    Scenario(
        "library",
        [
            Call("list_models", use_case="text_to_image"),
            Call("list_styles"),
            Call("get_workspace_info", usage=True),
            Call("list_jobs"),
        ],
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
        files={"hero.png": picture()},
    ),
    Scenario("unapproved", [Call("create_asset", **STONE), Call("list_jobs")], approved=False,
             clients=("codex", "codex-gpt-5.5")),
    Scenario("no-token", [Call("create_asset", **STONE)], sandbox=False),
]
