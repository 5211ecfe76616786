//! What a request goes by: files of the project, files that earlier jobs made, files that lie at
//! Layer already.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::error::RunError;
use super::place::off_the_reactor;
use super::{Connection, Runs, api};
use crate::audit::Event;
use crate::files::{MediaKind, OutputDir, SavedFile};
use crate::journal::{Job, JobId};
use crate::layer::{
    FileId, LARGEST_UPLOAD, Modality, Model, ModelDetails, UPLOAD_TYPES, Upload, WorkspaceId,
};
use crate::redact::clean_line;

/// Layer takes at most so many for one run.
const MOST: usize = 20;
/// So many files are read and sent at the same time.
const AT_ONCE: usize = 4;

/// One thing that a request goes by, found and read, and not yet sent.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What makes two of them the same: the hash of the content, or the id at Layer.
    pub(super) key: String,
    kind: MediaKind,
    source: Source,
}

impl Found {
    pub(super) fn is_picture(&self) -> bool {
        self.kind == MediaKind::Image
    }
}

#[derive(Clone)]
enum Source {
    Local { upload: Upload, sha256: String },
    AtLayer(FileId),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { sha256, .. } => write!(formatter, "Local({sha256})"),
            Self::AtLayer(id) => write!(formatter, "AtLayer({id})"),
        }
    }
}

/// A file at Layer, and whether it was there before.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// Its id.
    pub file: FileId,
    /// True when the same content was sent to the workspace before.
    pub reused: bool,
    /// What was sent.
    pub local: SavedFile,
}

