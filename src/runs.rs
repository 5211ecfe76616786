//! The use cases: price, buy, wait, collect. Ties Layer's API, the journal and the files together.
//!
//! Knows nothing of MCP, of the command line, and of HTTP: it never sees a status code. The work
//! on a job runs in a task of its own; a caller only waits for it, and may stop waiting.

mod access;
mod cancel;
mod choose;
mod collect;
mod consent;
mod error;
mod library;
mod lost;
mod place;
mod prepare;
mod purchase;
mod quote;
mod references;
mod report;
mod request;
mod spend;
mod view;
mod wait;
mod work;
mod workflows;

/// How fast starts may leave.
pub use crate::journal::Pace;
pub use cancel::Cancelled;
pub use consent::{Consent, Question};
pub use error::{ErrorReport, Money, RunError, SetupProblem};
pub use library::{Described, Detail, NewStyleWish, PromptWish};
pub use purchase::Wanted;
pub use quote::{QuoteReport, QuotedCall};
pub use references::Uploaded;
pub use report::{FileReport, JobReport, JobStatus, Purchase};
pub use request::{AssetRequest, Count, Limit, Pixels, Prompt, Seconds, Seed, WaitSeconds};
pub use spend::{BudgetStand, BudgetStands, Grouping, Ledger, LedgerRow, NO_FILE, Sums};
pub use view::AssetContent;
pub use wait::{Patience, Progress, ProgressSink, ProgressStep};
pub use workflows::WorkflowWish;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{Timestamp, Zoned};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::audit::{AuditTrail, Event};
use crate::files::OutputDir;
use crate::journal::{Job, JobFailure, JobFilter, JobId, JobState, Journal};
use crate::layer::{
    CreativeUnits, InferenceRequest, LayerClient, Model, Order, Workspace, WorkspaceId,
};
use crate::redact::Redactor;
use lost::Search;
use work::{Begin, Look, Stage};

/// The user's limits. No tool can change them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Above this price a purchase needs the user's consent.
    pub confirm_above: CreativeUnits,
    /// The most that one purchase may cost.
    pub run: Option<CreativeUnits>,
    /// The most that this process may spend.
    pub session: Option<CreativeUnits>,
    /// The most that may be spent in a day, by all processes of this user.
    pub day: Option<CreativeUnits>,
    /// The most that may be spent for one project, ever.
    pub project: Option<CreativeUnits>,
}

/// A way to Layer: a client with a token, and the workspace that pays.
pub struct Connection {
    /// The API.
    pub client: LayerClient,
    /// The workspace, when the settings name one.
    pub workspace: Option<WorkspaceId>,
    /// What a job is bound to: the API's origin, or the word for the sandbox, whose address
    /// changes with every process.
    pub origin: String,
    /// Whatever must live as long as the connection.
    pub keep: Option<Box<dyn std::any::Any + Send + Sync>>,
}

/// Makes the connection at the first call that needs one, because that may be slow: unlocking the
/// credentials, reading certificates.
pub trait Connect: Send + Sync {
    /// Connects. Called again after a failure, so that the user can mend it meanwhile.
    fn connect(&self) -> BoxFuture<'_, Result<Connection, SetupProblem>>;
}

/// What the use cases are built from.
pub struct RunsSettings {
    /// The way to Layer.
    pub connect: Box<dyn Connect>,
    /// The journal's file.
    pub journal: PathBuf,
    /// Where assets may be written, or why nowhere.
    pub output_dir: Result<PathBuf, SetupProblem>,
    /// The project that assets are made for; without one the output folder stands for it.
    pub project: Option<PathBuf>,
    /// Says which output folder and project a client's root stands for. `None` when the user or the
    /// working directory has settled that.
    pub roots: Option<PlaceOfRoot>,
    /// The user's limits.
    pub limits: Limits,
    /// How fast starts may leave.
    pub pace: Pace,
    /// How long the same request is answered with the same job.
    pub same_request: Duration,
    /// The clock, with the user's time zone.
    pub now: fn() -> Zoned,
    /// Takes secrets out of what is kept on disk.
    pub redactor: Redactor,
    /// Where purchases and files are written down.
    pub audit: AuditTrail,
}

/// From a client's root to the output folder and the project; `None` for a root that can be none.
pub type PlaceOfRoot = Box<dyn Fn(&Path) -> Option<(PathBuf, PathBuf)> + Send + Sync>;

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Runs {
    inner: Arc<Inner>,
}

