//! Paths that Layer's public reference leaves open, as data: the likelier first.
//!
//! The next one is tried only where a path is answered with 404 or 405, which means that nothing
//! was done, and the one that answered is remembered for as long as the client lives. A client
//! talks to one host.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::error::ApiError;
use super::http::{Answer, Http};

/// Operations whose path is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// One model's own page.
    Model,
    /// Stop an inference.
    CancelInference,
    /// One workflow.
    Workflow,
    /// Price a workflow.
    EstimateWorkflow,
    /// Run a workflow.
    StartWorkflow,
    /// Look at a workflow's run.
    WorkflowRun,
    /// Stop a workflow's run.
    CancelWorkflowRun,
    /// GraphQL.
    GraphQl,
}

/// All of them with their candidates. `{workspace}`, `{id}` and `{run}` stand for ids. Deleting
/// an inference, which may be how to stop one, is no candidate: it could delete what was paid for.
const CANDIDATES: [(Operation, &[&str]); 8] = [
    (Operation::Model, &["workspaces/{workspace}/models/{id}"]),
    (Operation::CancelInference, &["workspaces/{workspace}/inferences/{id}/cancel"]),
    (Operation::Workflow, &["workspaces/{workspace}/workflows/{id}"]),
    (
        Operation::EstimateWorkflow,
        &[
            "workspaces/{workspace}/workflows/{id}/estimate",
            "workspaces/{workspace}/workflows/{id}/runs/estimate",
        ],
    ),
    (
        Operation::StartWorkflow,
        &[
            "workspaces/{workspace}/workflows/{id}/runs",
            "workspaces/{workspace}/workflows/{id}/execute",
        ],
    ),
    (Operation::WorkflowRun, &["workspaces/{workspace}/workflows/{id}/runs/{run}"]),
    (Operation::CancelWorkflowRun, &["workspaces/{workspace}/workflows/{id}/runs/{run}/cancel"]),
    (Operation::GraphQl, &["graphql", ""]),
];

/// One operation, and what is known of its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// The operation.
    pub operation: Operation,
    /// The candidates, the likelier first.
    pub candidates: &'static [&'static str],
    /// The one that answered; `None` when none was tried or none answered.
    pub works: Option<&'static str>,
}

/// Which candidates have answered.
#[derive(Debug, Default)]
pub(super) struct Paths(Mutex<HashMap<Operation, &'static str>>);

/// What is sent to a candidate.
#[derive(Clone, Copy)]
pub(super) enum Call<'a> {
    /// A read.
    Get,
    /// A question with a body, which may be repeated.
    Ask(&'a Value),
    /// What changes the world.
    Once(Option<&'a Value>),
}

impl Paths {
    /// Sends to the candidates in order until one answers anything but "no such path".
    pub(super) async fn send(
        &self,
        http: &Http,
        operation: Operation,
        ids: &[(&str, &str)],
        call: Call<'_>,
    ) -> Result<Answer, ApiError> {
        let mut attempts = self.attempts(operation);
        while let Some(path) = attempts.next() {
            let at = segments(path, ids);
            let answer = match call {
                Call::Get => http.get(&at, &[]).await,
                Call::Ask(body) => http.ask(&at, body).await,
                Call::Once(body) => http.send_once(&at, body).await,
            };
            if let Some(answer) = attempts.judge(path, answer) {
                return answer;
            }
        }
        Err(attempts.refusal())
    }

    fn attempts(&self, operation: Operation) -> Attempts<'_> {
        let left = match self.known().get(&operation) {
            Some(path) => vec![*path],
            None => candidates(operation).iter().rev().copied().collect(),
        };
        Attempts { paths: self, operation, left, first: None }
    }

    /// What was found out so far.
    pub(super) fn report(&self) -> Vec<PathReport> {
        let known = self.known();
        CANDIDATES
            .iter()
            .map(|(operation, candidates)| PathReport {
                operation: *operation,
                candidates,
                works: known.get(operation).copied(),
            })
            .collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Operation, &'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One walk through the candidates.
struct Attempts<'a> {
    paths: &'a Paths,
    operation: Operation,
    left: Vec<&'static str>,
    first: Option<ApiError>,
}

impl Attempts<'_> {
    fn next(&mut self) -> Option<&'static str> {
        self.left.pop()
    }

    /// The answer, unless it says that there is no such path.
    fn judge<T>(
        &mut self,
        path: &'static str,
        answer: Result<T, ApiError>,
    ) -> Option<Result<T, ApiError>> {
        // A gateway refuses with any other status before it looks at the path.
        let served = match &answer {
            Ok(_) => true,
            Err(error) if is_no_such_path(error) => {
                self.first.get_or_insert_with(|| error.clone());
                return None;
            }
            Err(error) => matches!(error.status, Some(200..300 | 402 | 422)),
        };
        if served {
            self.paths.known().insert(self.operation, path);
        }
        Some(answer)
    }

    fn refusal(self) -> ApiError {
        self.first.unwrap_or_else(ApiError::no_path)
    }
}