impl Runs {
    /// Sends a file of the output folder to the workspace, once for each content. Costs nothing.
    pub async fn upload(&self, path: &str) -> Result<Uploaded, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let (local, upload) = self.read_local("path", path).await?;
        let sha256 = local.sha256.clone();
        let (file, reused) = self.send(&connection, &workspace, &upload, &sha256).await?;
        Ok(Uploaded { file, reused, local })
    }

    /// Finds and reads what the texts name. Sends nothing.
    pub(super) async fn find(&self, texts: &[String]) -> Result<Vec<Found>, RunError> {
        let mut names = Vec::new();
        for text in texts {
            names.extend(self.expand(text.trim()).await?);
        }
        if names.len() > MOST {
            return Err(wrong(format!("at most {MOST} references; these are {}", names.len())));
        }
        let found = names.into_iter().map(|name| async move { self.find_one(&name).await });
        futures::stream::iter(found).buffered(AT_ONCE).try_collect().await
    }

    /// The same for one picture, which an argument of its own names.
    pub(super) async fn find_picture(
        &self,
        field: &'static str,
        text: &str,
    ) -> Result<Found, RunError> {
        let found = self.find_one(text.trim()).await.map_err(|error| match error {
            RunError::Argument { message, .. } => RunError::Argument { field, message },
            other => other,
        })?;
        if found.is_picture() {
            return Ok(found);
        }
        Err(RunError::Argument { field, message: format!("`{field}` is a picture") })
    }

    /// Sends what is not at Layer yet.
    pub(super) async fn bring(
        &self,
        connection: &Arc<Connection>,
        workspace: &WorkspaceId,
        found: &[Found],
    ) -> Result<Vec<FileId>, RunError> {
        let sources: Vec<Source> = found.iter().map(|one| one.source.clone()).collect();
        let sent = sources.into_iter().map(|source| async move {
            match source {
                Source::AtLayer(file) => Ok(file),
                Source::Local { upload, sha256 } => {
                    Ok(self.send(connection, workspace, &upload, &sha256).await?.0)
                }
            }
        });
        futures::stream::iter(sent).buffered(AT_ONCE).try_collect().await
    }

    async fn send(
        &self,
        connection: &Arc<Connection>,
        workspace: &WorkspaceId,
        upload: &Upload,
        sha256: &str,
    ) -> Result<(FileId, bool), RunError> {
        let journal = self.inner.journal().await?;
        let origin = &connection.origin;
        let known = journal.uploaded(origin, workspace, sha256).await.map_err(RunError::journal)?;
        if let Some(file) = known {
            return Ok((file, true));
        }
        // A caller that stops waiting stops no upload: the next call finds it done.
        let (runs, connection, workspace) = (self.clone(), connection.clone(), workspace.clone());
        let (upload, sha256) = (upload.clone(), sha256.to_owned());
        let sent = tokio::spawn(async move {
            let file = connection.client.upload(&workspace, &upload).await.map_err(api)?;
            let (journal, now) = (runs.inner.journal().await?, runs.inner.now());
            let origin = &connection.origin;
            if let Err(error) = journal.record_upload(origin, &workspace, &sha256, &file, now).await
            {
                // It is there all the same; the next time it is sent again.
                tracing::warn!(%error, "an upload can't be written down");
            }
            Ok(file)
        });
        match sent.await {
            Ok(file) => file.map(|file| (file, false)),
            Err(_) => Err(wrong("the upload was broken off".to_owned())),
        }
    }

    /// The files that a pattern stands for; anything else stands for itself.
    async fn expand(&self, text: &str) -> Result<Vec<String>, RunError> {
        if text.is_empty() {
            return Err(wrong("a reference can't be empty".to_owned()));
        }
        if !text.contains(['*', '?']) || text.contains("://") {
            return Ok(vec![text.to_owned()]);
        }
        let (folder, pattern) = (self.output_dir()?, text.to_owned());
        let matching =
            off_the_reactor(move || OutputDir::open_existing(&folder)?.matching(&pattern)).await?;
        if matching.is_empty() {
            let shown = clean_line(text, 200);
            return Err(wrong(format!("no file of the output folder matches `{shown}`")));
        }
        Ok(matching)
    }

    async fn find_one(&self, text: &str) -> Result<Found, RunError> {
        if text.contains("://") || text.starts_with("data:") {
            return Err(wrong(
                "addresses are not fetched. Save the file into the project first, then give its \
                 path"
                    .to_owned(),
            ));
        }
        let (job, number) = text.split_once('#').unwrap_or((text, "1"));
        if let Ok(id) = job.parse::<JobId>() {
            let number = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            return self.file_of_job(&id, number).await;
        }
        if is_uuid(text)
            && let Ok(file) = text.parse::<FileId>()
        {
            let key = format!("file:{file}");
            return Ok(Found { key, kind: MediaKind::Image, source: Source::AtLayer(file) });
        }
        let (local, upload) = self.read_local("references", text).await?;
        let sha256 = local.sha256.clone();
        let (key, kind) = (format!("sha256:{sha256}"), local.media_type.kind());
        Ok(Found { key, kind, source: Source::Local { upload, sha256 } })
    }

    /// What a job made lies at Layer: it needs no upload.
    async fn file_of_job(&self, id: &JobId, index: Option<usize>) -> Result<Found, RunError> {
        let job = self.known_job(id).await?;
        let index = index.ok_or_else(|| {
            wrong("after `#` stands the number of the file, such as `#2`".to_owned())
        })?;
        let count = job.files.len().max(job.outputs.len());
        if index >= count {
            return Err(wrong(match count {
                0 => format!("the job `{id}` has no file yet; `get_job` waits for it"),
                count => format!("the job `{id}` has {count} file(s)"),
            }));
        }
        let kind =
            job.files.get(index).map_or_else(|| made_by(&job), |file| file.media_type.kind());
        let here = self.connection().await?.origin == job.new.origin;
        let at_layer = job.outputs.get(index).and_then(|output| output.file_id.clone());
        match (at_layer, job.files.get(index)) {
            (Some(file), _) if here => {
                let key = format!("file:{file}");
                Ok(Found { key, kind, source: Source::AtLayer(file) })
            }
            (_, Some(file)) => {
                let (folder, path) = (job.new.output_dir.clone(), file.path.display().to_string());
                let (local, upload) = self.read_in(folder, "references", &path).await?;
                let sha256 = local.sha256;
                let key = format!("sha256:{sha256}");
                Ok(Found { key, kind, source: Source::Local { upload, sha256 } })
            }
            (_, None) => Err(wrong(format!("Layer gave the file of `{id}` no id"))),
        }
    }

    async fn read_local(
        &self,
        field: &'static str,
        path: &str,
    ) -> Result<(SavedFile, Upload), RunError> {
        let folder = self.output_dir()?;
        if let Some(sandbox) = client_s_own(path) {
            return Err(RunError::Argument {
                field,
                message: format!(
                    "`{sandbox}` exists only in the client's own sandbox, and this server runs on \
                     the user's computer. Ask the user to save the file below `{}`, then give its \
                     name there",
                    folder.display()
                ),
            });
        }
        self.read_in(folder, field, path).await
    }

    async fn read_in(
        &self,
        folder: std::path::PathBuf,
        field: &'static str,
        path: &str,
    ) -> Result<(SavedFile, Upload), RunError> {
        let wanted = path.to_owned();
        let (local, bytes) = off_the_reactor(move || {
            OutputDir::open_existing(&folder)?.read(&wanted, LARGEST_UPLOAD)
        })
        .await?;
        let mime = local.media_type.mime();
        let media_type = UPLOAD_TYPES.into_iter().find(|known| *known == mime).ok_or_else(|| {
            RunError::Argument {
                field,
                message: format!(
                    "`{}` is {mime}, which can't be uploaded. Layer takes PNG, JPEG, WebP, MP4, MP3 \
                     and WAV",
                    clean_line(path, 200)
                ),
            }
        })?;
        let event = Event::new("file.read").with("sha256", local.sha256.as_str());
        self.inner.settings.audit.note(event.with("bytes", local.bytes));
        let name = local.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((local, Upload { name, media_type, bytes: Arc::from(bytes) }))
    }
}

