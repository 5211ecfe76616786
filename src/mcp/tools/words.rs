//! Words about pictures, and words for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Toolset, argument_error, data, parse, spec};
use crate::runs::{Detail, ErrorReport, PromptWish};

/// How much is said.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Depth {
    Basic,
    #[default]
    Detailed,
    Comprehensive,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DescribeArgs {
    /// Path in the output folder, job_id (job_x#2) or file_id.
    image: String,
    /// basic: one sentence. comprehensive: also how it was made, if known.
    #[serde(default)]
    #[schemars(extend("default" = "detailed"))]
    detail: Depth,
}

#[derive(Serialize, JsonSchema)]
struct DescribeAnswer {
    description: String,
    file_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<String>,
    message: String,
}

pub(super) fn describe_image() -> Entry {
    Entry {
        spec: spec::<DescribeArgs, DescribeAnswer>(
            "describe_image",
            "Describe image",
            "Layer's words for what a picture shows, good as a base for prompts. Uploads the \
             picture. To see a picture yourself, use view_asset.",
            Hints::CHANGES_LAYER,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(describe(call, arguments)) as Handled<'_>,
    }
}

async fn describe(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<DescribeArgs>(arguments)?;
    let detail = match args.detail {
        Depth::Basic => Detail::Basic,
        Depth::Detailed => Detail::Detailed,
        Depth::Comprehensive => Detail::Comprehensive,
    };
    let said = call.runs.describe(&args.image, detail).await.map_err(|error| error.report())?;
    data(&DescribeAnswer {
        description: said.words,
        file_id: said.file.to_string(),
        made: said.made,
        message: "Layer describes the picture; it can be wrong.".to_owned(),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GeneratePromptArgs {
    /// Words to begin with.
    base_prompt: Option<String>,
    /// E.g. icon, character, background, tile.
    asset_type: Option<String>,
    /// Pictures to go by: paths, job ids or file ids.
    #[schemars(length(max = 20))]
    references: Option<Vec<String>>,
}

#[derive(Serialize, JsonSchema)]
struct GeneratePromptAnswer {
    prompt: String,
    message: String,
}

pub(super) fn generate_prompt() -> Entry {
    Entry {
        spec: spec::<GeneratePromptArgs, GeneratePromptAnswer>(
            "generate_prompt",
            "Generate prompt",
            "Layer's prompt writer: an idea or pictures become a prompt for create_asset. Makes no \
             asset. Use it when the user asks for it; you can write prompts yourself.",
            Hints::CHANGES_LAYER,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(write(call, arguments)) as Handled<'_>,
    }
}

async fn write(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<GeneratePromptArgs>(arguments)?;
    let said = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let wish = PromptWish {
        base: said(args.base_prompt),
        asset_type: said(args.asset_type),
        references: args.references.unwrap_or_default(),
    };
    let too_long =
        |text: &Option<String>, most| text.as_ref().is_some_and(|text| text.chars().count() > most);
    if too_long(&wish.base, 20_000) || too_long(&wish.asset_type, 100) {
        return Err(argument_error(
            "`base_prompt` has at most 20,000 characters, `asset_type` at most 100",
        ));
    }
    let is_an_idea = wish.base.is_none() && wish.references.is_empty();
    let prompt = call.runs.write_prompt(&wish).await.map_err(|error| error.report())?;
    let message = match is_an_idea {
        true => "Layer had nothing to go by; this is an idea of its own.",
        false => "Give it to create_asset; nothing was made yet.",
    };
    data(&GeneratePromptAnswer { prompt, message: message.to_owned() })
}
