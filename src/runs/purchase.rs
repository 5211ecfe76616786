//! Buying: the price, the permission, the entry in the journal, the start. One way for assets and
//! for runs of workflows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::error::RunError;
use super::place::{Place, off_the_reactor};
use super::prepare::Prepared;
use super::report::{JobReport, Purchase};
use super::request::AssetRequest;
use super::wait::{Patience, ProgressSink};
use super::work::{Begin, Saved, Stage};
use super::workflows::WorkflowWish;
use super::{Connection, Runs};
use crate::audit::Event;
use crate::drill::{self, Step};
use crate::journal::{
    Budgets, Job, JobId, JobState, NewJob, Objection, OverBudget, QuoteLine, Reservation, Terms,
    Void,
};
use crate::layer::{ApiErrorKind, CreativeUnits, InferenceRequest, Order, Price, WorkspaceId};

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

    pub(super) fn title(&self) -> &str {
        match self {
            Self::Asset(request) => request.prompt.as_str(),
            Self::Workflow(wish) => &wish.workflow,
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Asset(request) => usize::from(request.count.get()),
            Self::Workflow(_) => 1,
        }
    }

    /// The same purchase with a quote.
    #[must_use]
    pub fn with_quote(mut self, id: &str) -> Self {
        let quote_id = match &mut self {
            Self::Asset(request) => &mut request.quote_id,
            Self::Workflow(wish) => &mut wish.quote_id,
        };
        *quote_id = Some(id.to_owned());
        self
    }

    fn variation(&self) -> bool {
        match self {
            Self::Asset(request) => request.variation,
            Self::Workflow(wish) => wish.variation,
        }
    }

    pub(super) fn quote_id(&self) -> Option<&str> {
        match self {
            Self::Asset(request) => request.quote_id.as_deref(),
            Self::Workflow(wish) => wish.quote_id.as_deref(),
        }
    }
}

/// What something would cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offer {
    /// Layer's estimate, and what there is to spend.
    pub(super) price: Price,
    /// What is to be expected on top, where the estimate leaves something out and past charges
    /// show how much that is.
    pub(super) margin: Option<CreativeUnits>,
}

impl Offer {
    /// What it is expected to cost, in all.
    pub(super) fn expected(&self) -> CreativeUnits {
        self.price.estimated.plus(self.margin.unwrap_or_default())
    }
}

/// What was found out before a purchase.
pub(super) enum Settled {
    /// The same request was made before.
    Same(Box<Job>),
    /// It can be bought at this price.
    New(Box<Prepared>, Offer),
}

/// What came of one try to buy.
enum Tried {
    /// This is the job.
    Job(Box<JobReport>),
    /// The entry that was found turned out to be one whose start never left, and is closed.
    Again,
}

