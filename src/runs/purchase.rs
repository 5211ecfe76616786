//! Buying: the price, the permission, the entry in the journal, the start. One way for assets and
//! for runs of workflows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::error::RunError;
use super::place::{Place, off_the_reactor};
use super::prepare::Prepared;
use super::report::JobReport;
use super::request::AssetRequest;
use super::wait::{Patience, ProgressSink};
use super::work::{Begin, Stage};
use super::workflows::WorkflowWish;
use super::{Connection, Runs};
use crate::audit::Event;
use crate::journal::{Budgets, Job, JobId, JobState, NewJob, Quote, Reservation};
use crate::layer::{ApiErrorKind, CreativeUnits, InferenceRequest, Order, Price, WorkspaceId};

/// How long the same request is answered with the same job.
const SAME_REQUEST: SignedDuration = SignedDuration::from_hours(24);
/// How long a quoted price holds.
const QUOTE: SignedDuration = SignedDuration::from_mins(15);

/// What somebody wants to buy.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Something that a model makes.
    Asset(Box<AssetRequest>),
    /// A run of a workflow.
    Workflow(WorkflowWish),
}

impl From<AssetRequest> for Wanted {
    fn from(request: AssetRequest) -> Self {
        Self::Asset(Box::new(request))
    }
}

impl Wanted {
    fn save_to(&self) -> Option<String> {
        let wish = match self {
            Self::Asset(request) => &request.save_to,
            Self::Workflow(wish) => &wish.save_to,
        };
        wish.as_ref().map(|wish| wish.given().to_owned())
    }

    fn title(&self) -> &str {
        match self {
            Self::Asset(request) => request.prompt.as_str(),
            Self::Workflow(wish) => &wish.workflow,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Asset(request) => usize::from(request.count.get()),
            Self::Workflow(_) => 1,
        }
    }

    fn variation(&self) -> bool {
        match self {
            Self::Asset(request) => request.variation,
            Self::Workflow(wish) => wish.variation,
        }
    }

    fn quote_id(&self) -> Option<&str> {
        match self {
            Self::Asset(request) => request.quote_id.as_deref(),
            Self::Workflow(wish) => wish.quote_id.as_deref(),
        }
    }
}

/// A price with the right to hold us to it.
#[derive(Clone, Debug)]
pub struct QuoteReport {
    /// Give it to the call that buys.
    pub id: String,
    /// The price.
    pub price: Price,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// True when only the user can allow it.
    pub needs_confirmation: bool,
    /// The id of the model or workflow.
    pub subject: String,
    /// The model and why it, or the workflow, and what the price does not include.
    pub remarks: String,
}

/// What was found out before a purchase.
enum Settled {
    /// The same request was made before.
    Same(Box<Job>),
    /// It can be bought at this price.
    New(Box<Prepared>, Price),
}

impl Runs {
    /// Names a price and holds to it for a quarter of an hour. Costs nothing.
    pub async fn quote(&self, wanted: &Wanted) -> Result<QuoteReport, RunError> {
        let deadline = Patience::ToTheEnd.before_a_start();
        let (prepared, price) = match self.settle(wanted, None, deadline).await {
            Ok(Settled::New(prepared, price)) => (prepared, price),
            Ok(Settled::Same(job)) => return Err(RunError::Internal { job: job.id().clone() }),
            Err((error, None)) => return Err(error),
            Err((error, Some(at))) => return Err(self.explained(error, &at.0, &at.1).await),
        };
        let quote = Quote {
            id: format!("quote_{:016x}", rand::random::<u64>()),
            fingerprint: prepared.fingerprint.clone(),
            estimated: price.estimated,
            expires_at: self.inner.now() + QUOTE,
        };
        self.inner.journal().await?.keep_quote(&quote).await.map_err(RunError::journal)?;
        Ok(QuoteReport {
            needs_confirmation: price.estimated > self.inner.settings.limits.confirm_above,
            id: quote.id,
            price,
            expires_at: quote.expires_at,
            subject: prepared.order.subject().to_owned(),
            remarks: prepared.remarks(),
        })
    }