fn candidates(operation: Operation) -> &'static [&'static str] {
    CANDIDATES.iter().find(|(of, _)| *of == operation).map_or(&[], |(_, paths)| paths)
}

fn segments<'a>(path: &'a str, ids: &[(&str, &'a str)]) -> Vec<&'a str> {
    let id = |part: &str| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        ids.iter().find(|(of, _)| *of == name).map(|(_, id)| *id)
    };
    path.split('/').filter(|part| !part.is_empty()).map(|part| id(part).unwrap_or(part)).collect()
}

/// A thing that does not exist is answered with 404 as well: under a code of its own, or all the
/// candidates say so.
fn is_no_such_path(error: &ApiError) -> bool {
    const OF_ANYTHING: [&str; 5] =
        ["NOT_FOUND", "NOT_FOUND_ERROR", "METHOD_NOT_ALLOWED", "PATH_NOT_FOUND", "ROUTE_NOT_FOUND"];
    let of_the_path = error.upstream_code.as_deref().is_none_or(|code| OF_ANYTHING.contains(&code));
    matches!(error.status, Some(404 | 405)) && of_the_path && !error.may_have_happened()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::super::error::{ApiErrorKind, Reached};
    use super::*;

    fn refused(status: u16) -> ApiError {
        let error = ApiError::new(ApiErrorKind::NotFound, Reached::Refused, "no");
        ApiError { status: Some(status), ..error }
    }

    #[test]
    fn the_second_path_is_tried_only_where_the_first_does_not_exist() {
        for (status, is_tried) in [(404, true), (405, true), (500, false), (422, false)] {
            let paths = Paths::default();
            let mut attempts = paths.attempts(Operation::StartWorkflow);
            let first = attempts.next().unwrap();
            let at = segments(first, &[("workspace", "w"), ("id", "a b")]);
            assert_eq!(at, ["workspaces", "w", "workflows", "a b", "runs"]);
            let answer = attempts.judge::<()>(first, Err(refused(status)));
            assert_eq!(answer.is_none(), is_tried, "{status}");
            assert!(attempts.next().unwrap().ends_with("/execute"));
        }
    }

    #[test]
    fn the_path_that_answered_is_remembered() {
        let paths = Paths::default();
        let mut attempts = paths.attempts(Operation::StartWorkflow);
        let first = attempts.next().unwrap();
        assert!(attempts.judge::<()>(first, Err(refused(404))).is_none());
        let second = attempts.next().unwrap();
        assert!(attempts.judge(second, Ok(())).unwrap().is_ok());
        let mut attempts = paths.attempts(Operation::StartWorkflow);
        assert_eq!((attempts.next(), attempts.next()), (Some(second), None));
        let report = paths.report();
        let found = report.iter().find(|it| it.operation == Operation::StartWorkflow).unwrap();
        assert_eq!(found.works, Some("workspaces/{workspace}/workflows/{id}/execute"));
    }

    #[test]
    fn where_nothing_answers_the_first_refusal_is_told() {
        let paths = Paths::default();
        let mut attempts = paths.attempts(Operation::EstimateWorkflow);
        for status in [405, 404] {
            let path = attempts.next().unwrap();
            assert!(attempts.judge::<()>(path, Err(refused(status))).is_none());
        }
        assert_eq!(attempts.next(), None);
        assert_eq!(attempts.refusal().status, Some(405));
        assert!(paths.report().iter().all(|it| it.works.is_none()));
    }
}