struct Inner {
    settings: RunsSettings,
    /// Names this process in the journal.
    session: String,
    /// The output folder and project that a client named.
    rooted: OnceLock<(PathBuf, PathBuf)>,
    connection: OnceCell<Arc<Connection>>,
    journal: OnceCell<Journal>,
    catalogue: tokio::sync::Mutex<Option<access::Catalogue>>,
    workspace: OnceCell<WorkspaceId>,
    live: Mutex<HashMap<JobId, watch::Receiver<Stage>>>,
    /// Starts on their way, which the end of the process waits for.
    starts: TaskTracker,
    /// Files on their way to the disk, which clear up after themselves at the end of the process.
    writers: TaskTracker,
    /// Room for files on their way to Layer.
    room: references::Room,
    /// Starts that wait for their turn.
    pace: work::Starts,
    /// The leases of the jobs that are worked on here.
    keeper: work::Keeper,
    /// Many jobs share so many looks at Layer at a time.
    looks: Semaphore,
    /// What was looked after without being asked.
    collector: collect::Collector,
    ending: CancellationToken,
}

/// What stands for the API's origin when the API is the sandbox, whose address changes with every
/// process.
pub const SANDBOX_ORIGIN: &str = "sandbox";

/// So long an ending process waits for the answer to a start: without it nobody knows which run
/// was paid for. Clients that wait less end the process by force, and lose no more than they would
/// have.
const UNANSWERED: Duration = Duration::from_secs(10);

/// Looks at runs that are on their way at once: enough for a thousand jobs at the service's usual
/// interval of 10 seconds, and no burst.
const LOOKS: usize = 8;

/// Said of a job whose start was unknown for a while.
const FOUND_AGAIN: &str = "The answer to its start had got lost; Layer lists the run.";

/// The paying workspace and its neighbours.
#[derive(Clone, Debug)]
pub struct Account {
    /// The one that pays.
    pub workspace: Workspace,
    /// All that the token can reach.
    pub all: Vec<Workspace>,
    /// The API, or the word for the sandbox.
    pub origin: String,
}

