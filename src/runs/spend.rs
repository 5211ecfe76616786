//! What was spent on what: the ledger in groups, and how the budgets stand.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::error::RunError;
use super::{JobStatus, Runs};
use crate::journal::{JobFilter, LedgerEntry, Spent};
use crate::layer::CreativeUnits;

/// What purchases are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// The local day of the purchase, as `2026-01-31`.
    Day,
    /// The id of the model or workflow.
    Model,
    /// The saved file.
    Asset,
    /// The folder of the project.
    Project,
    /// The job.
    Job,
}

impl Grouping {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::Asset => "asset",
            Self::Project => "project",
            Self::Job => "job",
        }
    }
}

/// The key of what saved no file, when the ledger goes by files. No path is like it: those are
/// absolute.
pub const NO_FILE: &str = "(no file)";

/// Amounts of some purchases together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many jobs. A job of several files counts with its first.
    pub jobs: u64,
    /// What they were expected to cost.
    pub estimated: CreativeUnits,
    /// What Layer says it charged.
    pub charged: CreativeUnits,
    /// What is set aside, and neither charged nor given back.
    pub reserved: CreativeUnits,
    /// Charged less estimated, of the jobs whose charge is known; `None` when there are none.
    pub difference: Option<CreativeUnits>,
}

impl Sums {
    /// Of one job.
    fn of(entry: &LedgerEntry) -> Self {
        let estimated = entry.job.expected();
        Self {
            jobs: 1,
            estimated,
            charged: entry.job.charged.unwrap_or_default(),
            reserved: entry.reserved(),
            difference: entry.job.charged.map(|charged| charged.minus(estimated)),
        }
    }

    /// Both together.
    fn plus(self, other: Self) -> Self {
        let difference = match (self.difference, other.difference) {
            (Some(one), Some(other)) => Some(one.plus(other)),
            (one, other) => one.or(other),
        };
        Self {
            jobs: self.jobs.saturating_add(other.jobs),
            estimated: self.estimated.plus(other.estimated),
            charged: self.charged.plus(other.charged),
            reserved: self.reserved.plus(other.reserved),
            difference,
        }
    }

    /// The same in so many shares, which together are all of it: each amount in equal whole
    /// millionths, and what is left over with the first.
    fn shares(self, count: usize) -> impl Iterator<Item = Self> {
        let parts = i64::try_from(count).unwrap_or(i64::MAX).max(1);
        (0..count).map(move |index| {
            let share = |amount: CreativeUnits| {
                let equal = amount.micros() / parts;
                let rest = if index == 0 { amount.micros() % parts } else { 0 };
                CreativeUnits::from_micros(equal).plus(CreativeUnits::from_micros(rest))
            };
            let (estimated, charged) = (share(self.estimated), share(self.charged));
            Self {
                jobs: if index == 0 { self.jobs } else { 0 },
                estimated,
                charged,
                reserved: share(self.reserved),
                // Not a share of the difference: it must fit to the two amounts beside it.
                difference: self.difference.map(|_| charged.minus(estimated)),
            }
        })
    }

    /// What it counts for in budgets.
    fn counts(self) -> CreativeUnits {
        self.charged.plus(self.reserved)
    }
}

/// One group of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// What its purchases share. Models and files are named by others: clean it before it is
    /// shown.
    pub key: String,
    /// Their amounts.
    pub sums: Sums,
}

/// Purchases in groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The groups: days, jobs and files from the oldest to the newest, models and projects from
    /// the dearest to the cheapest.
    pub rows: Vec<LedgerRow>,
    /// The sum of the rows, exact to a millionth.
    pub total: Sums,
}

impl Ledger {
    /// Puts purchases, from the oldest to the newest, into groups. Days are those of `zone`.
    pub fn of(entries: &[LedgerEntry], by: Grouping, zone: &TimeZone) -> Self {
        let mut groups = Groups::default();
        for entry in entries {
            let (job, sums) = (&entry.job, Sums::of(entry));
            match by {
                Grouping::Day => {
                    groups.add(job.created_at.to_zoned(zone.clone()).date().to_string(), sums);
                }
                Grouping::Model => groups.add(job.new.order.subject().to_owned(), sums),
                Grouping::Project => groups.add(job.new.project.display().to_string(), sums),
                Grouping::Job => groups.add(job.id().to_string(), sums),
                Grouping::Asset if job.files.is_empty() => groups.add(NO_FILE.to_owned(), sums),
                Grouping::Asset => {
                    for (file, share) in job.files.iter().zip(sums.shares(job.files.len())) {
                        groups.add(file.path.display().to_string(), share);
                    }
                }
            }
        }
        let mut rows = groups.rows;
        match by {
            Grouping::Model | Grouping::Project => rows.sort_by(|one, other| {
                let dearest = other.sums.counts().cmp(&one.sums.counts());
                dearest.then_with(|| one.key.cmp(&other.key))
            }),
            Grouping::Asset => rows.sort_by_key(|row| row.key == NO_FILE),
            Grouping::Day | Grouping::Job => {}
        }
        let total = rows.iter().fold(Sums::default(), |total, row| total.plus(row.sums));
        Self { rows, total }
    }
}

