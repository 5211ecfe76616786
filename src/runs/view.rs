//! Looking at a file that was made.

use super::Runs;
use super::error::RunError;
use super::place::off_the_reactor;
use crate::audit::Event;
use crate::files::{FileError, MediaKind, OutputDir, Preview, PreviewLimits, SavedFile};
use crate::journal::JobId;

impl Runs {
    /// A file of the output folder, or of a job (`job_…`, `job_…#2` for its second file), with a
    /// small copy when it is a picture.
    pub async fn view(&self, image: &str) -> Result<(SavedFile, Option<Preview>), RunError> {
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
            let preview = match file.media_type.kind() {
                MediaKind::Image => match output.preview(&path, PreviewLimits::default()) {
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
