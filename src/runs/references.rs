//! What a request goes by: files of the project, files that earlier jobs made, files that lie at
//! Layer already, and addresses on hosts that the user named for that.
//!
//! A file is read twice: once for its hash, by which a request is known again, and once to be
//! sent, when the purchase is allowed. In between nothing of it is held, and while files are read
//! and sent they share a bounded [`Room`].

mod named;
mod roles;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use named::{Address, Named, client_s_own};
pub(super) use roles::roles;

use super::error::RunError;
use super::place::off_the_reactor;
use super::{Connection, Runs, api};
use crate::audit::Event;
use crate::files::{FileError, MediaKind, MediaType, Outgoing, OutputDir};
use crate::journal::{Job, JobId};
use crate::layer::{
    ApiError, ApiErrorKind, FileId, LARGEST_UPLOAD, Modality, UPLOAD_TYPES, Upload, WorkspaceId,
};
use crate::redact::clean_line;

/// Layer takes at most so many for one run.
const MOST: usize = 20;
/// So many files are read and sent at the same time, as far as there is room for them.
const AT_ONCE: usize = 20;
/// An address is given up after so long.
const FETCH_TIME: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

/// Memory for files on their way: as much as four of the largest need.
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        let largest = usize::try_from(LARGEST_UPLOAD / MIB).unwrap_or(64);
        Self(Arc::new(Semaphore::new(4 * largest)))
    }
}

impl Room {
    /// Waits until there is room for so many bytes. A holder never waits for more.
    async fn of(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let share = u32::try_from(bytes.min(LARGEST_UPLOAD).div_ceil(MIB)).unwrap_or(64).max(1);
        // Nobody closes it.
        self.0.clone().acquire_many_owned(share).await.ok()
    }
}

/// One thing that a request goes by, found and judged, and not yet sent.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What makes two of them the same: the hash of what is sent, or the id at Layer.
    pub(super) key: String,
    kind: MediaKind,
    source: Source,
}

impl Found {
    pub(super) fn is_picture(&self) -> bool {
        self.kind == MediaKind::Image
    }
}

#[derive(Clone, Debug)]
enum Source {
    Local(Local),
    AtLayer(FileId),
}

/// A file that may have to be sent.
#[derive(Clone)]
struct Local {
    /// The output folder, and the path in it.
    place: (PathBuf, String),
    /// What came from an address, which is not asked twice.
    fetched: Option<Arc<[u8]>>,
    media_type: MediaType,
    mime: &'static str,
    length: u64,
    /// Of the file as it lies there.
    sha256: String,
    /// Of what is sent.
    sent_sha256: String,
    stripped: bool,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Local({})", self.sent_sha256)
    }
}

impl Local {
    fn new(
        field: &'static str,
        place: (PathBuf, String),
        shown: &str,
        file: &Outgoing,
    ) -> Result<Self, RunError> {
        let mime = upload_type(file.media_type).ok_or_else(|| RunError::Argument {
            field,
            message: format!(
                "`{}` is {}, which can't be uploaded. Layer takes PNG, JPEG, WebP, MP4, MP3 and \
                 WAV",
                clean_line(shown, 200),
                file.media_type
            ),
        })?;
        Ok(Self {
            place,
            fetched: None,
            media_type: file.media_type,
            mime,
            length: file.length,
            sha256: file.sha256.clone(),
            sent_sha256: file.sent_sha256.clone(),
            stripped: file.stripped,
        })
    }

    fn found(self) -> Found {
        Found {
            key: format!("sha256:{}", self.sent_sha256),
            kind: self.media_type.kind(),
            source: Source::Local(self),
        }
    }

    /// The file with its bytes, which must be those that were judged.
    async fn upload(&self) -> Result<Upload, RunError> {
        let (folder, path) = self.place.clone();
        let name = Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(bytes) = &self.fetched {
            return Ok(Upload { name, media_type: self.mime, bytes: bytes.clone() });
        }
        let shown = clean_line(&path, 200);
        let read = off_the_reactor(move || {
            OutputDir::open_existing(&folder)?.outgoing(&path, LARGEST_UPLOAD)
        });
        let file = read.await?;
        if file.sha256 != self.sha256 {
            return Err(wrong(format!(
                "`{shown}` was changed while it was being read; call again when it is finished"
            )));
        }
        Ok(Upload { name, media_type: self.mime, bytes: Arc::from(file.bytes) })
    }
}

/// A file at Layer, and whether it was there before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// Its id.
    pub file: FileId,
    /// True when the same content was there before.
    pub reused: bool,
    /// True when what lies at Layer is the local file without its metadata.
    pub stripped: bool,
    /// Where the local file lies.
    pub path: PathBuf,
    /// What it is.
    pub media_type: MediaType,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// How a content came to be at Layer.
