//! The use cases: price, buy, wait, collect. Ties Layer's API, the journal and the files together.
//!
//! Knows nothing of MCP, of the command line, and of HTTP: it never sees a status code. The work
//! on a job runs in a task of its own; a caller only waits for it, and may stop waiting.

mod access;
mod choose;
mod error;
mod place;
mod prepare;
mod references;
mod report;
mod request;
mod view;
mod wait;
mod work;

pub use error::{ErrorReport, Money, RunError, SetupProblem};
pub use references::Uploaded;
pub use report::{FileReport, JobReport, JobStatus};
pub use request::{AssetRequest, Count, Limit, Pixels, Prompt, Seconds, Seed, WaitSeconds};
pub use wait::{Patience, Progress, ProgressSink};

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp, Zoned};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{AuditTrail, Event};
use crate::journal::{Budgets, Job, JobId, JobState, Journal, NewJob, Quote, Reservation};
use crate::layer::{
    CancelOutcome, CreativeUnits, InferenceRequest, LayerClient, Model, Price, Workspace,
    WorkspaceId,
};
use crate::redact::Redactor;
use place::{Place, off_the_reactor};
use prepare::Prepared;
use work::{Begin, Stage};

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
    /// The user's limits.
    pub limits: Limits,
    /// The clock, with the user's time zone.
    pub now: fn() -> Zoned,
    /// Takes secrets out of what is kept on disk.
    pub redactor: Redactor,
    /// Where purchases and files are written down.
    pub audit: AuditTrail,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Runs {
    inner: Arc<Inner>,
}

struct Inner {
    settings: RunsSettings,
    /// Names this process in the journal.
    session: String,
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
    ending: CancellationToken,
}

/// What stands for the API's origin when the API is the sandbox, whose address changes with every
/// process.
pub const SANDBOX_ORIGIN: &str = "sandbox";

/// How long the same request is answered with the same job.
const SAME_REQUEST: SignedDuration = SignedDuration::from_hours(24);
/// Layer's estimate takes no files (Layer REST reference, estimate).
const UNPRICED: &str = "Layer's estimate can't include references; the charge may be higher.";
/// How long a quoted price holds.
const QUOTE: SignedDuration = SignedDuration::from_mins(15);