    /// Buys what is wanted, or finds the job of the same request, and waits for its files.
    pub async fn create(
        &self,
        wanted: &Wanted,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Result<JobReport, RunError> {
        let began = Instant::now();
        let save_to = wanted.save_to();
        // A place that can't be used is the cheapest thing to find out.
        let (folder, title) = (self.output_dir()?, wanted.title().to_owned());
        let place = Place::open(folder, save_to.clone(), title, wanted.count()).await?;
        let deadline = patience.before_a_start();
        let since = (!wanted.variation()).then(|| self.inner.now() - SAME_REQUEST);
        let settled = self.settle(wanted, since, deadline).await;
        let (mut prepared, price) = match settled {
            Ok(Settled::New(prepared, price)) => (prepared, price),
            Ok(Settled::Same(job)) => {
                return self.take_up(*job, &place, save_to, patience, progress).await;
            }
            Err((error, None)) => return Err(error),
            Err((error, Some(at))) => return Err(self.explained(error, &at.0, &at.1).await),
        };
        place.check(prepared.modality).await?;
        self.allow(wanted, &prepared, price).await?;
        within(deadline, self.bring_all(&mut prepared)).await?;
        let new = self.new_job(&prepared, price, save_to.clone(), &place);
        // What can't be recorded is not bought.
        let event = Event::new("purchase.request")
            .with("job", new.id.as_str())
            .with("model", new.order.subject())
            .with("cu", price.estimated.to_string());
        self.inner.settings.audit.record(event).map_err(RunError::audit)?;
        let id = new.id.clone();
        let connection = prepared.connection.clone();
        let (reserved, stage) = self.reserve_and_start(connection, new, since).await?;
        match reserved {
            Reservation::New => {}
            Reservation::Existing(job) => {
                return self.take_up(*job, &place, save_to, patience, progress).await;
            }
            Reservation::OverBudget { which, limit, spent } => {
                return Err(RunError::Budget { which, price: price.estimated, spent, limit });
            }
        }
        let mut waited = self.wait(&id, stage, patience.since(began), progress).await;
        let mut remarks = prepared.remarks();
        if let Stage::Over(Err(RunError::StartUnanswered { .. })) = waited {
            // Whatever Layer did with it, it lists by now.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let job = self.known_job(&id).await?;
            waited = self.attend(&job, patience.since(began), progress).await?;
            remarks = format!("{} {remarks}", super::FOUND_AGAIN);
        }
        let job = self.known_job(&id).await?;
        match self.answer(job, waited, &remarks) {
            Err(error) => {
                Err(self.explained(error, &prepared.connection, &prepared.workspace).await)
            }
            answer => answer,
        }
    }

    /// Finds out what would be bought and for how much. A model that is gone is looked up again:
    /// catalogues change while a process lives.
    async fn settle(
        &self,
        wanted: &Wanted,
        since: Option<Timestamp>,
        deadline: tokio::time::Instant,
    ) -> Result<Settled, (RunError, Option<(Arc<Connection>, WorkspaceId)>)> {
        let mut looked_again = false;
        loop {
            let prepared = within(deadline, self.prepare(wanted)).await;
            let prepared = Box::new(prepared.map_err(|error| (error, None))?);
            let at = || Some((prepared.connection.clone(), prepared.workspace.clone()));
            if let Some(since) = since {
                let same = async {
                    let journal = self.inner.journal().await?;
                    let same = journal.same_request(&prepared.fingerprint, since).await;
                    same.map_err(RunError::journal)
                };
                if let Some(job) = same.await.map_err(|error| (error, None))? {
                    return Ok(Settled::Same(Box::new(job)));
                }
            }
            match within(deadline, self.price(&prepared)).await {
                Ok(price) => return Ok(Settled::New(prepared, price)),
                Err(RunError::Layer { source })
                    if source.kind == ApiErrorKind::ModelNotFound && !looked_again =>
                {
                    self.forget_catalogue().await;
                    looked_again = true;
                }
                Err(error) => return Err((error, at())),
            }
        }
    }

    /// An error that the workspace's plan explains, with the explanation.
    async fn explained(
        &self,
        error: RunError,
        connection: &Connection,
        workspace: &WorkspaceId,
    ) -> RunError {
        let add = |mut source: crate::layer::ApiError, said: &str| {
            source.message.push_str(said);
            source
        };
        let disabled = match &error {
            RunError::Layer { source } | RunError::StartRefused { source, .. } => {
                source.kind == ApiErrorKind::FeatureDisabled
            }
            _ => false,
        };
        if !disabled {
            return error;
        }
        let plan = connection.client.plan(workspace);
        let Ok(Ok(plan)) = tokio::time::timeout(Duration::from_secs(5), plan).await else {
            return error;
        };
        let mut said = String::new();
        if let Some(tier) = &plan.tier {
            said.push_str(&format!("; the workspace's plan is `{tier}`"));
        }
        if !plan.disabled.is_empty() {
            said.push_str(&format!("; it is closed for: {}", plan.disabled.join(", ")));
        }
        match error {
            RunError::Layer { source } => RunError::Layer { source: add(source, &said) },
            RunError::StartRefused { job, source } => {
                RunError::StartRefused { job, source: add(source, &said) }
            }
            other => other,
        }
    }

    /// May this be bought? Everything but the sums, which the journal checks as it writes.
    async fn allow(
        &self,
        wanted: &Wanted,
        prepared: &Prepared,
        price: Price,
    ) -> Result<(), RunError> {
        let limits = &self.inner.settings.limits;
        if let Some(id) = wanted.quote_id() {
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
        NewJob {
            id: JobId::random(),
            origin: prepared.connection.origin.clone(),
            workspace: prepared.workspace.clone(),
            fingerprint: prepared.fingerprint.clone(),
            order: with_a_seed(&prepared.order),
            model_name: prepared.name.clone(),
            modality: prepared.modality,
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
}

/// A seed of our own makes a run recognisable at Layer should its answer get lost.
fn with_a_seed(order: &Order) -> Order {
    match order {
        Order::Workflow(request) => Order::Workflow(request.clone()),
        Order::Inference(request) => {
            let seed = request.seed.unwrap_or_else(|| rand::random::<u32>() >> 1);
            InferenceRequest { seed: Some(seed), ..(**request).clone() }.into()
        }
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