impl Runs {
    /// Builds the use cases. Touches neither disk nor network.
    pub fn new(settings: RunsSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                session: format!("{:016x}", rand::random::<u64>()),
                rooted: OnceLock::new(),
                connection: OnceCell::new(),
                journal: OnceCell::new(),
                catalogue: tokio::sync::Mutex::new(None),
                workspace: OnceCell::new(),
                live: Mutex::new(HashMap::new()),
                starts: TaskTracker::new(),
                writers: TaskTracker::new(),
                room: references::Room::default(),
                pace: work::Starts::default(),
                keeper: work::Keeper::default(),
                looks: Semaphore::new(LOOKS),
                collector: collect::Collector::default(),
                ending: CancellationToken::new(),
            }),
        }
    }

    /// The folder that assets go to.
    pub fn output_dir(&self) -> Result<PathBuf, RunError> {
        match self.inner.rooted.get() {
            Some((folder, _)) => Ok(folder.clone()),
            None => self.inner.settings.output_dir.clone().map_err(RunError::Setup),
        }
    }

    /// The project that assets are made for, when it is more than the output folder.
    fn project(&self) -> Option<PathBuf> {
        match self.inner.rooted.get() {
            Some((_, project)) => Some(project.clone()),
            None => self.inner.settings.project.clone(),
        }
    }

    /// Whether a client's root would be taken for the output folder.
    pub fn wants_root(&self) -> bool {
        self.inner.settings.roots.is_some() && self.inner.rooted.get().is_none()
    }

    /// Takes a client's root for the output folder, when nothing else has settled that and the root
    /// can be one. The first that is taken stays. Looks at the disk.
    pub fn take_root(&self, root: &Path) -> bool {
        let place = self.inner.settings.roots.as_ref().and_then(|place_of| place_of(root));
        place.is_some_and(|place| {
            OutputDir::open_existing(&place.0).is_ok() && self.inner.rooted.set(place).is_ok()
        })
    }

    /// Writes an error that a tool answers with into the audit trail.
    pub fn note_error(&self, tool: &'static str, report: &ErrorReport) {
        let name = match report.code {
            "path_refused" => "security.path_refused",
            "budget" => "security.budget_stop",
            "confirmation_needed" => "security.confirmation_needed",
            _ => "error",
        };
        let event = Event::new(name)
            .with("op", tool)
            .with("code", report.code)
            .with("money", serde_json::to_value(report.money).unwrap_or_default())
            .with_some("job", report.job_id.as_ref().map(JobId::as_str))
            .with_some("request_id", report.request_id.clone());
        self.inner.settings.audit.note(event);
    }

    /// The user's limits.
    pub fn limits(&self) -> &Limits {
        &self.inner.settings.limits
    }

    /// Looks at a job, and waits for its files when they are not there yet.
    pub async fn job(
        &self,
        id: &JobId,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Result<JobReport, RunError> {
        let job = self.known_job(id).await?;
        let waited = self.attend(&job, patience, progress).await?;
        let said = if job.state == JobState::Unknown { FOUND_AGAIN } else { "" };
        let job = self.known_job(id).await?;
        let mut report = self.answer(job, waited, said).await?;
        // What was paid for is worth more than where that is written down.
        if let Err(error) = self.inner.journal().await {
            report.message.push_str(" But nothing more can be bought: ");
            report.message.push_str(&error.report().message);
        }
        Ok(report)
    }

    /// Jobs from the newest to the oldest, as the journal has them.
    pub async fn jobs(
        &self,
        status: Option<JobStatus>,
        search: Option<&str>,
        limit: u32,
        skip: u32,
    ) -> Result<Vec<Job>, RunError> {
        let journal = self.inner.journal().await?;
        let states = status.map_or([].as_slice(), JobStatus::states);
        let filter = JobFilter { states, search, limit, skip };
        journal.jobs(&filter).await.map_err(RunError::journal)
    }

    /// The workspace that pays, with its balance.
    pub async fn account(&self) -> Result<Account, RunError> {
        let connection = self.connection().await?;
        let all = connection.client.workspaces().await;
        let id = self.workspace(&connection).await?;
        let workspace = match all.iter().flatten().find(|workspace| workspace.id == id) {
            Some(workspace) => workspace.clone(),
            None => connection.client.workspace(&id).await.map_err(api)?,
        };
        let all = all.unwrap_or_else(|_| vec![workspace.clone()]);
        Ok(Account { workspace, all, origin: connection.origin.clone() })
    }

    /// The workspace's models, in Layer's order of recommendation.
    pub async fn models(&self) -> Result<Arc<[Model]>, RunError> {
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        self.catalogue(&connection, &workspace).await
    }

    /// What one picture, sound or model of each of these would cost, a few at a time; `None`
    /// where the service won't say.
    pub async fn prices(&self, models: &[Model]) -> Result<Vec<Option<CreativeUnits>>, RunError> {
        use futures::StreamExt;
        let connection = self.connection().await?;
        let workspace = self.workspace(&connection).await?;
        let (connection, workspace) = (&connection, &workspace);
        let ask = |order: Order| async move {
            let price = connection.client.estimate(workspace, &order).await;
            price.ok().map(|price| price.estimated)
        };
        let plain = |model: &Model| InferenceRequest::plain(&model.id, "price check").into();
        let requests: Vec<Order> = models.iter().map(plain).collect();
        Ok(futures::stream::iter(requests).map(ask).buffered(4).collect().await)
    }

    /// Ends the work of this process: a start that was sent gets the time to be answered and written
    /// down, files that are not whole are removed within `grace`, and everything else is left to
    /// whoever comes next. No paid run is stopped.
    pub async fn shut_down(&self, grace: Duration) {
        self.inner.ending.cancel();
        self.inner.starts.close();
        self.inner.writers.close();
        let starts = tokio::time::timeout(grace.max(UNANSWERED), self.inner.starts.wait());
        let writers = tokio::time::timeout(grace, self.inner.writers.wait());
        let _ = tokio::join!(starts, writers);
        if let Some(journal) = self.inner.journal.get() {
            let failure = JobFailure { message: work::ENDED.to_owned(), ..JobFailure::default() };
            let now = self.inner.now();
            let _ = journal.never_sent_of(&self.inner.session, &failure, now).await;
            let _ = journal.release_all(&self.inner.session).await;
            let _ = tokio::time::timeout(Duration::from_millis(200), journal.close()).await;
        }
    }

    fn is_at_work(&self, id: &JobId) -> bool {
        self.live().get(id).is_some_and(|stage| !matches!(*stage.borrow(), Stage::Over(_)))
    }

    /// Waits for a job, taking up the work on it when nobody in this process does it.
    async fn attend(
        &self,
        job: &Job,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Result<Stage, RunError> {
        if job.state == JobState::Unknown {
            return match self.search(job).await? {
                Search::Adopted(job) => Box::pin(self.attend(&job, patience, progress)).await,
                search => Ok(Stage::Over(Err(lost::still_unknown(job, &search)))),
            };
        }
        if let Some(error) = work::bad_end(job) {
            return Ok(Stage::Over(Err(error)));
        }
        let at_work = self.live().get(job.id()).cloned();
        let stage = match at_work {
            Some(stage) if !matches!(*stage.borrow(), Stage::Over(_)) => stage.clone(),
            _ => {
                let connection = self.connection_of(job).await?;
                self.take_up_work(connection, job.id())
            }
        };
        let waited = self.wait(job, stage, patience, progress).await;
        if let Stage::Over(Err(RunError::StartUnanswered { .. })) = waited {
            // The process that was sending the start is gone; what it sent may be at Layer.
            let job = self.known_job(job.id()).await?;
            if job.state == JobState::Unknown {
                return Box::pin(self.attend(&job, patience, progress)).await;
            }
        }
        Ok(waited)
    }

    /// Goes on with a job that was started before, unless this process works on it already.
    fn take_up_work(&self, connection: Arc<Connection>, id: &JobId) -> watch::Receiver<Stage> {
        let (sender, stage) = watch::channel(Stage::Starting);
        {
            let mut live = self.live();
            live.retain(|_, stage| stage.has_changed().is_ok());
            if let Some(other) = live.get(id)
                && !matches!(*other.borrow(), Stage::Over(_))
            {
                return other.clone();
            }
            live.insert(id.clone(), stage.clone());
        }
        self.set_going(connection, id.clone(), Begin::TakeUp, sender);
        stage
    }

    fn set_going(
        &self,
        connection: Arc<Connection>,
        id: JobId,
        begin: Begin,
        stage: watch::Sender<Stage>,
    ) {
        tokio::spawn(work::work(self.inner.clone(), connection, id, begin, stage));
    }

    async fn answer(&self, job: Job, waited: Stage, more: &str) -> Result<JobReport, RunError> {
        let message = match waited {
            Stage::Over(Err(error)) => return Err(error),
            Stage::Over(Ok(_)) => JobReport::saved_sentence(&job),
            Stage::Queued | Stage::QueuedElsewhere => self.place_in_queue(job.id()).await,
            Stage::Starting => "Layer has not answered yet.".to_owned(),
            Stage::Rendering(look) => {
                let time = self.time_of(&job).await;
                match look {
                    Look { warning: Some(warning), .. } => {
                        format!("The run was started. {warning}")
                    }
                    Look { steps: Some(steps), .. } => {
                        format!("Layer is working on it: {time} ({steps}).")
                    }
                    Look { .. } => format!("Layer is working on it: {time}."),
                }
            }
            Stage::Fetching(..) => "It is done; its files are being fetched.".to_owned(),
        };
        Ok(JobReport::new(&job, format!("{message} {more}").trim_end().to_owned()))
    }

    /// A job as the journal has it.
    ///
    /// # Errors
    /// [`RunError::JobUnknown`]; [`RunError::Journal`] when the journal can't be read.
    pub async fn known_job(&self, id: &JobId) -> Result<Job, RunError> {
        let journal = self.inner.records().await?;
        let job = journal.job(id).await.map_err(RunError::journal)?;
        job.ok_or_else(|| RunError::JobUnknown { asked: id.to_string() })
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, watch::Receiver<Stage>>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The journal, if it lies where it was opened: what is gone is no base for a purchase, nor
    /// for a list of them.
    async fn journal(&self) -> Result<&Journal, RunError> {
        self.records().await?.in_place().map_err(RunError::journal)
    }

    /// The journal, also when its file was taken away since it was opened: this process still has
    /// it, and brings to an end what it paid for.
    async fn records(&self) -> Result<&Journal, RunError> {
        self.journal
            .get_or_try_init(|| Journal::open(&self.settings.journal))
            .await
            .map_err(RunError::journal)
    }

    /// To be held while files are written: the end of the process waits for it a while. `None` when
    /// the end has begun; then nothing is to be begun.
    fn writing(&self) -> Option<TaskTrackerToken> {
        let token = self.writers.token();
        (!self.ending.is_cancelled()).then_some(token)
    }

    fn now(&self) -> Timestamp {
        (self.settings.now)().timestamp()
    }
}

fn api(source: crate::layer::ApiError) -> RunError {
    RunError::Layer { source }
}
