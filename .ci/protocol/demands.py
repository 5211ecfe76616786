"""What the server must offer, beyond its tools."""

# Parts that are demanded. `--without PART` takes one away, for work on the server before it has it.
PARTS = {"prompts", "resources", "completions", "tasks", "icons"}
demanded = set(PARTS)

PROMPTS = {"icon_set", "tile_set", "character_turnaround", "sound_pack"}
RESOURCES = {"layer://jobs", "layer://ledger"}
# Templates that the id of a finished job fills (with the first of its files, where files count).
TEMPLATES = {"layer://jobs/{job_id}", "layer://assets/{job_id}/{number}"}
TASKS = "io.modelcontextprotocol/tasks"


def filled(template, job_id):
    """The address of a job, or of its first file."""
    return template.replace("{job_id}", job_id).replace("{number}", "1")