/// A price with the right to hold us to it.
#[derive(Clone, Debug)]
pub struct QuoteReport {
    /// Give it to `create_asset`.
    pub id: String,
    /// The price.
    pub price: Price,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// True when only the user can allow it.
    pub needs_confirmation: bool,
    /// The model, and why it.
    pub model: Model,
    /// Half a sentence.
    pub reason: String,
    /// What the price does not include, as a sentence.
    pub unpriced: Option<&'static str>,
}

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
                connection: OnceCell::new(),
                journal: OnceCell::new(),
                catalogue: tokio::sync::Mutex::new(None),
                workspace: OnceCell::new(),
                live: Mutex::new(HashMap::new()),
                starts: TaskTracker::new(),
                writers: TaskTracker::new(),
                room: references::Room::default(),
                ending: CancellationToken::new(),
            }),
        }
    }

    /// The folder that assets go to.
    pub fn output_dir(&self) -> Result<PathBuf, RunError> {
        self.inner.settings.output_dir.clone().map_err(RunError::Setup)
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

    /// Names a price and holds to it for a quarter of an hour. Costs nothing.
    pub async fn quote(&self, request: &AssetRequest) -> Result<QuoteReport, RunError> {
        let prepared = self.prepare(request).await?;
        let price = self.price(&prepared).await?;
        let quote = Quote {
            id: format!("quote_{:016x}", rand::random::<u64>()),
            fingerprint: prepared.fingerprint,
            estimated: price.estimated,
            expires_at: self.inner.now() + QUOTE,
        };
        self.inner.journal().await?.keep_quote(&quote).await.map_err(RunError::journal)?;
        Ok(QuoteReport {
            needs_confirmation: price.estimated > self.inner.settings.limits.confirm_above,
            id: quote.id,
            price,
            expires_at: quote.expires_at,
            model: prepared.choice.model,
            reason: prepared.choice.reason,
            unpriced: (!prepared.references.is_empty()).then_some(UNPRICED),
        })
    }

    /// Buys an asset, or finds the job of the same request, and waits for its files.
    pub async fn create(
        &self,
        request: &AssetRequest,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Result<JobReport, RunError> {
        let began = Instant::now();
        let save_to = request.save_to.as_ref().map(|wish| wish.given().to_owned());
        let count = usize::from(request.count.get());
        let prompt = request.prompt.as_str().to_owned();
        // A place that can't be used is the cheapest thing to find out.
        let place = Place::open(self.output_dir()?, save_to.clone(), prompt, count).await?;
        let deadline = patience.before_a_start();
        let mut prepared = within(deadline, self.prepare(request)).await?;
        let since = (!request.variation).then(|| self.inner.now() - SAME_REQUEST);
        let journal = self.inner.journal().await?;
        if let Some(since) = since {
            let same = journal.same_request(&prepared.fingerprint, since).await;
            if let Some(job) = same.map_err(RunError::journal)? {
                return self.take_up(job, &place, save_to, patience, progress).await;
            }
        }
        place.check(prepared.choice.modality).await?;
        let price = within(deadline, self.price(&prepared)).await?;
        self.allow(request, &prepared, price).await?;
        within(deadline, self.bring_all(&mut prepared)).await?;
        let new = self.new_job(&prepared, price, save_to.clone(), &place);
        // What can't be recorded is not bought.
        let event = Event::new("purchase.request")
            .with("job", new.id.as_str())
            .with("model", new.request.model.as_str())
            .with("cu", price.estimated.to_string());
        self.inner.settings.audit.record(event).map_err(RunError::audit)?;
        let id = new.id.clone();
        let (reserved, stage) = self.reserve_and_start(prepared.connection, new, since).await?;
        match reserved {
            Reservation::New => {}
            Reservation::Existing(job) => {
                return self.take_up(*job, &place, save_to, patience, progress).await;
            }
            Reservation::OverBudget { which, limit, spent } => {
                return Err(RunError::Budget { which, price: price.estimated, spent, limit });
            }
        }
        let waited = self.wait(&id, stage, patience.since(began), progress).await;
        let job = self.known_job(&id).await?;
        let chosen = format!("Model `{}` ({}).", prepared.choice.model.id, prepared.choice.reason);
        let chosen = match prepared.references.is_empty() {
            true => chosen,
            false => format!("{chosen} {UNPRICED}"),
        };
        self.answer(job, waited, &chosen)
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
        let job = self.known_job(id).await?;
        self.answer(job, waited, "")
    }

    /// Jobs from the newest to the oldest, as the journal has them.
    pub async fn jobs(
        &self,
        status: Option<JobStatus>,
        limit: u32,
        skip: u32,
    ) -> Result<Vec<Job>, RunError> {
        let journal = self.inner.journal().await?;
        journal.jobs(status.map(JobStatus::states), limit, skip).await.map_err(RunError::journal)
    }

    /// Asks Layer to stop a run. The outcome says whether it can.
    pub async fn cancel(&self, id: &JobId) -> Result<(Job, Option<CancelOutcome>), RunError> {
        let job = self.known_job(id).await?;
        let (JobState::Running, Some(inference)) = (job.state, &job.inference) else {
            return Ok((job, None));
        };
        let connection = self.connection_of(&job).await?;
        let outcome = connection
            .client
            .cancel(&job.new.workspace, inference)
            .await
            .map_err(|source| RunError::Watching { job: id.clone(), source })?;
        if outcome == CancelOutcome::Accepted {
            // One look, so that the answer says what the service made of it.
            let quiet = |_| {};
            let soon = Patience::UpTo(Duration::from_secs(5));
            let _ = self.attend(&job, soon, &quiet).await;
        }
        Ok((self.known_job(id).await?, Some(outcome)))
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
        let ask = |request: InferenceRequest| async move {
            let price = connection.client.estimate(workspace, &request).await;
            price.ok().map(|price| price.estimated)
        };
        let requests: Vec<InferenceRequest> =
            models.iter().map(|model| InferenceRequest::plain(&model.id, "price check")).collect();
        Ok(futures::stream::iter(requests).map(ask).buffered(4).collect().await)
    }

    /// Ends the work of this process: starts on their way get until `grace` to be recorded, files
    /// that are not whole are removed, and everything else is left to whoever comes next. No paid
    /// run is stopped.
    pub async fn shut_down(&self, grace: Duration) {
        self.inner.ending.cancel();
        self.inner.starts.close();
        self.inner.writers.close();
        let ended = async { tokio::join!(self.inner.starts.wait(), self.inner.writers.wait()) };
        let _ = tokio::time::timeout(grace, ended).await;
        if let Some(journal) = self.inner.journal.get() {
            let _ = journal.release_all(&self.inner.session).await;
            let _ = tokio::time::timeout(Duration::from_millis(200), journal.close()).await;
        }
    }

    /// May this be bought? Everything but the sums, which the journal checks as it writes.
    async fn allow(
        &self,
        request: &AssetRequest,
        prepared: &Prepared,
        price: Price,
    ) -> Result<(), RunError> {
        let limits = &self.inner.settings.limits;
        if let Some(id) = &request.quote_id {
            let void = |why: &str| Err(RunError::QuoteVoid { why: why.to_owned() });
            let quote = self.inner.journal().await?.quote(id).await.map_err(RunError::journal)?;
            match quote {
                None => return void("there is none with this id"),
                Some(quote) if quote.fingerprint != prepared.fingerprint => {
                    return void("it was for a request with other arguments");
                }
                Some(quote) if quote.expires_at < self.inner.now() => {
                    return void("it has run out");
                }
                Some(quote) if quote.estimated < price.estimated => {
                    return void(&format!(
                        "the price rose from {} to {}",
                        quote.estimated, price.estimated
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(limit) = limits.run
            && price.estimated > limit
        {
            return Err(RunError::Budget {
                which: "run",
                price: price.estimated,
                spent: CreativeUnits::ZERO,
                limit,
            });
        }
        if price.estimated > limits.confirm_above {
            return Err(RunError::ConfirmationNeeded {
                price: price.estimated,
                threshold: limits.confirm_above,
            });
        }
        if !price.sufficient {
            return Err(RunError::Insufficient {
                price: price.estimated,
                available: price.available,
            });
        }
        Ok(())
    }

    fn new_job(
        &self,
        prepared: &Prepared,
        price: Price,
        save_to: Option<String>,
        place: &Place,
    ) -> NewJob {
        // A seed of our own makes the run recognisable at Layer should its answer get lost.
        let seed = prepared.inference.seed.unwrap_or_else(|| rand::random::<u32>() >> 1);
        NewJob {
            id: JobId::random(),
            origin: prepared.connection.origin.clone(),
            workspace: prepared.workspace.clone(),
            fingerprint: prepared.fingerprint.clone(),
            request: InferenceRequest { seed: Some(seed), ..prepared.inference.clone() },
            model_name: prepared.choice.model.name.clone(),
            modality: prepared.choice.modality,
            estimated: price.estimated,
            save_to,
            output_dir: place.folder().to_owned(),
            session: self.inner.session.clone(),
        }
    }

    fn budgets(&self) -> Budgets {
        let limits = &self.inner.settings.limits;
        let now = (self.inner.settings.now)();
        let day_began = now.start_of_day().map_or(now.timestamp(), |began| began.timestamp());
        Budgets { session: limits.session, day: limits.day, day_began }
    }

    /// The same request was made before: wait for its job, and bring its files to where they are
    /// wanted now.
    async fn take_up(
        &self,
        job: Job,
        place: &Place,
        save_to: Option<String>,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Result<JobReport, RunError> {
        let wish = save_to.filter(|wish| {
            Some(wish) != job.new.save_to.as_ref() || job.new.output_dir != place.folder()
        });
        let collectable = matches!(job.state, JobState::Running | JobState::Finished);
        if let Some(wish) = &wish
            && collectable
            && job.files.is_empty()
            && !self.is_at_work(job.id())
        {
            // Nothing lies at the old place yet, and it may be one that can't be used any more.
            let journal = self.inner.journal().await?;
            let written = journal.redirect(job.id(), wish, place.folder()).await;
            written.map_err(RunError::journal)?;
        }
        let waited = self.attend(&job, patience, progress).await?;
        let mut job = self.known_job(job.id()).await?;
        let elsewhere =
            wish.is_some() && (wish != job.new.save_to || job.new.output_dir != place.folder());
        if elsewhere && job.state == JobState::Complete && !matches!(waited, Stage::Over(Err(_))) {
            let (place, files) = (place.clone(), job.files.clone());
            let folder = job.new.output_dir.clone();
            job.files = off_the_reactor(move || {
                let numbered = files.iter().enumerate();
                numbered.map(|(index, file)| place.copy(&folder, file, index)).collect()
            })
            .await?;
        }
        self.answer(
            job,
            waited,
            "The same request was made before and is not paid for again (`variation: true` buys \
             a new one).",
        )
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
        Ok(self.wait(job.id(), stage, patience, progress).await)
    }

    /// Writes the entry of a new job down and sends its start, in one piece: whoever goes away in
    /// between leaves no entry that nobody works on, and another call of this process that finds
    /// the entry waits for this work instead of taking it for abandoned.
    async fn reserve_and_start(
        &self,
        connection: Arc<Connection>,
        new: NewJob,
        since: Option<Timestamp>,
    ) -> Result<(Reservation, watch::Receiver<Stage>), RunError> {
        let (sender, stage) = watch::channel(Stage::Starting);
        let (runs, id, begun) = (self.clone(), new.id.clone(), stage.clone());
        let piece = self.inner.starts.spawn(async move {
            let journal = runs.inner.journal().await?;
            {
                let mut live = runs.live();
                live.retain(|_, stage| stage.has_changed().is_ok());
                live.insert(new.id.clone(), begun.clone());
            }
            let (budgets, now) = (runs.budgets(), runs.inner.now());
            let reserved = journal.reserve(&new, since, &budgets, now).await;
            let reserved = reserved.map_err(RunError::journal)?;
            if let Reservation::New = reserved {
                runs.set_going(connection, new.id, Begin::Start, sender);
                let mut begun = begun;
                // The end of the process waits until the start is out and written down.
                runs.inner.starts.spawn(async move {
                    let _ = begun.wait_for(|stage| !matches!(stage, Stage::Starting)).await;
                });
            }
            Ok(reserved)
        });
        let reserved = piece.await.unwrap_or(Err(RunError::Internal { job: id }))?;
        Ok((reserved, stage))
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

    fn answer(&self, job: Job, waited: Stage, prefix: &str) -> Result<JobReport, RunError> {
        let message = match waited {
            Stage::Over(Err(error)) => return Err(error),
            Stage::Over(Ok(())) => JobReport::saved_sentence(&job),
            Stage::Starting => "Layer has not answered yet.".to_owned(),
            Stage::Rendering(None) => "Layer is working on it.".to_owned(),
            Stage::Rendering(Some(warning)) => format!("The run was started. {warning}"),
            Stage::Fetching(..) => "It is done; its files are being fetched.".to_owned(),
        };
        Ok(JobReport::new(&job, format!("{message} {prefix}").trim_end().to_owned()))
    }

    async fn known_job(&self, id: &JobId) -> Result<Job, RunError> {
        let journal = self.inner.journal().await?;
        let job = journal.job(id).await.map_err(RunError::journal)?;
        job.ok_or_else(|| RunError::JobUnknown { asked: id.to_string() })
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, watch::Receiver<Stage>>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    async fn journal(&self) -> Result<&Journal, RunError> {
        self.journal
            .get_or_try_init(|| Journal::open(&self.settings.journal))
            .await
            .map_err(RunError::journal)
    }

    fn now(&self) -> Timestamp {
        (self.settings.now)().timestamp()
    }
}

/// What must be known before a purchase is found out in time or not at all: a start that comes
/// after its caller has given up would be a surprise.
async fn within<T>(
    deadline: tokio::time::Instant,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(RunError::TooSlow))
}

fn api(source: crate::layer::ApiError) -> RunError {
    RunError::Layer { source }
}