enum Sent {
    Now(FileId),
    Before(FileId),
    /// A job made it, with whatever Layer put in.
    Made(FileId),
}

impl Sent {
    fn file(self) -> FileId {
        match self {
            Self::Now(file) | Self::Before(file) | Self::Made(file) => file,
        }
    }
}

impl Runs {
    /// Sends a file of the output folder to the workspace, once for each content. Costs nothing.
    pub async fn upload(&self, path: &str) -> Result<Uploaded, RunError> {
        let argument = |message| RunError::Argument { field: "path", message };
        let path = match Named::parse(path).map_err(argument)? {
            // A name with a bracket in it is a name here.
            Named::Path(path) | Named::Pattern(path) => path,
            Named::Address(address) => return Err(argument(not_fetched(&address))),
            Named::OfJob(..) | Named::AtLayer(_) => {
                return Err(argument(
                    "it lies at Layer already; give it in `references`".to_owned(),
                ));
            }
        };
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let local = self.read_local("path", &path).await?;
        let sent = self.send(&connection, &workspace, &local).await?;
        let (folder, path) = &local.place;
        Ok(Uploaded {
            reused: !matches!(sent, Sent::Now(_)),
            stripped: local.stripped && !matches!(sent, Sent::Made(_)),
            file: sent.file(),
            path: folder.join(path),
            media_type: local.media_type,
            bytes: local.length,
            sha256: local.sha256.clone(),
        })
    }

    /// Finds and judges what the texts name. Sends nothing.
    pub(super) async fn find(&self, texts: &[String]) -> Result<Vec<Found>, RunError> {
        let mut all = Vec::new();
        for text in texts {
            match Named::parse(text).map_err(wrong)? {
                Named::Pattern(pattern) => all.extend(self.expand(&pattern).await?),
                other => all.push(other),
            }
        }
        if all.len() > MOST {
            return Err(wrong(format!("at most {MOST} references; these are {}", all.len())));
        }
        let fetched = AtomicU64::new(0);
        // Boxed: without that the compiler can't see that they may go to another thread.
        let found: Vec<BoxFuture<'_, _>> =
            all.into_iter().map(|one| self.find_one(one, &fetched).boxed()).collect();
        futures::stream::iter(found).buffered(AT_ONCE).try_collect().await
    }

    /// The same for one picture, which an argument of its own names.
    pub(super) async fn find_picture(
        &self,
        field: &'static str,
        text: &str,
    ) -> Result<Found, RunError> {
        let found = match Named::parse(text).map_err(wrong) {
            Ok(Named::Pattern(path)) => Ok(Named::Path(path)),
            other => other,
        };
        let found = match found {
            Ok(named) => self.find_one(named, &AtomicU64::new(0)).await,
            Err(error) => Err(error),
        };
        let found = found.map_err(|error| match error {
            RunError::Argument { message, .. } => RunError::Argument { field, message },
            other => other,
        })?;
        if found.is_picture() {
            return Ok(found);
        }
        Err(RunError::Argument { field, message: format!("`{field}` is a picture") })
    }

    /// Sends what is not at Layer yet, each content once.
    pub(super) async fn bring(
        &self,
        connection: &Arc<Connection>,
        workspace: &WorkspaceId,
        found: &[Found],
    ) -> Result<Vec<FileId>, RunError> {
        let mut different: HashMap<&str, &Source> = HashMap::new();
        for one in found {
            different.entry(&one.key).or_insert(&one.source);
        }
        let one = async |key, source: &Source| {
            let file = match source {
                Source::AtLayer(file) => file.clone(),
                Source::Local(local) => self.send(connection, workspace, local).await?.file(),
            };
            Ok::<_, RunError>((key, file))
        };
        let sent: Vec<BoxFuture<'_, _>> =
            different.into_iter().map(|(key, source)| one(key, source).boxed()).collect();
        let sent = futures::stream::iter(sent).buffer_unordered(AT_ONCE);
        let sent: HashMap<&str, FileId> = sent.try_collect().await?;
        Ok(found.iter().filter_map(|one| sent.get(one.key.as_str()).cloned()).collect())
    }

