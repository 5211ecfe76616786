//! Fetching what a run made: streamed to the disk, checked, under a name that was free.

use std::time::Duration;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{TRIES, Worker, is_passing};
use crate::files::{FileError, OutputDir, SavedFile};
use crate::journal::Job;
use crate::layer::{InferenceId, Output, RunStatus};
use crate::runs::error::RunError;
use crate::runs::place::Place;
use crate::runs::work::Stage;

impl Worker {
    pub(super) async fn fetch_all(
        &self,
        job: &Job,
        inference: &InferenceId,
        mut outputs: Vec<Output>,
    ) -> Result<Vec<SavedFile>, RunError> {
        outputs.retain(|output| output.text.is_none());
        let total = outputs.len();
        let place =
            Place::of(job, total, self.writing()?).await.map_err(|error| error.of_job(&self.id))?;
        let mut files = Vec::with_capacity(total);
        let mut trouble = None;
        for index in 0..total {
            self.stage.send_replace(Stage::Fetching(index + 1, total));
            match self.fetch_patiently(job, inference, &mut outputs, &place, index).await {
                Ok(file) => files.push(file),
                // The others are paid for as well.
                Err(RunError::Download { source, .. }) => trouble = Some(source),
                Err(error) => return Err(error),
            }
        }
        let Some(source) = trouble else { return Ok(files) };
        if !files.is_empty() {
            let written = self.inner.records().await?.record_some_files(&self.id, &files).await;
            written.map_err(|error| RunError::journal(error).of_job(&self.id))?;
        }
        Err(RunError::Download { job: self.id.clone(), source, saved: files })
    }

    /// Fetches one file, a few times where that may help, and under a fresh address when the old
    /// one died.
    async fn fetch_patiently(
        &self,
        job: &Job,
        inference: &InferenceId,
        outputs: &mut Vec<Output>,
        place: &Place,
        index: usize,
    ) -> Result<SavedFile, RunError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let Some(output) = outputs.get(index) else {
                return Err(RunError::NoFiles { job: self.id.clone() });
            };
            let error = match self.fetch(output, place, index).await {
                Ok(file) => return Ok(file),
                Err(error) => error,
            };
            let (may_pass, link_died) = match &error {
                RunError::Download { source, .. } => {
                    let died = matches!(source.status, Some(401 | 403 | 404 | 410));
                    (is_passing(source) || died, died)
                }
                RunError::File { source, .. } => {
                    (matches!(source.as_ref(), FileError::CutShort { .. }), false)
                }
                _ => (false, false),
            };
            if tried >= TRIES || !may_pass {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(500 * u64::from(tried))).await;
            if link_died
                && let Ok(look) = self.look(job, inference).await
                && let RunStatus::Complete(mut done) = look.status
            {
                done.outputs.retain(|output| output.text.is_none());
                if done.outputs.len() == outputs.len() {
                    *outputs = done.outputs;
                }
            }
        }
    }

    /// Streams one file to the disk; the network and the disk take turns through a short queue.
    async fn fetch(
        &self,
        output: &Output,
        place: &Place,
        index: usize,
    ) -> Result<SavedFile, RunError> {
        let broken =
            |source| RunError::Download { job: self.id.clone(), source, saved: Vec::new() };
        let mut download = self.connection.client.download(output).await.map_err(broken)?;
        let (queue, mut chunks) = tokio::sync::mpsc::channel::<Option<Vec<u8>>>(8);
        let place = place.clone();
        let now = self.inner.now();
        let held = self.writing()?;
        let writer = tokio::task::spawn_blocking(move || {
            let _held = held;
            place.clear_up(now);
            let mut file = place.begin()?;
            while let Some(chunk) = chunks.blocking_recv() {
                match chunk {
                    Some(chunk) => file.write(&chunk)?,
                    None => return place.finish(file, index).map(Some),
                }
            }
            // The sender went away without saying that it was done: the file is not whole.
            Ok(None)
        });
        let fetched = loop {
            let chunk = tokio::select! {
                chunk = download.next_chunk() => chunk,
                // The process ends: the writer gives up and clears what it has written.
                () = self.inner.ending.cancelled() => break Ok(()),
            };
            match chunk {
                Ok(Some(chunk)) => {
                    // A writer that has given up says why below.
                    if queue.send(Some(chunk)).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => {
                    let _ = queue.send(None).await;
                    break Ok(());
                }
                Err(error) => break Err(error),
            }
        };
        drop(queue);
        let written = writer.await.map_err(|_| RunError::Internal { job: self.id.clone() })?;
        fetched.map_err(broken)?;
        match written {
            Ok(Some(file)) => {
                // No name: it may be made of the prompt.
                let event = self.event("file.write").with("sha256", file.sha256.to_string());
                self.note(event.with("bytes", file.bytes));
                Ok(file)
            }
            Ok(None) => Err(RunError::Internal { job: self.id.clone() }),
            Err(error) => Err(RunError::file(error).of_job(&self.id)),
        }
    }

    fn writing(&self) -> Result<TaskTrackerToken, RunError> {
        self.inner.writing().ok_or_else(|| RunError::Timeout { job: self.id.clone() })
    }

    pub(super) async fn files_are_there(&self, job: &Job) -> bool {
        let (folder, files) = (job.new.output_dir.clone(), job.files.clone());
        !files.is_empty()
            && tokio::task::spawn_blocking(move || {
                let Ok(output) = OutputDir::open_existing(&folder) else { return false };
                files.iter().all(|file| {
                    let found = file.path.to_str().map(|path| output.inspect(path));
                    matches!(found, Some(Ok(found)) if found.sha256 == file.sha256)
                })
            })
            .await
            .unwrap_or(false)
    }
}