/// Groups in the order in which they were first met.
#[derive(Default)]
struct Groups {
    rows: Vec<LedgerRow>,
    places: HashMap<String, usize>,
}

impl Groups {
    fn add(&mut self, key: String, sums: Sums) {
        let place = *self.places.entry(key.clone()).or_insert(self.rows.len());
        match self.rows.get_mut(place) {
            Some(row) => row.sums = row.sums.plus(sums),
            None => self.rows.push(LedgerRow { key, sums }),
        }
    }
}

/// A budget, and what of it is spent or set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStand {
    /// The limit.
    pub limit: CreativeUnits,
    /// Spent or set aside, as a purchase would find it now.
    pub spent: CreativeUnits,
}

/// How the budgets stand that the user has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetStands {
    /// Of this process.
    pub session: Option<BudgetStand>,
    /// Of the local day.
    pub day: Option<BudgetStand>,
    /// Of the project that assets are made for now.
    pub project: Option<BudgetStand>,
}

impl Runs {
    /// Whether there is a journal. Without one nothing was ever bought, and to look makes none.
    pub fn has_journal(&self) -> bool {
        // What can't be looked at may be there, and what was opened was; using it then says what is
        // wrong.
        self.inner.journal.initialized() || self.inner.settings.journal.try_exists().unwrap_or(true)
    }

    /// Jobs from the newest to the oldest, as the journal has them, each with what it counts for.
    /// Nothing, and no journal is made, where there is none.
    ///
    /// # Errors
    /// [`RunError::Journal`] when it can't be read.
    pub async fn entries(
        &self,
        status: Option<JobStatus>,
        search: Option<&str>,
        limit: u32,
    ) -> Result<Vec<LedgerEntry>, RunError> {
        if !self.has_journal() {
            return Ok(Vec::new());
        }
        let journal = self.inner.journal().await?;
        let states = status.map_or([].as_slice(), JobStatus::states);
        let filter = JobFilter { states, search, limit, skip: 0 };
        journal.entries(&filter).await.map_err(RunError::journal)
    }

    /// How many jobs are on their way, and how many starts have no known end. None, and no journal
    /// is made, where there is none.
    ///
    /// # Errors
    /// [`RunError::Journal`] when it can't be read.
    pub async fn unfinished(&self) -> Result<(u64, u64), RunError> {
        if !self.has_journal() {
            return Ok((0, 0));
        }
        self.inner.journal().await?.unfinished().await.map_err(RunError::journal)
    }

    /// All purchases from the first to the last of these local days, in groups. Without a first
    /// or last day there is no bound on that side. Makes no journal where there is none.
    ///
    /// # Errors
    /// [`RunError::Journal`] when it can't be read.
    pub async fn ledger(
        &self,
        by: Grouping,
        since: Option<Date>,
        until: Option<Date>,
    ) -> Result<Ledger, RunError> {
        let now = (self.inner.settings.now)();
        let zone = now.time_zone();
        if !self.has_journal() {
            return Ok(Ledger::of(&[], by, zone));
        }
        let (from, to) = bounds(since, until, zone);
        let journal = self.inner.journal().await?;
        let entries = journal.purchases(from, to).await.map_err(RunError::journal)?;
        Ok(Ledger::of(&entries, by, zone))
    }

    /// How the budgets stand now, counted as they are when something is bought.
    ///
    /// # Errors
    /// [`RunError::Journal`] when the journal can't be read.
    pub async fn budget_stands(&self) -> Result<BudgetStands, RunError> {
        let budgets = self.budgets();
        let project: Option<PathBuf> = self.project().or_else(|| self.output_dir().ok());
        let spent = if self.has_journal() {
            let journal = self.inner.journal().await?;
            let for_project = project.clone().unwrap_or_default();
            let spent = journal.spent(&self.inner.session, &for_project, budgets.day_began).await;
            spent.map_err(RunError::journal)?
        } else {
            Spent::default()
        };
        let stand =
            |limit: Option<CreativeUnits>, spent| limit.map(|limit| BudgetStand { limit, spent });
        Ok(BudgetStands {
            session: stand(budgets.session, spent.session),
            day: stand(budgets.day, spent.day),
            project: stand(budgets.project.filter(|_| project.is_some()), spent.project),
        })
    }
}