    async fn send(
        &self,
        connection: &Arc<Connection>,
        workspace: &WorkspaceId,
        local: &Local,
    ) -> Result<Sent, RunError> {
        let journal = self.inner.journal().await?;
        let origin = &connection.origin;
        let known = journal.uploaded(origin, workspace, &local.sent_sha256).await;
        if let Some(file) = known.map_err(RunError::journal)? {
            return Ok(Sent::Before(file));
        }
        let made = journal.made(origin, workspace, &local.sha256).await;
        if let Some(file) = made.map_err(RunError::journal)? {
            return Ok(Sent::Made(file));
        }
        let room = self.inner.room.of(local.length).await;
        let upload = local.upload().await?;
        // A caller that stops waiting stops no upload: the next call finds it done.
        let (runs, connection, workspace) = (self.clone(), connection.clone(), workspace.clone());
        let sha256 = local.sent_sha256.clone();
        let sent = tokio::spawn(async move {
            let file = connection.client.upload(&workspace, &upload).await.map_err(api)?;
            drop((upload, room));
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
            Ok(file) => file.map(Sent::Now),
            Err(_) => Err(wrong("the upload was broken off".to_owned())),
        }
    }

    /// The files that a pattern stands for.
    async fn expand(&self, text: &str) -> Result<Vec<Named>, RunError> {
        let (folder, pattern) = (self.output_dir()?, text.to_owned());
        if let Some(message) = client_s_own(text, &folder) {
            return Err(wrong(message));
        }
        let matches = off_the_reactor(move || {
            let wanted = |media| upload_type(media).is_some();
            OutputDir::open_existing(&folder)?.matching(&pattern, wanted)
        })
        .await?;
        let shown = clean_line(text, 200);
        match (matches.paths.len(), matches.others) {
            (0, 0) => Err(wrong(format!("no file of the output folder matches `{shown}`"))),
            (0, others) => Err(wrong(format!(
                "`{shown}` matches {others} file(s), none of which can be uploaded. Layer takes \
                 PNG, JPEG, WebP, MP4, MP3 and WAV"
            ))),
            (count, _) if count > MOST => Err(wrong(format!(
                "at most {MOST} references; `{shown}` matches {count}: take a narrower pattern"
            ))),
            _ => Ok(matches.paths.into_iter().map(Named::Path).collect()),
        }
    }

    async fn find_one(&self, named: Named, fetched: &AtomicU64) -> Result<Found, RunError> {
        match named {
            Named::Path(path) | Named::Pattern(path) => {
                Ok(self.read_local("references", &path).await?.found())
            }
            Named::OfJob(id, index) => self.file_of_job(&id, index).await,
            Named::AtLayer(file) => {
                let key = format!("file:{file}");
                Ok(Found { key, kind: MediaKind::Image, source: Source::AtLayer(file) })
            }
            Named::Address(address) => self.fetch(&address, fetched).await,
        }
    }

    /// What a job made lies at Layer: it needs no upload.
    async fn file_of_job(&self, id: &JobId, index: usize) -> Result<Found, RunError> {
        let job = self.known_job(id).await?;
        let count = if job.files.is_empty() { job.outputs.len() } else { job.files.len() };
        if index >= count {
            return Err(wrong(match count {
                0 => format!("the job `{id}` has no file yet; `get_job` waits for it"),
                count => format!("the job `{id}` has {count} file(s)"),
            }));
        }
        let kind =
            job.files.get(index).map_or_else(|| made_by(&job), |file| file.media_type.kind());
        let here = self.connection().await?.origin == job.new.origin;
        let journal = self.inner.journal().await?;
        match (job.at_layer(index).filter(|_| here), job.files.get(index)) {
            (Some(file), local)
                if local.is_none()
                    || !journal.is_gone(file).await.map_err(RunError::journal)? =>
            {
                let key = format!("file:{file}");
                Ok(Found { key, kind, source: Source::AtLayer(file.clone()) })
            }
            (_, Some(file)) => {
                let (folder, path) = (job.new.output_dir.clone(), file.path.display().to_string());
                Ok(self.read_in(folder, "references", &path).await?.found())
            }
            (_, None) => Err(wrong(format!("Layer gave the file of `{id}` no id"))),
        }
    }

    async fn read_local(&self, field: &'static str, path: &str) -> Result<Local, RunError> {
        let folder = self.output_dir()?;
        if let Some(message) = client_s_own(path, &folder) {
            return Err(RunError::Argument { field, message });
        }
        self.read_in(folder, field, path).await
    }

    async fn read_in(
        &self,
        folder: PathBuf,
        field: &'static str,
        path: &str,
    ) -> Result<Local, RunError> {
        let (at, wanted) = (folder.clone(), path.to_owned());
        let opened = move || {
            let folder = OutputDir::open_existing(&at)?;
            let length = folder.length(&wanted)?;
            Ok((folder, wanted, length))
        };
        let (output, wanted, length) = off_the_reactor(opened).await?;
        let room = self.inner.room.of(length).await;
        let file = off_the_reactor(move || {
            let mut file = output.outgoing(&wanted, LARGEST_UPLOAD)?;
            file.bytes = Vec::new();
            drop(room);
            Ok(file)
        })
        .await?;
        self.note_read(&file);
        Local::new(field, (folder, path.to_owned()), path, &file)
    }

    /// A file from an address, when the user named its host. All of one call together are no
    /// larger than the largest upload, because they are held until they are sent.
    async fn fetch(&self, address: &Address, so_far: &AtomicU64) -> Result<Found, RunError> {
        let failed = |source: ApiError| match source.kind {
            ApiErrorKind::BlockedHost => wrong(not_fetched(address)),
            ApiErrorKind::BadAddress => {
                wrong(format!("the address on `{}` is not followed: {source}", address.shown()))
            }
            _ => RunError::Fetch { host: address.shown(), source },
        };
        let connection = self.connection().await?;
        let download = async {
            let mut download = connection.client.fetch(&address.text).await.map_err(failed)?;
            let mut bytes = Vec::new();
            while let Some(chunk) = download.next_chunk().await.map_err(failed)? {
                let chunk_length = chunk.len() as u64;
                if so_far.fetch_add(chunk_length, Ordering::Relaxed) + chunk_length > LARGEST_UPLOAD
                {
                    return Err(wrong(
                        "what the addresses of one call lead to is larger than 64 MiB together. \
                         Save the files into the project first, then give their paths"
                            .to_owned(),
                    ));
                }
                bytes.extend(chunk);
            }
            Ok(bytes)
        };
        let bytes = tokio::time::timeout(FETCH_TIME, download).await.unwrap_or_else(|_| {
            let message = format!("it took longer than {} seconds", FETCH_TIME.as_secs());
            let source =
                ApiError::new(ApiErrorKind::Timeout, crate::layer::Reached::Refused, message);
            Err(failed(source))
        })?;
        let shown = format!("https://{}/…", address.shown());
        let place = shown.clone();
        let file: Outgoing = off_the_reactor(move || Outgoing::of(&place, bytes)).await.map_err(
            |error| match error {
                // The next step of a local file would lead astray.
                RunError::File { source, .. }
                    if matches!(source.as_ref(), FileError::Unsupported { .. }) =>
                {
                    wrong(source.to_string())
                }
                other => other,
            },
        )?;
        self.note_read(&file);
        // The address's own name for it may be a secret.
        let name = format!("reference.{}", file.media_type.extension());
        let local = Local::new("references", (PathBuf::new(), name), &shown, &file)?;
        Ok(Local { fetched: Some(Arc::from(file.bytes)), ..local }.found())
    }

    fn note_read(&self, file: &Outgoing) {
        let event = Event::new("file.read").with("sha256", file.sha256.as_str());
        self.inner.settings.audit.note(event.with("bytes", file.length));
    }
}

impl Address {
    fn shown(&self) -> String {
        clean_line(&self.host, 100)
    }
}

fn not_fetched(address: &Address) -> String {
    format!(
        "addresses are not fetched, and `{}` or where it leads is not among the hosts that the \
         user allowed for that. Save the file into the project first, then give its path; or the \
         user may allow the host with LAYER_REFERENCE_HOSTS",
        address.shown()
    )
}

fn upload_type(media: MediaType) -> Option<&'static str> {
    UPLOAD_TYPES.into_iter().find(|known| *known == media.mime())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[tokio::test]
    async fn a_file_that_changes_between_hash_and_upload_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        let tone = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88X\x01\0\x02\0\x10\0data\0\0\0\0";
        std::fs::write(&path, tone).unwrap();
        let output = OutputDir::open(folder.path()).unwrap();
        let file = output.outgoing("tone.wav", 1_000).unwrap();
        let place = (folder.path().to_owned(), "tone.wav".to_owned());
        let local = Local::new("references", place, "tone.wav", &file).unwrap();
        assert_eq!(local.upload().await.unwrap().bytes.as_ref(), tone);
        std::fs::write(&path, [tone.as_slice(), b"more"].concat()).unwrap();
        let error = local.upload().await.err().unwrap().to_string();
        assert!(error.contains("was changed"), "{error}");
    }

    #[tokio::test]
    async fn there_is_room_for_four_of_the_largest() {
        let room = Room::default();
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(room.of(LARGEST_UPLOAD).await.unwrap());
        }
        assert!(room.of(1).now_or_never().is_none());
        held.pop();
        for _ in 0..20 {
            held.push(room.of(MIB).now_or_never().unwrap().unwrap());
        }
    }
}
