//! Looking at a file that was made.

use super::Runs;
use super::error::RunError;
use super::place::off_the_reactor;
use crate::audit::Event;
use crate::files::{FileError, MediaKind, OutputDir, Preview, PreviewLimits, SavedFile};
use crate::journal::JobId;

/// What of a file is read.
#[derive(Debug)]
pub enum AssetContent {
    /// All of it.
    Whole(Vec<u8>),
    /// A small copy of the picture.
    Small(Preview),
    /// Nothing: it is too large to be shown.
    TooLarge,
}

impl Runs {
    /// A file of the output folder, or of a job (`job_…`, `job_…#2` for its second file), with a
    /// small copy of this size when it is a picture.
    pub async fn view(
        &self,
        image: &str,
        limits: Option<PreviewLimits>,
    ) -> Result<(SavedFile, Option<Preview>), RunError> {
        let (job, number) = image.trim().split_once('#').unwrap_or((image.trim(), "1"));
        let (folder, path) = match (job.parse::<JobId>(), number.parse::<usize>()) {
            (Ok(id), Ok(number)) => self.file_of(&id, number).await?,
            (Ok(_), Err(_)) => {
                return Err(RunError::Argument {
                    field: "image",
                    message: "after `#` stands the number of the file, such as `#2`".to_owned(),
                });
            }
            (Err(_), _) => (self.output_dir()?, image.to_owned()),
        };
        let seen = off_the_reactor(move || {
            let output = OutputDir::open_existing(&folder)?;
            let file = output.inspect(&path)?;
            let preview = match (file.media_type.kind(), limits) {
                (MediaKind::Image, Some(limits)) => match output.preview(&path, limits) {
                    Ok(preview) => Some(preview),
                    // A picture of a kind that is not decoded here still has its facts.
                    Err(FileError::Unsupported { .. }) => None,
                    Err(error) => return Err(error),
                },
                _ => None,
            };
            Ok((file, preview))
        })
        .await?;
        let event = Event::new("file.read").with("sha256", seen.0.sha256.as_str());
        self.inner.settings.audit.note(event.with("bytes", seen.0.bytes));
        Ok(seen)
    }

    /// A file of a job as somebody's context can take it: whole when it has at most `whole` bytes,
    /// a larger picture as a small copy.
    ///
    /// # Errors
    /// [`RunError::JobUnknown`], [`RunError::Argument`] for a file that the job does not have, and
    /// whatever keeps the file from being read.
    pub async fn asset(
        &self,
        id: &JobId,
        number: usize,
        whole: u64,
        limits: Option<PreviewLimits>,
    ) -> Result<(SavedFile, AssetContent), RunError> {
        let (folder, path) = self.file_of(id, number).await?;
        let seen = off_the_reactor(move || {
            let output = OutputDir::open_existing(&folder)?;
            if output.length(&path)? <= whole {
                let (file, bytes) = output.read(&path, whole)?;
                return Ok((file, AssetContent::Whole(bytes)));
            }
            let file = output.inspect(&path)?;
            let content = match (file.media_type.kind(), limits) {
                (MediaKind::Image, Some(limits)) => match output.preview(&path, limits) {
                    Ok(preview) => AssetContent::Small(preview),
                    Err(FileError::Unsupported { .. }) => AssetContent::TooLarge,
                    Err(error) => return Err(error),
                },
                _ => AssetContent::TooLarge,
            };
            Ok((file, content))
        })
        .await?;
        let event = Event::new("file.read").with("sha256", seen.0.sha256.as_str());
        self.inner.settings.audit.note(event.with("bytes", seen.0.bytes));
        Ok(seen)
    }

    /// What a path being typed may go on with, in the output folder; nothing where that is not
    /// there, or the path leads out of it.
    pub async fn continuations(&self, typed: &str) -> Vec<String> {
        let Ok(folder) = self.output_dir() else { return Vec::new() };
        let typed = typed.to_owned();
        let found =
            off_the_reactor(move || OutputDir::open_existing(&folder)?.continuations(&typed));
        found.await.unwrap_or_default()
    }

    async fn file_of(
        &self,
        id: &JobId,
        number: usize,
    ) -> Result<(std::path::PathBuf, String), RunError> {
        let job = self.known_job(id).await?;
        let file = number.checked_sub(1).and_then(|index| job.files.get(index));
        let file = file.ok_or_else(|| RunError::Argument {
            field: "image",
            message: match job.files.len() {
                0 => format!("the job `{id}` has no file yet; `get_job` waits for it"),
                count => format!("the job `{id}` has {count} file(s)"),
            },
        })?;
        Ok((job.new.output_dir.clone(), file.path.display().to_string()))
    }
}
