//! The user's limits on money and haste.

use std::time::Duration;

use super::file::File;
use super::{Reader, names};
use crate::layer::CreativeUnits;
use crate::runs::{Limits, Pace};

/// The user's limits on the command line: amounts of Creative Units.
#[derive(Clone, Debug, Default)]
pub struct LimitFlags {
    /// The most that one purchase may cost.
    pub run: Option<String>,
    /// The most that this process may spend.
    pub session: Option<String>,
    /// The most that may be spent in a day.
    pub day: Option<String>,
    /// The most that may be spent for one project, ever.
    pub project: Option<String>,
    /// Above this price a purchase needs the user's consent.
    pub confirm_above: Option<String>,
}

/// Above this many millionths a purchase needs the user's consent, unless they say otherwise.
const CONFIRM_ABOVE: i64 = 20_000_000;
/// A day of work: who asks for the same thing next week wants to see something new.
const SAME_REQUEST_HOURS: f64 = 24.0;

impl Reader<'_> {
    pub(super) fn limits(&mut self, flags: &LimitFlags, file: &File) -> Limits {
        let confirm = self.amount(
            names::CONFIRM_ABOVE,
            flags.confirm_above.as_deref(),
            file.confirm_above_cu,
        );
        Limits {
            confirm_above: confirm.unwrap_or(CreativeUnits::from_micros(CONFIRM_ABOVE)),
            run: self.amount(names::BUDGET_RUN, flags.run.as_deref(), file.budget_run_cu),
            session: self.amount(
                names::BUDGET_SESSION,
                flags.session.as_deref(),
                file.budget_session_cu,
            ),
            day: self.amount(names::BUDGET_DAY, flags.day.as_deref(), file.budget_day_cu),
            project: self.amount(
                names::BUDGET_PROJECT,
                flags.project.as_deref(),
                file.budget_project_cu,
            ),
        }
    }

    fn amount(
        &mut self,
        name: &str,
        flag: Option<&str>,
        file: Option<f64>,
    ) -> Option<CreativeUnits> {
        let amount = match flag.map(str::to_owned).or_else(|| self.text(name, None)) {
            Some(text) => text.parse().ok(),
            None => CreativeUnits::from_number(file?),
        };
        match amount {
            Some(amount) if amount >= CreativeUnits::ZERO => Some(amount),
            _ => {
                self.problem(name, "it must be an amount of Creative Units such as `12` or `0.5`");
                // A limit that can't be read must not become no limit.
                Some(CreativeUnits::ZERO)
            }
        }
    }

    pub(super) fn same_request(&mut self, file: &File) -> Duration {
        let hours = match self.text(names::SAME_REQUEST, None) {
            Some(text) => text.parse::<f64>().ok(),
            None => file.same_request_hours.or(Some(SAME_REQUEST_HOURS)),
        };
        match hours {
            Some(hours) if (0.0..=8_760.0).contains(&hours) => {
                Duration::from_secs_f64(hours * 3_600.0)
            }
            _ => {
                self.problem(names::SAME_REQUEST, "it must be a number of hours from 0 to 8760");
                Duration::from_secs_f64(SAME_REQUEST_HOURS * 3_600.0)
            }
        }
    }

    pub(super) fn pace(&mut self, file: &File) -> Pace {
        let mut count = |name, file: Option<u32>| {
            let given = match self.text(name, None) {
                Some(text) => text.parse::<u32>().ok(),
                None => Some(file?),
            };
            let count = given.filter(|count| (1..=100_000).contains(count));
            if count.is_none() {
                self.problem(name, "it must be a whole number from 1 to 100000");
            }
            count
        };
        let starts = count(names::STARTS, file.starts_per_minute);
        let at_once = count(names::RUNS_AT_ONCE, file.runs_at_once);
        Pace::of(starts.unwrap_or(Pace::default().starts), at_once)
    }

    /// A project may tighten the user's limits and never loosen them.
    pub(super) fn lowered(&self, limits: Limits, project: &File) -> Limits {
        let lower = |usual: Option<CreativeUnits>, wish: Option<f64>| {
            let Some(wish) = wish else { return usual };
            // What can't be read must not become no limit.
            let wish = CreativeUnits::from_number(wish)
                .filter(|wish| *wish >= CreativeUnits::ZERO)
                .unwrap_or(CreativeUnits::ZERO);
            Some(usual.map_or(wish, |usual| usual.min(wish)))
        };
        Limits {
            confirm_above: lower(Some(limits.confirm_above), project.confirm_above_cu)
                .unwrap_or(limits.confirm_above),
            run: lower(limits.run, project.budget_run_cu),
            session: lower(limits.session, project.budget_session_cu),
            day: lower(limits.day, project.budget_day_cu),
            project: lower(limits.project, project.budget_project_cu),
        }
    }
}
