//! What helps with prompts: describing an image, making a prompt, and making one richer.

use rand::RngExt as _;
use serde_json::Value;

use super::super::App;
use super::super::answers::ApiError;
use super::super::downloads::file_of;
use super::super::media::Artifact;
use super::super::state::{StoredFile, Workspace};
use super::execute::Held;
use super::objects::upload_size;
use super::operations::Input;

fn wrapped(text: String) -> Held {
    Held::plain("StringWrapper", [("value", text.into())])
}

/// The image of an address on the media host. No other address is followed.
pub(super) async fn image_at(
    app: &App,
    workspace: &Workspace,
    url: &str,
) -> Result<StoredFile, ApiError> {
    let path = url.strip_prefix(&app.media_url).filter(|path| path.starts_with('/'));
    let path = path.and_then(|path| path.split(['?', '#']).next());
    let found = match path {
        Some(path) => file_of(app, path).await?,
        None => None,
    };
    let found = found.filter(|file| file.workspace == workspace.id);
    match found {
        Some(file) if file.content_type.starts_with("image/") => Ok(file),
        Some(file) => {
            let text = format!("The file at the URL is {}, not an image.", file.content_type);
            Err(ApiError::bad_request(text))
        }
        None => Err(ApiError::bad_request("The image URL cannot be fetched.")),
    }
}

/// What the sandbox knows of a file.
pub(super) async fn described(app: &App, file: &StoredFile) -> Result<String, ApiError> {
    let size = file.size.map_or_else(String::new, |(w, h)| format!(" of {w} by {h} pixels"));
    let made =
        file.artifact.as_deref().and_then(|made| serde_json::from_str::<Artifact>(made).ok());
    if let Some(made) = made {
        let prompt = made.prompt;
        return Ok(format!("A generated file{size}, made by {} from: {prompt}", made.model));
    }
    let bytes = upload_size(app, &file.id).await?.unwrap_or_default();
    let kind = &file.content_type;
    Ok(format!("An uploaded file{size}, {kind} of {bytes} bytes, named {}", file.name))
}

pub(super) async fn describe(app: &App, input: &Input) -> Result<Held, ApiError> {
    let workspace = input.workspace(app).await?;
    let url = input.text("imageUrl").ok_or_else(|| ApiError::bad_request("imageUrl is needed."))?;
    let file = image_at(app, &workspace, url).await?;
    Ok(wrapped(described(app, &file).await?))
}

pub(super) async fn generate(app: &App, input: &Input) -> Result<Held, ApiError> {
    input.workspace(app).await?;
    let subjects = ["a lantern", "a mossy golem", "a smuggler's airship", "a potion shelf"];
    let places = ["in a flooded market", "on a chalk cliff", "under a glass dome"];
    let looks = ["thick gouache, warm rim light", "clean vector shapes", "chunky pixel art"];
    let mut random = rand::rng();
    let mut one = |list: &[&'static str]| {
        list.get(random.random_range(0..list.len())).copied().unwrap_or_default()
    };
    Ok(wrapped(format!("{} {}, {}", one(&subjects), one(&places), one(&looks))))
}

/// The prompt as it was, then the guidance, the references, and what makes pictures clearer.
/// What `range` means is not publicly known; it changes nothing.
pub(super) async fn transform(app: &App, input: &Input) -> Result<Held, ApiError> {
    let workspace = input.workspace(app).await?;
    let prompt = input.text("prompt").unwrap_or_default().trim();
    let images = input.list("images");
    if prompt.is_empty() && images.is_empty() {
        return Err(ApiError::bad_request("A prompt or an image is needed."));
    }
    let mut parts = vec![prompt.to_owned()];
    parts.extend(input.text("guidance").map(|text| text.trim().to_owned()));
    for image in images {
        let url = image.get("url").and_then(Value::as_str).unwrap_or_default();
        let file = image_at(app, &workspace, url).await?;
        parts.push(format!("in keeping with the reference ({})", described(app, &file).await?));
    }
    parts.push("clear silhouette, considered composition, soft key light, fine detail".to_owned());
    parts.retain(|part| !part.is_empty());
    Ok(wrapped(parts.join(", ")))
}