/// The moments between which these days lie: the first is in it, the second is not.
fn bounds(since: Option<Date>, until: Option<Date>, zone: &TimeZone) -> (Timestamp, Timestamp) {
    // A day that begins beyond what a timestamp can tell bounds nothing.
    let midnight = |day: Date| day.to_zoned(zone.clone()).ok().map(|began| began.timestamp());
    let from = since.and_then(midnight).unwrap_or(Timestamp::MIN);
    let to = until.and_then(|day| day.tomorrow().ok()).and_then(midnight);
    (from, to.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test that can't go on has failed"
    )]

    use proptest::prelude::*;

    use super::*;
    use crate::files::SavedFile;
    use crate::journal::{Fingerprint, Job, JobId, JobState, NewJob};
    use crate::layer::{InferenceRequest, Modality};

    fn cu(text: &str) -> CreativeUnits {
        text.parse().unwrap()
    }

    fn saved(path: &str) -> SavedFile {
        serde_json::from_value(serde_json::json!({
            "path": path, "media_type": "image/png", "bytes": 1, "width": null, "height": null,
            "duration_seconds": null, "sha256": "0".repeat(64), "has_alpha": null,
            "readable": null,
        }))
        .unwrap()
    }

    /// A job at this time by this model, and what is known of its charge; without one, what it
    /// was expected to cost stays set aside.
    fn entry(
        at: &str,
        model: &str,
        estimated: CreativeUnits,
        charged: Option<CreativeUnits>,
        files: &[&str],
    ) -> LedgerEntry {
        let workspace = "w1".parse().unwrap();
        let order = InferenceRequest::plain(&model.parse().unwrap(), "a knight").into();
        let new = NewJob {
            id: JobId::random(),
            origin: "https://api".to_owned(),
            fingerprint: Fingerprint::of("https://api", &workspace, &order, &[]),
            workspace,
            order,
            model_name: model.to_uppercase(),
            modality: Modality::Image,
            estimated,
            margin: CreativeUnits::ZERO,
            quote: None,
            save_to: None,
            output_dir: "/out".into(),
            project: "/project".into(),
            session: "s1".to_owned(),
        };
        let job = Job {
            seq: 1,
            new,
            created_at: at.parse().unwrap(),
            state: JobState::Complete,
            sent_at: None,
            took: None,
            inference: None,
            charged,
            outputs: Vec::new(),
            files: files.iter().map(|path| saved(path)).collect(),
            adjusted: Vec::new(),
            failure: None,
        };
        LedgerEntry { job, counts: charged.unwrap_or(estimated) }
    }

    fn keys(ledger: &Ledger) -> Vec<&str> {
        ledger.rows.iter().map(|row| row.key.as_str()).collect()
    }

    #[test]
    fn three_times_0_891_are_2_673() {
        let price = cu("0.891");
        let one = |at: &str| entry(at, "flux", price, Some(price), &["/out/a.png"]);
        let entries =
            [one("2026-01-01T10:00:00Z"), one("2026-01-01T11:00:00Z"), one("2026-01-01T12:00:00Z")];
        for by in [Grouping::Day, Grouping::Model, Grouping::Asset, Grouping::Project] {
            let ledger = Ledger::of(&entries, by, &TimeZone::UTC);
            assert_eq!(ledger.rows.len(), 1, "{by:?}");
            assert_eq!(ledger.total.charged.decimal(), "2.673");
            assert_eq!(ledger.total.difference, Some(CreativeUnits::ZERO));
            assert_eq!(ledger.total.jobs, 3);
        }
        assert_eq!(Ledger::of(&entries, Grouping::Job, &TimeZone::UTC).rows.len(), 3);
    }

    #[test]
    fn files_share_their_jobs_charge_and_the_first_has_the_rest() {
        let files = ["/out/a.png", "/out/b.png", "/out/c.png"];
        let charged = Some(cu("0.1"));
        let split = entry("2026-01-01T10:00:00Z", "flux", cu("0.2"), charged, &files);
        let none = entry("2026-01-01T09:00:00Z", "flux", cu("1"), None, &[]);
        let ledger = Ledger::of(&[none, split], Grouping::Asset, &TimeZone::UTC);
        assert_eq!(keys(&ledger), [&files[..], &[NO_FILE]].concat());
        let charges: Vec<String> =
            ledger.rows.iter().map(|row| row.sums.charged.decimal()).collect();
        assert_eq!(charges, ["0.033334", "0.033333", "0.033333", "0"]);
        let jobs: Vec<u64> = ledger.rows.iter().map(|row| row.sums.jobs).collect();
        assert_eq!(jobs, [1, 0, 0, 1]);
        assert_eq!(ledger.total.charged, cu("0.1"));
        assert_eq!(ledger.total.estimated, cu("1.2"));
        assert_eq!(ledger.total.reserved, cu("1"));
        // Of the one job whose charge is known.
        assert_eq!(ledger.total.difference, Some(cu("-0.1")));
        assert_eq!(ledger.rows[3].sums.difference, None);
    }

    #[test]
    fn days_are_local_and_the_last_one_is_in() {
        let zone = TimeZone::get("America/New_York").unwrap_or(TimeZone::UTC);
        let zone = if zone == TimeZone::UTC { TimeZone::fixed(jiff::tz::offset(-5)) } else { zone };
        let at = |at| entry(at, "flux", cu("1"), None, &[]);
        let entries = [at("2026-01-02T04:59:59Z"), at("2026-01-02T05:00:00Z")];
        let ledger = Ledger::of(&entries, Grouping::Day, &zone);
        assert_eq!(keys(&ledger), ["2026-01-01", "2026-01-02"]);
        let day: Date = "2026-01-01".parse().unwrap();
        let (from, to) = bounds(Some(day), Some(day), &zone);
        assert_eq!(from, "2026-01-01T05:00:00Z".parse().unwrap());
        assert_eq!(to, "2026-01-02T05:00:00Z".parse().unwrap());
        assert_eq!(bounds(None, None, &zone), (Timestamp::MIN, Timestamp::MAX));
        assert_eq!(bounds(Some(Date::MIN), Some(Date::MAX), &zone).1, Timestamp::MAX);
    }

    #[test]
    fn models_stand_from_the_dearest_to_the_cheapest() {
        let at = "2026-01-01T00:00:00Z";
        let entries = [
            entry(at, "cheap", cu("1"), Some(cu("1")), &[]),
            entry(at, "b", cu("2"), None, &[]),
            entry(at, "a", cu("1"), Some(cu("2")), &[]),
        ];
        let ledger = Ledger::of(&entries, Grouping::Model, &TimeZone::UTC);
        assert_eq!(keys(&ledger), ["a", "b", "cheap"]);
    }

    #[test]
    fn nothing_bought_is_no_rows_and_nothing() {
        let ledger = Ledger::of(&[], Grouping::Day, &TimeZone::UTC);
        assert_eq!(ledger, Ledger { rows: Vec::new(), total: Sums::default() });
    }

    proptest! {
        #[test]
        fn no_grouping_loses_or_invents_a_millionth(
            jobs in prop::collection::vec(
                (0i64..50_000_000, prop::option::of(-1_000_000i64..50_000_000), 0usize..8),
                0..30,
            ),
        ) {
            let entries: Vec<LedgerEntry> = jobs
                .iter()
                .enumerate()
                .map(|(index, (estimated, charged, files))| {
                    let paths: Vec<String> =
                        (0..*files).map(|file| format!("/out/{}-{file}.png", index % 5)).collect();
                    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                    let at = format!("2026-01-{:02}T12:00:00Z", index % 28 + 1);
                    let charged = charged.map(CreativeUnits::from_micros);
                    let estimated = CreativeUnits::from_micros(*estimated);
                    entry(&at, &format!("m{}", index % 3), estimated, charged, &paths)
                })
                .collect();
            let charged: i64 = jobs.iter().filter_map(|job| job.1).sum();
            let estimated: i64 = jobs.iter().map(|job| job.0).sum();
            let reserved: i64 = jobs.iter().filter(|job| job.1.is_none()).map(|job| job.0).sum();
            for by in [
                Grouping::Day, Grouping::Model, Grouping::Asset, Grouping::Project, Grouping::Job,
            ] {
                let ledger = Ledger::of(&entries, by, &TimeZone::UTC);
                let sum = |of: fn(&Sums) -> i64| {
                    ledger.rows.iter().map(|row| of(&row.sums)).sum::<i64>()
                };
                prop_assert_eq!(sum(|sums| sums.charged.micros()), charged);
                prop_assert_eq!(sum(|sums| sums.estimated.micros()), estimated);
                prop_assert_eq!(sum(|sums| sums.reserved.micros()), reserved);
                prop_assert_eq!(ledger.total.charged.micros(), charged);
                prop_assert_eq!(ledger.total.estimated.micros(), estimated);
                prop_assert_eq!(ledger.total.reserved.micros(), reserved);
                prop_assert_eq!(ledger.total.jobs, jobs.len() as u64);
            }
        }
    }
}