/// Words by which models have been seen to take files, the likeliest first.
fn words(kind: MediaKind, modality: Modality, index: usize) -> &'static [&'static str] {
    match (kind, modality, index) {
        (MediaKind::Video, ..) => &["init_video", "reference_video"],
        (MediaKind::Audio, ..) => &["init_audio", "reference_audio", "audio"],
        (MediaKind::Mesh, ..) => &["init_mesh"],
        (_, Modality::Video, 0) => &["first_frame", "init_image", "init", "reference_image"],
        (_, Modality::Video, _) => &["last_frame", "reference_image", "init_image"],
        (_, Modality::ThreeD, _) => &["init_image", "init", "reference_image", "texture_image"],
        _ => &[
            "reference_image",
            "editing_reference",
            "ip_adapter",
            "init_image",
            "init",
            "prompt",
            "face",
            "pose",
        ],
    }
}

/// The part of each file in the run, in a word that the model knows.
///
/// # Errors
/// [`RunError::Argument`] when the model says that it takes no such file, or not so many.
pub(super) fn roles(
    found: &[Found],
    model: &Model,
    modality: Modality,
    details: &ModelDetails,
) -> Result<Vec<String>, RunError> {
    if let Some(most) = details.most_references
        && found.len() as u64 > most
    {
        let (name, count) = (&model.name, found.len());
        return Err(wrong(format!("the model `{name}` takes at most {most}; these are {count}")));
    }
    let known = &details.reference_types;
    let role = |(index, one): (usize, &Found)| {
        let words = words(one.kind, modality, index);
        let word = match known.is_empty() {
            true => words.first().copied(),
            false => words.iter().copied().find(|word| known.iter().any(|known| known == word)),
        };
        word.map(str::to_owned).ok_or_else(|| {
            wrong(format!(
                "the model `{}` takes no such file; it takes: {}",
                model.name,
                known.join(", ")
            ))
        })
    };
    found.iter().enumerate().map(role).collect()
}

fn wrong(message: String) -> RunError {
    RunError::Argument { field: "references", message }
}

fn made_by(job: &Job) -> MediaKind {
    match job.new.modality {
        Modality::Video => MediaKind::Video,
        Modality::Audio => MediaKind::Audio,
        Modality::ThreeD => MediaKind::Mesh,
        Modality::Image | Modality::Text => MediaKind::Image,
    }
}

/// Places in which clients keep what a person attached to a conversation.
fn client_s_own(path: &str) -> Option<String> {
    const FOLDERS: [&str; 4] = ["/mnt/user-data/", "/mnt/data/", "/home/claude/", "sandbox:/"];
    let path = path.trim();
    let within = FOLDERS.iter().any(|folder| path.starts_with(folder));
    (within && !std::path::Path::new(path).exists()).then(|| clean_line(path, 200))
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
