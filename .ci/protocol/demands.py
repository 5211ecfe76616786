"""What the server must offer, beyond its tools."""

# Parts that are demanded. `--without PART` takes one away, for work on the server before it has it.
PARTS = {"prompts", "resources", "completions", "tasks", "icons"}
demanded = set(PARTS)

PROMPTS = {"icon_set", "tile_set", "character_turnaround", "sound_pack"}
RESOURCES = {"layer://jobs", "layer://ledger"}
# Templates that can be filled with the id of a job.
TEMPLATES = {"layer://jobs/{job_id}", "layer://assets/{job_id}"}
TASKS = "io.modelcontextprotocol/tasks"
