//! Errors as people and scripts are told of them: what happened, what became of the money, what to
//! do next.

use super::terminal::Terminal;
use super::theme::Tone;
use crate::runs::{ErrorReport, Money};

/// How a command tells its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In words.
    Text,
    /// As one JSON document.
    Json,
}

impl Form {
    /// What `--json` asks for.
    pub(super) const fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// An error of a command that buys nothing.
pub(super) fn free(code: &'static str, message: &str, next_step: &str) -> ErrorReport {
    ErrorReport {
        code,
        message: sentence(message),
        money: Money::NotCharged,
        retryable: true,
        next_step: sentence(next_step),
        request_id: None,
        job_id: None,
        quote_id: None,
        files: Vec::new(),
    }
}

/// Tells of an error on standard error, and where a program reads, as one JSON document on standard
/// output. Whether money was charged is told unless the command has nothing to do with money.
pub(super) fn tell(report: &ErrorReport, form: Form, paid: bool, terminal: &mut Terminal) {
    // Whoever reads may have gone; there is nobody else to tell.
    let _ = terminal.tell(Tone::Bad, "error:", &report.message);
    if paid || report.money != Money::NotCharged {
        let (tone, said) = match report.money {
            Money::NotCharged => (Tone::Good, "nothing was charged"),
            Money::Charged => (Tone::Warning, "it was charged, or will be"),
            Money::Unknown => (Tone::Warning, "nobody here can say whether it is charged"),
        };
        let _ = terminal.tell(tone, "money:", said);
    }
    if !report.next_step.is_empty() {
        let _ = terminal.tell(Tone::Strong, "next:", &report.next_step);
    }
    if form == Form::Json {
        let _ = terminal.print_json(&serde_json::to_value(report).unwrap_or_default());
    }
}

/// A clause as a sentence: with a large letter before it, unless it begins with a name, and a
/// period behind it.
fn sentence(clause: &str) -> String {
    let clause = clause.trim();
    let mut letters = clause.chars();
    let Some(first) = letters.next() else { return String::new() };
    let end = if clause.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_become_sentences() {
        assert_eq!(sentence("nothing was stored"), "Nothing was stored.");
        assert_eq!(sentence("`--yes` replaces it"), "`--yes` replaces it.");
        assert_eq!(sentence("Is it there?"), "Is it there?");
        assert_eq!(sentence(""), "");
    }
}
