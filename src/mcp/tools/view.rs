//! Showing a picture to the model.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Picture, ToolSpec, Toolset, parse};
use crate::mcp::schema;
use crate::runs::{ErrorReport, FileReport};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ViewAssetArgs {
    /// Path in the output folder, or a job_id (job_id#2 for its second file).
    image: String,
}

pub(super) fn view_asset() -> Entry {
    Entry {
        spec: ToolSpec {
            name: "view_asset",
            title: "View asset",
            description: "Shows a picture from the output folder, small, so that you can judge \
                          it. Of videos, sounds and 3D models it tells the facts.",
            input: Arc::new(schema::input::<ViewAssetArgs>()),
            // The picture is the answer: clients show a model nothing else beside structured data.
            output: None,
            hints: Hints::READS_DISK,
        },
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(view(call, arguments)) as Handled<'_>,
    }
}

async fn view(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<ViewAssetArgs>(arguments)?;
    let (file, preview) =
        call.runs.view(&args.image, call.picture).await.map_err(|error| error.report())?;
    let facts = FileReport::from(&file);
    let mut line = format!("{}: {}", facts.path, facts.media_type);
    if let (Some(width), Some(height)) = (facts.width, facts.height) {
        line.push_str(&format!(", {width}x{height} pixels"));
    }
    if let Some(seconds) = facts.duration_seconds {
        line.push_str(&format!(", {seconds:.1} s"));
    }
    line.push_str(&format!(", {} bytes", facts.bytes));
    match facts.has_alpha {
        Some(true) => line.push_str(", with transparent pixels"),
        Some(false) => line.push_str(", opaque"),
        None => {}
    }
    if let Some(preview) = &preview
        && (Some(preview.width), Some(preview.height)) != (facts.width, facts.height)
    {
        line.push_str(&format!("; shown at {}x{}", preview.width, preview.height));
    }
    let Ok(Value::Object(mut facts)) = serde_json::to_value(&facts) else {
        return Err(super::argument_error("the file's facts could not be put into JSON"));
    };
    facts.insert("message".to_owned(), line.clone().into());
    Ok(Answer::Picture(Box::new(Picture {
        line,
        preview,
        media_type: file.media_type.to_string(),
        path: file.path,
        facts,
    })))
}
