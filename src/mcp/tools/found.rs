//! How Claude Code's models find the tools: they see a few at once, the others by words.

use serde_json::{Map, Value};

use super::ToolSpec;

/// The tools that most conversations need: their descriptions stand in the prompt from the start.
const ALWAYS_LOADED: [&str; 3] = ["create_asset", "get_job", "view_asset"];

/// Words that the other tools are looked up by, beside those of their descriptions.
const SEARCH_HINTS: [(&str, &str); 16] = [
    ("cancel_job", "stop abort a running generation"),
    ("confirm_spend", "user said yes to a price, approve purchase"),
    ("create_style", "custom look from reference pictures"),
    ("describe_image", "caption picture, image to text"),
    ("generate_prompt", "improve write a prompt from an idea or picture"),
    ("get_workspace_info", "balance credits budget spent, which account"),
    ("list_history", "runs and files made in the Layer app"),
    ("list_jobs", "past generations, what was made, find files again"),
    ("list_models", "which AI models, capabilities, price"),
    ("list_styles", "trained styles, brand look, LoRA"),
    ("list_workflows", "saved pipelines of the team"),
    ("quote", "price cost estimate before buying"),
    ("refine_image", "edit inpaint outpaint upscale vectorize a picture"),
    ("remove_background", "cut out, transparent sprite, alpha"),
    ("run_workflow", "start a saved pipeline"),
    ("upload_file", "send a local file, get a file_id"),
];

impl ToolSpec {
    /// What clients are told beside the protocol's own words. The names are Claude Code's; others
    /// pass over them.
    pub fn meta(&self) -> Map<String, Value> {
        let mut meta = Map::new();
        if ALWAYS_LOADED.contains(&self.name) {
            meta.insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
        }
        if let Some((_, words)) = SEARCH_HINTS.iter().find(|(name, _)| *name == self.name) {
            meta.insert("anthropic/searchHint".to_owned(), (*words).into());
        }
        if self.hints.asks_user {
            // It asks its user before each call of such a tool, whatever was allowed before.
            meta.insert("anthropic/requiresUserInteraction".to_owned(), Value::Bool(true));
        }
        meta
    }
}
