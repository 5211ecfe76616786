//! The work on one job, apart from whoever waits for it: send the start once, look at the run
//! until it ends, fetch and save its files. A caller that goes away stops nothing here.

mod fetch;
mod lease;
mod turn;

pub(super) use lease::Keeper;
pub(super) use turn::{ENDED, Starts};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::RunError;
use super::place::adjusted;
use super::{Connection, Inner};
use crate::audit::Event;
use crate::drill::{self, Step};
use crate::journal::{Job, JobFailure, JobId, JobState};
use crate::layer::{
    ApiError, ApiErrorKind, Completed, Failure, FileId, Inference, InferenceId, Modality, Order,
    RunStatus, Started, Steps,
};
use lease::Lease;

/// Where the work on a job is, for those who wait.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// The start waits for its turn.
    Queued,
    /// So it does in another process.
    QueuedElsewhere,
    /// The start is being sent, or the run is being looked up for the first time.
    Starting,
    /// Layer works on it.
    Rendering(Look),
    /// Files are being fetched: this one of so many.
    Fetching(usize, usize),
    /// The work is over; the journal has the result unless it is an error.
    Over(Result<Saved, RunError>),
}

/// How the files of a job came to lie on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// They were fetched.
    Now,
    /// They were there.
    Before,
}

/// What the last look at a run told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// How far a workflow has come.
    pub(super) steps: Option<Steps>,
    /// What is amiss.
    pub(super) warning: Option<String>,
}

/// What to begin with.
pub(super) enum Begin {
    /// The entry is new and held by us: send the start.
    Start,
    /// The start lies behind: take it up wherever it is.
    TakeUp,
}

/// Sends an answer for whoever waits, whatever happens to the work.
pub(super) async fn work(
    inner: Arc<Inner>,
    connection: Arc<Connection>,
    id: JobId,
    begin: Begin,
    stage: watch::Sender<Stage>,
) {
    let worker = Worker { inner, connection, id, stage, unwritten: Arc::default() };
    let result = worker.run(begin).await;
    if let Err(error) = &result {
        tracing::warn!(job = %worker.id, code = error.report().code, "the work on a job ended early");
    }
    worker.stage.send_replace(Stage::Over(result));
}

struct Worker {
    inner: Arc<Inner>,
    connection: Arc<Connection>,
    id: JobId,
    stage: watch::Sender<Stage>,
    unwritten: Arc<AtomicBool>,
}

const TRIES: u32 = 3;

impl Worker {
    async fn run(&self, begin: Begin) -> Result<Saved, RunError> {
        let lease = match begin {
            Begin::Start => Lease::keep(&self.inner, &self.id),
            Begin::TakeUp => match self.take_lease().await? {
                Some(lease) => lease,
                // The process that held it brought it to its end.
                None => return self.of_state(self.job().await?).map(|_| Saved::Before),
            },
        };
        let result = self.held(begin).await;
        lease.give_back().await;
        result
    }

