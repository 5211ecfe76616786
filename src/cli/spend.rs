//! The ledger: what was spent on what, how the budgets stand, and what there is to spend.

use std::process::ExitCode;
use std::time::Duration;

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::Process;
use super::call::failed;
use super::failure::{self, Form};
use super::table::{Fit, Row, Table, wrap};
use super::terminal::Terminal;
use super::theme::{Line, Tone};
use crate::layer::{CreativeUnits, Workspace};
use crate::redact::clean_line;
use crate::runs::{BudgetStand, BudgetStands, Grouping, Ledger, RunError, Runs, Sums};

#[derive(Debug, clap::Args)]
pub(super) struct SpendArguments {
    /// What the rows are
    #[arg(long, value_enum, value_name = "WHAT", default_value = "day")]
    by: By,
    /// Only purchases since this local day, such as 2026-01-31
    #[arg(long, value_name = "DAY")]
    since: Option<Date>,
    /// Only purchases until the end of this local day
    #[arg(long, value_name = "DAY")]
    until: Option<Date>,
    /// As JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// The rows as CSV, for a spreadsheet
    #[arg(long)]
    csv: bool,
    /// Don't ask Layer for the balance
    #[arg(long)]
    offline: bool,
}

/// The words of `--by`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum By {
    Day,
    Model,
    Asset,
    Project,
    Job,
}

impl From<By> for Grouping {
    fn from(by: By) -> Self {
        match by {
            By::Day => Self::Day,
            By::Model => Self::Model,
            By::Asset => Self::Asset,
            By::Project => Self::Project,
            By::Job => Self::Job,
        }
    }
}

/// So long the balance is waited for: the rest of the answer is there at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest key in characters. Paths have up to 4,096 bytes.
const LONGEST_KEY: usize = 4_096;
/// Longest reason why the balance is not known.
const LONGEST_REASON: usize = 300;

/// All that is told.
struct Account {
    by: Grouping,
    ledger: Ledger,
    budgets: BudgetStands,
    /// What there is to spend, or why that is not known.
    balance: Result<Workspace, String>,
}

