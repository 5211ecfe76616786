//! A tool's answer in the shape that shows this client's model the most.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ProtocolVersion, Resource};
use serde_json::Value;

use super::clients::ClientProfile;
use super::tools::Answer;
use crate::files::Preview;
use crate::runs::RunError;

/// Who an answer is for.
pub(super) struct Recipient<'a> {
    /// How the client is served.
    pub(super) profile: &'a ClientProfile,
    /// The revision that the call speaks.
    pub(super) version: Option<ProtocolVersion>,
}

impl Recipient<'_> {
    /// An answer as content, with `pictures` beside it where the client keeps them.
    pub(super) fn result(&self, answer: Answer, pictures: &[Preview]) -> CallToolResult {
        match answer {
            Answer::Data(object) => {
                let sentence = object.get("message").and_then(Value::as_str).map(str::to_owned);
                let value = Value::Object(object);
                let text = match sentence {
                    Some(sentence) if self.profile.structured && !self.profile.repeats => sentence,
                    _ => value.to_string(),
                };
                let mut blocks = vec![ContentBlock::text(text)];
                blocks.extend(pictures.iter().map(image));
                let mut result = CallToolResult::success(blocks);
                if self.profile.structured {
                    result.structured_content = Some(value);
                }
                result
            }
            Answer::Picture(picture) => {
                let mut blocks = vec![ContentBlock::text(picture.line)];
                blocks.extend(picture.preview.iter().map(image));
                if self.profile.takes_links(self.version.as_ref())
                    && let Ok(uri) = url::Url::from_file_path(&picture.path)
                {
                    let name = picture.path.file_name().unwrap_or_default().to_string_lossy();
                    let mut link = Resource::new(uri.to_string(), name);
                    link.mime_type = Some(picture.media_type);
                    blocks.push(ContentBlock::resource_link(link));
                }
                CallToolResult::success(blocks)
            }
            // Asked before it comes here.
            Answer::Ask(question) => {
                let report = RunError::confirmation_needed(*question).report();
                self.result(Answer::Error(Box::new(report)), &[])
            }
            Answer::Error(report) => {
                let text = serde_json::to_string(&report).unwrap_or(report.message);
                CallToolResult::error(vec![ContentBlock::text(text)])
            }
        }
    }

    /// The same, with what MCP 2026-07-28 wants beside every result: who made it.
    pub(super) fn signed(
        &self,
        mut result: CallToolResult,
        server: Implementation,
    ) -> CallToolResult {
        let modern =
            self.version.as_ref().is_some_and(|version| *version >= ProtocolVersion::V_2026_07_28);
        if modern && let Ok(server) = serde_json::to_value(server) {
            let meta = result.meta.get_or_insert_default();
            meta.insert("io.modelcontextprotocol/serverInfo".to_owned(), server);
        }
        result
    }
}

fn image(preview: &Preview) -> ContentBlock {
    ContentBlock::image(STANDARD.encode(&preview.bytes), preview.media_type.to_string())
}
