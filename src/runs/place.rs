//! Where the files of a job go, and what they turned out to be.

use std::time::Duration;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::error::RunError;
use crate::files::{FileError, IncomingFile, OutputDir, SaveTo, SavedFile};
use crate::journal::Job;
use crate::layer::{InferenceRequest, LARGEST_FILE, Modality, Task};

/// No file is on its way for so long.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// What differs between what was asked for and what lies on the disk. Where the files themselves
/// can tell, they do, and not the service's announcement.
pub(super) fn adjusted(job: &Job, files: &[SavedFile]) -> Vec<String> {
    let request = job.new.order.inference();
    let measured = |said: &String| {
        (said.starts_with("width:") && files.iter().all(|file| file.width.is_some()))
            || (said.starts_with("height:") && files.iter().all(|file| file.height.is_some()))
            || (said.starts_with("duration_seconds:")
                && files.iter().all(|file| file.duration_seconds.is_some()))
            || said.starts_with("count:")
            || said.starts_with("file ")
    };
    let mut adjusted: Vec<String> =
        job.adjusted.iter().filter(|said| !measured(said)).cloned().collect();
    if let Some(request) = request
        && files.len() != usize::from(request.count)
    {
        adjusted.push(format!("count: asked for {}, {} came", request.count, files.len()));
    }
    for file in files {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let mut differs = |what: String| adjusted.push(format!("file {name}: {what}"));
        if let Some(request) = request {
            compare(request, file, &mut differs);
        }
        if file.readable == Some(false) {
            differs("it can't be decoded to its end, it is damaged".to_owned());
        }
        if let Some(wish) = &file.asked_name {
            differs(format!("asked for the name {wish}"));
        }
    }
    adjusted
}

fn compare(request: &InferenceRequest, file: &SavedFile, differs: &mut impl FnMut(String)) {
    let sides = [("width", request.width, file.width), ("height", request.height, file.height)];
    for (side, asked, found) in sides {
        if let (Some(asked), Some(found)) = (asked, found)
            && asked != found
        {
            differs(format!("asked for a {side} of {asked}, it has {found}"));
        }
    }
    if let (Some(asked), Some(found)) = (request.duration_seconds, file.duration_seconds)
        && (asked - found).abs() > 0.5
    {
        differs(format!("asked for {asked} seconds, it has {found:.1}"));
    }
    let cut_out = request.transparency || request.task == Some(Task::RemoveBackground);
    if cut_out && file.has_alpha != Some(true) {
        differs("asked for transparency, it has none".to_owned());
    }
}

/// Where the files of a job go.
#[derive(Clone)]
pub(super) struct Place {
    output: OutputDir,
    target: crate::files::Target,
}

impl Place {
    pub(super) async fn of(
        job: &Job,
        count: usize,
        held: TaskTrackerToken,
    ) -> Result<Self, RunError> {
        let save_to = job.new.save_to.clone();
        let (folder, prompt) = (job.new.output_dir.clone(), job.new.order.title().to_owned());
        Self::open(folder, save_to, prompt, count, held).await
    }

    /// Opens the folder and plans the names, off the reactor. To see whether it can be written to, a
    /// file is made and removed: the end of the process waits for what is `held`.
    pub(super) async fn open(
        folder: std::path::PathBuf,
        save_to: Option<String>,
        prompt: String,
        count: usize,
        held: TaskTrackerToken,
    ) -> Result<Self, RunError> {
        off_the_reactor(move || {
            let _held = held;
            let save_to = save_to.as_deref().map(SaveTo::parse).transpose()?;
            let output = OutputDir::open(&folder)?;
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let target = output.target(save_to.as_ref(), &prompt, count)?;
            Ok(Self { output, target })
        })
        .await
    }

    /// Refuses, before anything is bought, a place that can't take the files.
    pub(super) async fn check(
        &self,
        modality: Modality,
        held: TaskTrackerToken,
    ) -> Result<(), RunError> {
        let place = self.clone();
        off_the_reactor(move || {
            let _held = held;
            place.output.check(&place.target)?;
            match place.output.would_clobber(&place.target, may_be(modality)) {
                Some(path) => Err(FileError::Exists { path: path.to_string_lossy().into_owned() }),
                None => Ok(()),
            }
        })
        .await
    }

    /// The output folder's path.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.output.path()
    }

    /// Removes what processes that were killed left behind long ago.
    pub(super) fn clear_up(&self, now: jiff::Timestamp) {
        self.output.remove_stale_parts(&self.target, now.into(), ABANDONED);
    }

    pub(super) fn begin(&self) -> Result<IncomingFile, FileError> {
        self.output.begin(&self.target, LARGEST_FILE)
    }

    pub(super) fn finish(&self, file: IncomingFile, index: usize) -> Result<SavedFile, FileError> {
        // It is paid for: a name taken meanwhile gets a number, nothing is replaced or lost.
        file.finish_unique(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Copies a file that an earlier job saved in `folder` here.
    pub(super) fn copy(
        &self,
        folder: &std::path::Path,
        file: &SavedFile,
        index: usize,
    ) -> Result<SavedFile, FileError> {
        let from = file.path.to_string_lossy();
        let (_, bytes) = OutputDir::open_existing(folder)?.read(&from, LARGEST_FILE)?;
        let mut copy = self.begin()?;
        copy.write(&bytes)?;
        self.finish(copy, index)
    }
}

/// The types that a model of this kind may deliver, whatever name was asked for.
fn may_be(modality: Modality) -> &'static [crate::files::MediaType] {
    use crate::files::MediaType::{Glb, Jpeg, Mp3, Mp4, Png, Wav, Webm, Webp};
    match modality {
        Modality::Image => &[Png, Jpeg, Webp],
        Modality::Video => &[Mp4, Webm],
        Modality::ThreeD => &[Glb],
        Modality::Audio => &[Wav, Mp3],
        Modality::Text => &[],
    }
}

/// Runs file work where it may block.
pub(super) async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, RunError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(RunError::file),
        Err(_) => Err(RunError::file(FileError::from_io(
            "the output folder",
            "work in",
            std::io::Error::other("the work was broken off"),
        ))),
    }
}