/// Shows the ledger.
pub(super) async fn run(
    process: &Process,
    arguments: &SpendArguments,
    terminal: &mut Terminal,
) -> ExitCode {
    if let (Some(since), Some(until)) = (arguments.since, arguments.until)
        && since > until
    {
        let report = failure::free(
            "invalid_argument",
            "`--since` is a later day than `--until`",
            "give the earlier day first",
        );
        failure::tell(&report, Form::of(arguments.json), false, terminal);
        return ExitCode::from(2);
    }
    let runs = super::runs(process);
    let told = account(&runs, arguments).await;
    runs.shut_down(Duration::from_secs(2)).await;
    let told = match told {
        Ok(told) => told,
        Err(error) => return failed(&error, Form::of(arguments.json), terminal),
    };
    let shown = if arguments.csv {
        terminal.print(in_csv(&told))
    } else if arguments.json {
        if let (Err(why), false) = (&told.balance, arguments.offline) {
            let _ = terminal.note(format!("balance: not known ({why})"));
        }
        terminal.print_json(&in_json(&told, arguments))
    } else {
        terminal.print_lines(&in_lines(&told, arguments, terminal.columns()))
    };
    if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn account(runs: &Runs, arguments: &SpendArguments) -> Result<Account, RunError> {
    let by = arguments.by.into();
    let ledger = runs.ledger(by, arguments.since, arguments.until).await?;
    let budgets = runs.budget_stands().await?;
    // CSV has no place for it.
    let balance = if arguments.offline || arguments.csv {
        Err("not asked for".to_owned())
    } else {
        match tokio::time::timeout(PATIENCE, runs.account()).await {
            Ok(Ok(account)) => Ok(account.workspace),
            Ok(Err(error)) => {
                let said = error.report().message;
                Err(clean_line(said.trim_end_matches('.'), LONGEST_REASON))
            }
            Err(_) => Err(format!("Layer did not answer within {} seconds", PATIENCE.as_secs())),
        }
    };
    Ok(Account { by, ledger, budgets, balance })
}

fn name(workspace: &Workspace) -> String {
    let name = clean_line(&workspace.name, 120);
    if name.is_empty() { workspace.id.to_string() } else { name }
}

// ---- Text ----

/// A table with its total, then budgets and balance, a line each.
fn in_lines(told: &Account, arguments: &SpendArguments, room: Option<usize>) -> Vec<Line> {
    let table = match (told.ledger.rows.is_empty(), arguments.since.or(arguments.until)) {
        (true, None) => vec!["Nothing was bought yet.".into()],
        (true, Some(_)) => vec!["Nothing was bought in that time.".into()],
        (false, _) => table(told).lines(room),
    };
    let mut lines = vec![String::new()];
    let BudgetStands { session, day, project } = told.budgets;
    if let Some(BudgetStand { limit, .. }) = session {
        lines.push(format!("budget of a session: {limit} for each process"));
    }
    for (which, stand) in [("the day", day), ("the project", project)] {
        if let Some(BudgetStand { limit, spent }) = stand {
            let spent = spent.decimal();
            lines.push(format!("budget of {which}: {spent} of {limit} spent or set aside"));
        }
    }
    lines.push(match &told.balance {
        Ok(workspace) => format!(
            "balance: {} to spend in {} ({} balance, {} reserved)",
            workspace.available,
            name(workspace),
            workspace.balance,
            workspace.reserved
        ),
        Err(why) => format!("balance: not known ({why})"),
    });
    let fitting = |line: String| match room {
        Some(room) => wrap(&line, room),
        None => vec![line],
    };
    let lines = lines.into_iter().flat_map(fitting).map(Line::from);
    table.into_iter().chain(lines).collect()
}

fn table(told: &Account) -> Table {
    const NUMBERS: [&str; 5] =
        ["jobs", "estimated CU", "charged CU", "reserved CU", "difference CU"];
    let row = |tone: Tone, key: String, sums: &Sums| {
        let difference = sums.difference.map_or_else(|| "-".to_owned(), with_sign);
        let numbers = [
            sums.jobs.to_string(),
            sums.estimated.decimal(),
            sums.charged.decimal(),
            sums.reserved.decimal(),
            difference,
        ];
        Row::new(std::iter::once(key).chain(numbers).map(|cell| (tone, cell)))
    };
    let [first, second, third, fourth, fifth] = NUMBERS;
    let names = [told.by.name(), first, second, third, fourth, fifth];
    let number = Fit::Number;
    let fits = [Fit::CutFront(12), number, number, number, number, number];
    let mut table = Table::new(fits).named(names);
    for of in &told.ledger.rows {
        table.push(row(Tone::Plain, clean_line(&of.key, LONGEST_KEY), &of.sums));
    }
    table.push(row(Tone::Strong, "total".to_owned(), &told.ledger.total));
    table
}

fn with_sign(amount: CreativeUnits) -> String {
    let plus = if amount > CreativeUnits::ZERO { "+" } else { "" };
    format!("{plus}{}", amount.decimal())
}

// ---- JSON ----

fn in_json(told: &Account, arguments: &SpendArguments) -> Value {
    let sums = |sums: &Sums| {
        let mut object = Map::new();
        object.insert("jobs".to_owned(), json!(sums.jobs));
        object.insert("estimated_cu".to_owned(), json!(sums.estimated));
        object.insert("charged_cu".to_owned(), json!(sums.charged));
        object.insert("reserved_cu".to_owned(), json!(sums.reserved));
        object
    };
    let rows: Vec<Value> = told
        .ledger
        .rows
        .iter()
        .map(|row| {
            let key = clean_line(&row.key, LONGEST_KEY);
            let mut object = Map::from_iter([("key".to_owned(), Value::String(key))]);
            object.extend(sums(&row.sums));
            Value::Object(object)
        })
        .collect();
    let BudgetStands { session, day, project } = told.budgets;
    let budgets = [("session", session), ("day", day), ("project", project)];
    let budgets = budgets.into_iter().filter_map(|(which, stand)| {
        let BudgetStand { limit, spent } = stand?;
        Some((which.to_owned(), json!({ "limit_cu": limit, "spent_cu": spent })))
    });
    let balance = told.balance.as_ref().ok().map(|workspace| {
        json!({
            "available_cu": workspace.available,
            "balance_cu": workspace.balance,
            "reserved_cu": workspace.reserved,
            "workspace": name(workspace),
        })
    });
    json!({
        "by": told.by.name(),
        "since": arguments.since,
        "until": arguments.until,
        "rows": rows,
        "total": sums(&told.ledger.total),
        "budgets": Map::from_iter(budgets),
        "balance": balance,
    })
}

// ---- CSV ----

/// A header and the rows, without a total: a spreadsheet would count it twice.
fn in_csv(told: &Account) -> String {
    let header = "key,jobs,estimated_cu,charged_cu,reserved_cu,difference_cu".to_owned();
    let rows = told.ledger.rows.iter().map(|row| {
        let sums = &row.sums;
        [
            text_cell(&clean_line(&row.key, LONGEST_KEY)),
            sums.jobs.to_string(),
            sums.estimated.decimal(),
            sums.charged.decimal(),
            sums.reserved.decimal(),
            sums.difference.map_or_else(String::new, CreativeUnits::decimal),
        ]
        .join(",")
    });
    std::iter::once(header).chain(rows).collect::<Vec<_>>().join("\n")
}

/// A text as a cell: one that a spreadsheet would take for a formula begins with an apostrophe,
/// and one with separators in it stands in quotes (RFC 4180).
fn text_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_is_no_formula() {
        for (text, cell) in [
            ("flux", "flux"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("=HYPERLINK(\"x\",1)", "\"'=HYPERLINK(\"\"x\"\",1)\""),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(text_cell(text), cell, "{text:?}");
        }
    }

    #[test]
    fn a_difference_has_its_sign() {
        let of = |micros| with_sign(CreativeUnits::from_micros(micros));
        assert_eq!([of(0), of(500_000), of(-500_000)], ["0", "+0.5", "-0.5"]);
    }
}