impl Runs {
    /// Buys what is wanted, or finds the job of the same request, and waits for its files.
    pub async fn create(
        &self,
        wanted: &Wanted,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Result<JobReport, RunError> {
        let began = Instant::now();
        loop {
            let patience = patience.since(began);
            match Box::pin(self.try_to_create(wanted, patience, progress)).await? {
                Tried::Job(job) => return Ok(*job),
                Tried::Again => {}
            }
        }
    }

    async fn try_to_create(
        &self,
        wanted: &Wanted,
        patience: Patience,
        progress: &ProgressSink,
    ) -> Result<Tried, RunError> {
        let began = Instant::now();
        let save_to = wanted.save_to();
        // A place that can't be used is the cheapest thing to find out.
        let (folder, title) = (self.output_dir()?, wanted.title().to_owned());
        let place = Place::open(folder, save_to.clone(), title, wanted.count()).await?;
        let deadline = patience.before_a_start();
        let since = self.same_request_since(wanted);
        let settled = self.settle(wanted, since, deadline).await;
        let (mut prepared, offer) = match settled {
            Ok(Settled::New(prepared, offer)) => (prepared, offer),
            Ok(Settled::Same(job)) => {
                return self.take_up(*job, &place, save_to, patience, progress).await;
            }
            Err((error, None)) => return Err(error),
            Err((error, Some(at))) => return Err(self.explained(error, &at.0, &at.1).await),
        };
        place.check(prepared.modality).await?;
        let new = self.new_job(wanted, &prepared, &offer, save_to.clone(), &place);
        let terms = self.allow(wanted, &prepared, &new, &offer).await?;
        within(deadline, self.bring_all(&mut prepared)).await?;
        let new = NewJob { order: with_a_seed(&prepared.order), ..new };
        // What can't be recorded is not bought.
        let event = Event::new("purchase.request")
            .with("job", new.id.as_str())
            .with("model", new.order.subject())
            .with("cu", offer.expected().to_string());
        let event = event.with_some("quote", new.quote.clone());
        self.inner.settings.audit.record(event).map_err(RunError::audit)?;
        drill::reach(Step::BeforeEntry);
        let id = new.id.clone();
        let connection = prepared.connection.clone();
        let (reserved, stage) = self.reserve_and_start(connection, new, since, terms).await?;
        match reserved {
            Reservation::New => {}
            Reservation::Existing(job) => {
                return self.take_up(*job, &place, save_to, patience, progress).await;
            }
            Reservation::Refused(objection) => {
                return Err(self.objected(objection, &offer, wanted.quote_id()).await);
            }
        }
        let job = self.known_job(&id).await?;
        let mut waited = self.wait(&job, stage, patience.since(began), progress).await;
        let mut found_again = "";
        if let Stage::Over(Err(RunError::StartUnanswered { .. })) = waited {
            // Whatever Layer did with it, it lists by now.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let job = self.known_job(&id).await?;
            waited = self.attend(&job, patience.since(began), progress).await?;
            found_again = super::FOUND_AGAIN;
        }
        let job = self.known_job(&id).await?;
        let remarks = prepared.remarks(&offer, job.charged.is_some());
        match self.answer(job, waited, format!("{found_again} {remarks}").trim_start()).await {
            Ok(report) => Ok(Tried::Job(Box::new(report.of(Purchase::New)))),
            Err(error) => {
                Err(self.explained(error, &prepared.connection, &prepared.workspace).await)
            }
        }
    }

    /// Since when the same request is answered with the same job; `None` to buy anew.
    pub(super) fn same_request_since(&self, wanted: &Wanted) -> Option<Timestamp> {
        let window = SignedDuration::try_from(self.inner.settings.same_request).ok()?;
        let since = (!wanted.variation()).then(|| self.inner.now().checked_sub(window));
        since.map(|since| since.unwrap_or(Timestamp::MIN))
    }

    /// Finds out what would be bought and for how much. A model that is gone is looked up again:
    /// catalogues change while a process lives.
    pub(super) async fn settle(
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
                Ok(offer) => return Ok(Settled::New(prepared, offer)),
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
    pub(super) async fn explained(
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

    /// May this be bought? On the terms that come back the journal asks again as it writes.
    async fn allow(
        &self,
        wanted: &Wanted,
        prepared: &Prepared,
        new: &NewJob,
        offer: &Offer,
    ) -> Result<Terms, RunError> {
        let limits = &self.inner.settings.limits;
        let expected = offer.expected();
        if let Some(limit) = limits.run
            && expected > limit
        {
            let spent = CreativeUnits::ZERO;
            return Err(RunError::Budget { which: "run", price: expected, spent, limit });
        }
        if offer.price.degraded && new.quote.is_some() {
            return Err(RunError::QuoteVoid { why: Void::Degraded });
        }
        let mut terms = Terms { budgets: self.budgets(), needs_approval: false };
        let (journal, now) = (self.inner.journal().await?, self.inner.now());
        let objection = journal.objection(new, &terms, now).await.map_err(RunError::journal)?;
        if let Some(objection) = objection {
            return Err(self.objected(objection, offer, new.quote.as_deref()).await);
        }
        // Nobody is asked about what can't be paid.
        if !offer.price.sufficient {
            let available = offer.price.available;
            return Err(RunError::Insufficient { price: expected, available });
        }
        if expected > limits.confirm_above {
            terms.needs_approval = true;
            let approved = match &new.quote {
                None => false,
                Some(_) => {
                    journal.objection(new, &terms, now).await.map_err(RunError::journal)?.is_none()
                }
            };
            if !approved {
                let line = QuoteLine { fingerprint: new.fingerprint.clone(), price: expected };
                let question = self.ask_for(wanted, line, &prepared.name, offer).await?;
                return Err(RunError::confirmation_needed(question));
            }
        }
        Ok(terms)
    }

    /// What an objection of the journal's means. A quote whose price rose is over, whatever becomes
    /// of the price.
    async fn objected(&self, objection: Objection, offer: &Offer, quote: Option<&str>) -> RunError {
        match objection {
            Objection::OverBudget(OverBudget { which, limit, spent }) => {
                RunError::Budget { which, price: offer.expected(), spent, limit }
            }
            Objection::QuoteVoid(why) => {
                if let (Void::PriceRose { .. } | Void::RanOut, Some(quote)) = (&why, quote)
                    && let Ok(journal) = self.inner.journal().await
                    && let Err(error) = journal.end_quote(quote).await
                {
                    tracing::warn!(%error, "a quote can't be ended");
                }
                RunError::QuoteVoid { why }
            }
        }
    }

    fn new_job(
        &self,
        wanted: &Wanted,
        prepared: &Prepared,
        offer: &Offer,
        save_to: Option<String>,
        place: &Place,
    ) -> NewJob {
        let folder = place.folder().to_owned();
        NewJob {
            id: JobId::random(),
            origin: prepared.connection.origin.clone(),
            workspace: prepared.workspace.clone(),
            fingerprint: prepared.fingerprint.clone(),
            order: prepared.order.clone(),
            model_name: prepared.name.clone(),
            modality: prepared.modality,
            estimated: offer.price.estimated,
            margin: offer.margin.unwrap_or_default(),
            quote: wanted.quote_id().map(str::to_owned),
            save_to,
            project: self.project().unwrap_or_else(|| folder.clone()),
            output_dir: folder,
            session: self.inner.session.clone(),
        }
    }

    pub(super) fn budgets(&self) -> Budgets {
        let limits = &self.inner.settings.limits;
        let now = (self.inner.settings.now)();
        let day_began = now.start_of_day().map_or(now.timestamp(), |began| began.timestamp());
        Budgets { session: limits.session, project: limits.project, day: limits.day, day_began }
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
    ) -> Result<Tried, RunError> {
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
        let found = job.state;
        let unsent = job.is_queued();
        let waited = self.attend(&job, patience, progress).await?;
        if unsent
            && let Stage::Over(Err(RunError::NeverStarted { .. })) = waited
            && !self.inner.ending.is_cancelled()
        {
            return Ok(Tried::Again);
        }
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
        let purchase = match (found, &waited) {
            (JobState::Complete, Stage::Over(Ok(Saved::Before))) => Purchase::SameJobSaved,
            (JobState::Complete, _) => Purchase::SameJobFetchedAgain,
            _ => Purchase::SameJobTakenUp,
        };
        let report = self.answer(job, waited, purchase.in_words()).await?;
        Ok(Tried::Job(Box::new(report.of(purchase))))
    }

    /// Writes the entry of a new job down and sends its start, in one piece: whoever goes away in
    /// between leaves no entry that nobody works on, and another call of this process that finds
    /// the entry waits for this work instead of taking it for abandoned.
    async fn reserve_and_start(
        &self,
        connection: Arc<Connection>,
        new: NewJob,
        since: Option<Timestamp>,
        terms: Terms,
    ) -> Result<(Reservation, watch::Receiver<Stage>), RunError> {
        let (sender, stage) = watch::channel(Stage::Starting);
        let (runs, id, begun) = (self.clone(), new.id.clone(), stage.clone());
        let piece = self.inner.starts.spawn(async move {
            let journal = runs.inner.journal().await?;
            {
                let mut live = runs.live();
                live.retain(|_, stage| stage.has_changed().is_ok());
                live.insert(new.id.clone(), begun);
            }
            let reserved = journal.reserve(&new, since, &terms, runs.inner.now()).await;
            let reserved = reserved.map_err(RunError::journal)?;
            if let Reservation::New = reserved {
                drill::reach(Step::AfterEntry);
                runs.set_going(connection, new.id, Begin::Start, sender);
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
