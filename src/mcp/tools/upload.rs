//! Sending a file of the project to Layer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Call, Entry, Handled, Hints, Toolset, data, parse, spec};
use crate::runs::ErrorReport;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UploadFileArgs {
    /// Path in the output folder.
    path: String,
}

#[derive(Serialize, JsonSchema)]
struct UploadAnswer {
    file_id: String,
    reused: bool,
    media_type: String,
    bytes: u64,
    /// Of the local file.
    sha256: String,
    /// True when EXIF, GPS and other metadata of the picture were left out.
    stripped: bool,
    message: String,
}

pub(super) fn upload_file() -> Entry {
    Entry {
        spec: spec::<UploadFileArgs, UploadAnswer>(
            "upload_file",
            "Upload a file",
            "Sends a picture, sound or video of the project to Layer and returns its file_id. \
             Free. Rarely needed: \
             `references` takes paths.",
            Hints::CHANGES_LAYER,
        ),
        toolset: Toolset::Default,
        handle: |call, arguments| Box::pin(upload(call, arguments)) as Handled<'_>,
    }
}

async fn upload(call: Call<'_>, arguments: Map<String, Value>) -> Result<Answer, ErrorReport> {
    let args = parse::<UploadFileArgs>(arguments)?;
    let sent = call.runs.upload(&args.path).await.map_err(|error| error.report())?;
    let path = sent.path.display();
    let metadata = match sent.stripped {
        true => " Its metadata (such as EXIF and GPS) was taken out first.",
        false => "",
    };
    let message = match sent.reused {
        true => format!("{path} lies at Layer already.{metadata}"),
        false => format!("{path} was uploaded.{metadata}"),
    };
    data(&UploadAnswer {
        file_id: sent.file.to_string(),
        reused: sent.reused,
        media_type: sent.media_type.to_string(),
        bytes: sent.bytes,
        sha256: sent.sha256,
        stripped: sent.stripped,
        message,
    })
}