    async fn held(&self, begin: Begin) -> Result<Saved, RunError> {
        let mut job = self.job().await?;
        let mut first_look = Duration::ZERO;
        let mut unrecorded = None;
        let mut began = None;
        if let Begin::Start = begin {
            let sending = self.take_turn(&job).await?;
            drill::reach(Step::BeforeSend);
            let started = self.start(&job).await?;
            drill::reach(Step::AfterAnswer);
            began = Some(Instant::now());
            job.state = JobState::Running;
            job.inference = Some(started.id.clone());
            job.adjusted = said_at_start(&job, &started);
            unrecorded = self.record_started(&job, &started).await;
            drop(sending);
            drill::reach(Step::AfterRecord);
            self.rendering(None, self.unwritten().then(|| not_written(&started.id)));
            first_look = started.poll_after;
        } else if job.is_queued() {
            return Err(self.close_unsent("the process that was to send it ended before").await);
        } else if job.state == JobState::Starting {
            // We could take the lease, so whoever was to send the start is dead. Whether it
            // was sent nobody knows.
            let failure = JobFailure {
                message: "the process that was sending the start ended before it had an answer"
                    .to_owned(),
                ..JobFailure::default()
            };
            self.fail(JobState::Unknown, failure.clone(), None).await;
            return Err(RunError::StartUnanswered { job: self.id.clone(), failure: Some(failure) });
        }
        let job = self.of_state(job)?;
        let Some(inference) = job.inference.clone() else {
            return Err(RunError::Internal { job: self.id.clone() });
        };
        if job.state == JobState::Complete && self.files_are_there(&job).await {
            return Ok(Saved::Before);
        }
        let done = self.watch(&job, &inference, first_look, began).await?;
        let files = self.fetch_all(&job, &inference, done.outputs).await?;
        if let Some(recorder) = unrecorded {
            recorder.abort();
        }
        drill::reach(Step::BeforeClose);
        let mut adjusted = adjusted(&job, &files);
        if let Some(charged) = done.charged
            && charged > job.expected()
        {
            adjusted.push(format!("price: {} were expected, {charged} charged", job.expected()));
        }
        let mut tried = 0;
        loop {
            tried += 1;
            let journal = self.inner.records().await?;
            let (now, charged) = (self.inner.now(), done.charged);
            let written = journal
                .record_complete(&self.id, &inference, charged, &files, &adjusted, now)
                .await;
            match written {
                Ok(()) => return Ok(Saved::Now),
                Err(error) if tried >= TRIES => {
                    return Err(RunError::Unrecorded {
                        job: self.id.clone(),
                        inference,
                        source: Arc::new(error),
                        saved: files,
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// Sends the start: once, here, and nowhere else.
    async fn start(&self, job: &Job) -> Result<Started, RunError> {
        let sent = self.connection.client.start(&job.new.workspace, &job.new.order).await;
        match sent {
            Ok(started) => {
                // In the log first: should the journal fail now, a person can still find the run.
                tracing::info!(job = %self.id, inference = %started.id, "run started");
                let event = self.event("purchase.started");
                self.note(event.with("inference", started.id.as_str()));
                Ok(started)
            }
            Err(error) => {
                let failure = failure_of(&error);
                let event = self.event(if error.may_have_happened() {
                    "purchase.unanswered"
                } else {
                    "purchase.refused"
                });
                let request_id = failure.request_id.clone();
                self.note(event.with_some("request_id", request_id));
                if error.may_have_happened() {
                    self.fail(JobState::Unknown, failure.clone(), None).await;
                    let job = self.id.clone();
                    Err(RunError::StartUnanswered { job, failure: Some(failure) })
                } else {
                    if error.kind == ApiErrorKind::RateLimited {
                        self.inner.pace.refused_for_rate(&error);
                    }
                    self.forget_references(job, error.kind).await;
                    self.fail(JobState::Refused, failure, None).await;
                    Err(RunError::StartRefused { job: self.id.clone(), source: error })
                }
            }
        }
    }

    /// A file may be gone at Layer: then the next try sends it again.
    async fn forget_references(&self, job: &Job, kind: ApiErrorKind) {
        let of_files = matches!(kind, ApiErrorKind::InvalidRequest | ApiErrorKind::NotFound);
        let files = job.new.order.files();
        let files: Vec<&FileId> = files.iter().collect();
        if of_files
            && !files.is_empty()
            && let Ok(journal) = self.inner.records().await
            && let Err(error) = journal.forget_uploads(&files).await
        {
            tracing::warn!(%error, "what was uploaded can't be forgotten");
        }
    }

    /// Writes down Layer's id, which is paid for. Where that takes long, the work goes on with the
    /// id in memory, and the attempts go on beside it.
    async fn record_started(&self, job: &Job, started: &Started) -> Option<JoinHandle<()>> {
        let (inner, id, unwritten) = (self.inner.clone(), self.id.clone(), self.unwritten.clone());
        unwritten.store(true, Ordering::Relaxed);
        let (started, adjusted) = (started.clone(), job.adjusted.clone());
        // Tracked like a start on its way: the end of the process waits for it a while.
        let mut recorder = self.inner.starts.spawn(async move {
            loop {
                if let Ok(journal) = inner.records().await {
                    let (inference, now) = (&started.id, inner.now());
                    let named = started.estimated;
                    match journal.record_started(&id, inference, named, &adjusted, now).await {
                        Ok(()) => return unwritten.store(false, Ordering::Relaxed),
                        Err(error) => tracing::error!(
                            job = %id, inference = %started.id, %error,
                            "a run that was started can't be written down yet"
                        ),
                    }
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        match tokio::time::timeout(Duration::from_secs(2), &mut recorder).await {
            Ok(_) => None,
            Err(_) => Some(recorder),
        }
    }

    async fn look(&self, job: &Job, inference: &InferenceId) -> Result<Inference, ApiError> {
        // Many jobs share a few looks at a time.
        let _turn = self.inner.looks.acquire().await;
        self.connection.client.run(&job.new.workspace, &job.new.order, inference).await
    }

    /// Looks at the run until it ends, at the service's own pace, at most for as long as runs of
    /// its kind are known to take.
    async fn watch(
        &self,
        job: &Job,
        inference: &InferenceId,
        first_look: Duration,
        began: Option<Instant>,
    ) -> Result<Completed, RunError> {
        let deadline = Instant::now() + longest_run(job);
        let mut pause = first_look;
        loop {
            tokio::time::sleep(later(pause)).await;
            drill::reach(Step::Waiting);
            let looked = self.look(job, inference).await;
            pause = match looked {
                Ok(look) => match look.status {
                    RunStatus::Running => {
                        let warning = self.unwritten().then(|| not_written(inference));
                        self.rendering(look.steps, warning);
                        look.poll_after
                    }
                    RunStatus::Complete(done) => {
                        let cu = done.charged.map(|charged| charged.to_string());
                        self.note(self.event("purchase.complete").with_some("cu", cu));
                        let journal = self.inner.records().await?;
                        let now = self.inner.now();
                        let took = began.map(|began| began.elapsed());
                        let (outputs, charged) = (&done.outputs, done.charged);
                        let written = journal
                            .record_finished(&self.id, inference, outputs, charged, took, now)
                            .await;
                        if let Err(error) = written {
                            tracing::warn!(job = %self.id, %error, "written again with the files");
                        }
                        if done.outputs.is_empty() {
                            return Err(RunError::NoFiles { job: self.id.clone() });
                        }
                        return Ok(done);
                    }
                    RunStatus::Failed(failed) => return Err(self.run_failed(failed).await),
                    RunStatus::Cancelled(charged) => {
                        let cu = charged.map(|charged| charged.to_string());
                        self.note(self.event("purchase.cancelled").with_some("cu", cu));
                        self.fail(JobState::Cancelled, JobFailure::default(), charged).await;
                        let job = self.id.clone();
                        return Err(RunError::RunCancelled { job, unsent: false });
                    }
                },
                // The client has repeated it already; a longer trouble is waited out.
                Err(error) if is_passing(&error) => {
                    let said = self.inner.settings.redactor.redact(&error.message).into_owned();
                    let warning = format!("Its state can't be read at the moment ({said}).");
                    self.rendering(None, Some(warning));
                    let pause = error.retry_after.unwrap_or(Duration::from_secs(5));
                    pause.clamp(Duration::from_secs(1), Duration::from_secs(60))
                }
                Err(source) => return Err(RunError::Watching { job: self.id.clone(), source }),
            };
            if Instant::now() + pause > deadline {
                return Err(RunError::Timeout { job: self.id.clone() });
            }
        }
    }

    async fn run_failed(&self, failed: Failure) -> RunError {
        let cu = failed.charged.map(|charged| charged.to_string());
        self.note(self.event("purchase.failed").with_some("cu", cu));
        let failure = JobFailure {
            message: failed.message.unwrap_or_default(),
            upstream_code: failed.code,
            ..JobFailure::default()
        };
        self.fail(JobState::Failed, failure.clone(), failed.charged).await;
        RunError::RunFailed { job: self.id.clone(), failure, charged: failed.charged }
    }

    async fn take_lease(&self) -> Result<Option<Lease>, RunError> {
        let deadline = Instant::now() + LONGEST_RUN;
        let mut pause = Duration::from_millis(50);
        loop {
            // The end of the process gives all leases back, and none must come after that.
            let holding = self.inner.writing();
            if holding.is_none() {
                return Err(RunError::Timeout { job: self.id.clone() });
            }
            let held = self
                .inner
                .records()
                .await?
                .hold(&self.id, &self.inner.session, self.inner.now())
                .await
                .map_err(|error| RunError::journal(error).of_job(&self.id))?;
            drop(holding);
            if held {
                return Ok(Some(Lease::keep(&self.inner, &self.id)));
            }
            let job = self.job().await?;
            match job.state {
                JobState::Starting if job.is_queued() => {
                    self.stage.send_replace(Stage::QueuedElsewhere);
                }
                JobState::Starting => {}
                JobState::Running | JobState::Finished => {
                    self.rendering(None, None);
                }
                _ => return Ok(None),
            }
            if Instant::now() > deadline {
                return Err(RunError::Timeout { job: self.id.clone() });
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(1));
        }
    }

    /// Those who wait are woken only when it is news.
    fn rendering(&self, steps: Option<Steps>, warning: Option<String>) {
        let look = Look { steps, warning };
        self.stage.send_if_modified(|stage| {
            let news = !matches!(stage, Stage::Rendering(told) if *told == look);
            if news {
                *stage = Stage::Rendering(look);
            }
            news
        });
    }

    /// An event about this job.
    fn event(&self, name: &'static str) -> Event {
        Event::new(name).with("job", self.id.as_str())
    }

    fn note(&self, event: Event) {
        self.inner.settings.audit.note(event);
    }

    /// True while Layer's id of the run stands in memory only.
    fn unwritten(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// What is kept on disk holds no secret, whatever a service echoes.
    fn redacted(&self, failure: JobFailure) -> JobFailure {
        let clean = |text: String| self.inner.settings.redactor.redact(&text).into_owned();
        JobFailure {
            message: clean(failure.message),
            upstream_code: failure.upstream_code.map(clean),
            request_id: failure.request_id.map(clean),
            ..failure
        }
    }

    async fn job(&self) -> Result<Job, RunError> {
        let found = self
            .inner
            .records()
            .await?
            .job(&self.id)
            .await
            .map_err(|error| RunError::journal(error).of_job(&self.id))?;
        found.ok_or_else(|| RunError::JobUnknown { asked: self.id.to_string() })
    }

    /// The job, unless it came to a bad end.
    fn of_state(&self, job: Job) -> Result<Job, RunError> {
        bad_end(&job).map_or(Ok(job), Err)
    }

    /// Writes down a bad end. What happened is worth more to the caller than that it could not be
    /// written: the entry then stays as it was, and is looked up again or counts as unknown.
    async fn fail(
        &self,
        state: JobState,
        failure: JobFailure,
        charged: Option<crate::layer::CreativeUnits>,
    ) {
        let Ok(journal) = self.inner.records().await else { return };
        let (failure, now) = (self.redacted(failure), self.inner.now());
        if let Err(error) = journal.record_failure(&self.id, state, &failure, charged, now).await {
            tracing::error!(job = %self.id, %error, "the end of a job can't be written down");
        }
    }
}

fn not_written(inference: &InferenceId) -> String {
    format!(
        "It can't be written down yet, because the journal is locked or its disk is full; Layer's id of the run is \
         `{inference}`."
    )
}

/// What the service changed as it accepted the request, the price among it.
fn said_at_start(job: &Job, started: &Started) -> Vec<String> {
    let request = job.new.order.inference();
    let mut said = request.map(|it| started.normalized.differences(it)).unwrap_or_default();
    if let Some(named) = started.estimated
        && named > job.new.estimated
    {
        said.push(format!(
            "price: estimated {}, at the start Layer named {named}",
            job.new.estimated
        ));
    }
    said
}

/// The error that a job in this state means; `None` while it may still lead to files.
pub(super) fn bad_end(job: &Job) -> Option<RunError> {
    let id = job.id().clone();
    let failure = job.failure.clone();
    match job.state {
        JobState::Unknown => Some(RunError::StartUnanswered { job: id, failure }),
        JobState::Refused => {
            Some(RunError::NeverStarted { job: id, failure: failure.unwrap_or_default() })
        }
        JobState::Failed => Some(RunError::RunFailed {
            job: id,
            failure: failure.unwrap_or_default(),
            charged: job.charged,
        }),
        JobState::Cancelled => {
            Some(RunError::RunCancelled { job: id, unsent: job.sent_at.is_none() })
        }
        JobState::Starting | JobState::Running | JobState::Finished | JobState::Complete => None,
    }
}

/// The service's interval and a little more, so that many jobs don't look in step.
fn later(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + rand::random::<f64>() / 10.0)
}

/// How long a run is watched. Pictures were seen to take up to five minutes.
fn longest_run(job: &Job) -> Duration {
    match (&job.new.order, job.new.modality) {
        (Order::Inference(_), Modality::Image | Modality::Audio | Modality::Text) => {
            Duration::from_secs(15 * 60)
        }
        _ => LONGEST_RUN,
    }
}

/// Videos, models and chains of them.
const LONGEST_RUN: Duration = Duration::from_secs(45 * 60);

fn is_passing(error: &ApiError) -> bool {
    matches!(
        error.kind,
        ApiErrorKind::Network
            | ApiErrorKind::Timeout
            | ApiErrorKind::RateLimited
            | ApiErrorKind::Service
    )
}

fn failure_of(error: &ApiError) -> JobFailure {
    JobFailure {
        message: error.message.clone(),
        kind: Some(error.kind),
        upstream_code: error.upstream_code.clone(),
        request_id: error.request_id.clone(),
    }
}
