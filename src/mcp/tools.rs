//! The tools: what each is called, what it takes, and how it is carried out.
//!
//! Everything here is the same for the server and for `layer-mcp call`. A handler translates
//! arguments into a use case and its result into an answer; nothing else.

mod assets;
mod consent;
mod edits;
mod found;
mod history;
mod jobs;
mod models;
mod object;
mod quote;
mod styles;
mod upload;
mod view;
mod words;
mod workflows;
mod workspace;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::schema;
use crate::files::{Preview, PreviewLimits};
use crate::redact::{Redactor, clean_line};
use crate::runs::{
    ErrorReport, Money, Patience, ProgressSink, Question, RunError, Runs, WaitSeconds,
};
pub use consent::{AskUser, NobodyToAsk, Reply};
pub(super) use models::model_line;

/// A tool as clients are told of it.
#[derive(Clone, Debug)]
pub struct ToolSpec {
    /// Lower snake case.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// For models: what it does and when to use it.
    pub description: &'static str,
    /// JSON Schema of its arguments.
    pub input: Arc<Map<String, Value>>,
    /// JSON Schema of its answer; none where a picture is the answer.
    pub output: Option<Arc<Map<String, Value>>>,
    /// What it does to the world.
    pub hints: Hints,
}

/// What a tool does to the world (MCP, tool annotations).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// It neither spends nor changes anything.
    pub read_only: bool,
    /// It can undo or stop something that is wanted.
    pub destructive: bool,
    /// Calling it twice is the same as calling it once.
    pub idempotent: bool,
    /// It talks to Layer.
    pub open_world: bool,
    /// A client has to ask its user before each call.
    pub asks_user: bool,
}

impl Hints {
    const READS_LAYER: Self = Self {
        read_only: true,
        destructive: false,
        idempotent: true,
        open_world: true,
        asks_user: false,
    };
    const SPENDS: Self = Self { read_only: false, idempotent: false, ..Self::READS_LAYER };
    /// Something comes to lie at Layer; nothing that is known to cost anything.
    const CHANGES_LAYER: Self = Self { read_only: false, ..Self::READS_LAYER };
    const READS_DISK: Self = Self { open_world: false, ..Self::READS_LAYER };
}

/// A group of tools that is offered or not. A list that is too long costs every conversation, so
/// what few need is opt-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolset {
    /// What everybody gets.
    Default,
    /// Workflows.
    Workflows,
    /// What lies at Layer, whoever made it.
    History,
}

impl Toolset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Default, Self::Workflows, Self::History];

    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Workflows => "workflows",
            Self::History => "history",
        }
    }

    /// Reads a list such as `default,workflows`; `all` stands for every one.
    ///
    /// # Errors
    /// What the words can be.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, String> {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut sets = Vec::new();
        for word in words {
            match Self::ALL.into_iter().find(|set| set.as_str() == word) {
                Some(set) => sets.push(set),
                None if word == "all" => sets.extend(Self::ALL),
                None => {
                    let known = Self::ALL.map(Self::as_str).join(", ");
                    return Err(format!("there are the toolsets {known}, and all"));
                }
            }
        }
        if sets.is_empty() { Err("name at least one toolset".to_owned()) } else { Ok(sets) }
    }
}

/// Which tools are offered.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The groups.
    pub toolsets: Vec<Toolset>,
    /// Only those that neither spend nor change anything.
    pub read_only: bool,
}

/// What a tool answers.
#[derive(Debug)]
pub enum Answer {
    /// An object.
    Data(Map<String, Value>),
    /// A file to look at.
    Picture(Box<Picture>),
    /// It did not work.
    Error(Box<ErrorReport>),
    /// The client is to ask the user, and to make the call again with the answer.
    Ask(Box<Question>),
}

/// A file to look at.
#[derive(Debug)]
pub struct Picture {
    /// One line about it.
    pub line: String,
    /// A small copy, where it is a picture.
    pub preview: Option<Preview>,
    /// Absolute path of the original.
    pub path: std::path::PathBuf,
    /// Media type of the original.
    pub media_type: String,
    /// The same facts as an object, for scripts.
    pub facts: Map<String, Value>,
}

/// There is no tool of this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no tool `{asked}`; there are: {known}")]
pub struct UnknownTool {
    asked: String,
    known: String,
}

/// How long a call waits.
#[derive(Clone, Copy, Debug)]
pub enum Waiting {
    /// A server's: so long unless told otherwise, and never longer.
    AtMost(Duration),
    /// A server's whose client follows a job as a task: for a first look.
    Started,
    /// A script's: to the end, unless the call says otherwise.
    ToTheEnd,
    /// A script's that does not want to wait.
    Never,
}

/// Who calls a tool.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Takes progress.
    pub progress: &'a ProgressSink,
    /// The user behind the call.
    pub user: &'a dyn AskUser,
    /// How long the call waits.
    pub waiting: Waiting,
    /// How large a picture to look at may be; `None` when none can be shown.
    pub picture: Option<PreviewLimits>,
}

/// All tools.
pub struct Tools {
    entries: Vec<Entry>,
    /// Those that are not offered.
    others: Vec<Entry>,
    context: Context,
}

/// What handlers work with.
struct Context {
    runs: Runs,
    /// Whether files may be written.
    writes: bool,
    redactor: Redactor,
}

/// One call's own things.
struct Call<'a> {
    runs: &'a Runs,
    waiting: Waiting,
    progress: &'a ProgressSink,
    user: &'a dyn AskUser,
    picture: Option<PreviewLimits>,
}

/// More of one job's pictures are for `view_asset`.
const MOST_PICTURES: usize = 4;
/// All pictures of an answer together: 400 kB once they are text.
const MOST_PICTURES_BYTES: usize = 300_000;

type Handled<'a> = BoxFuture<'a, Result<Answer, ErrorReport>>;

struct Entry {
    spec: ToolSpec,
    toolset: Toolset,
    handle: for<'a> fn(Call<'a>, Map<String, Value>) -> Handled<'a>,
}

impl Tools {
    /// The names of all tools, offered or not.
    pub fn names() -> Vec<&'static str> {
        let mut names: Vec<_> = every_entry().iter().map(|entry| entry.spec.name).collect();
        names.sort_unstable();
        names
    }

    /// The tools over the use cases, as far as they are offered.
    pub fn new(runs: Runs, offered: &Offered, redactor: Redactor) -> Self {
        let mut entries = every_entry();
        entries.sort_by_key(|entry| entry.spec.name);
        let (entries, others) = entries.into_iter().partition(|entry| {
            offered.toolsets.contains(&entry.toolset)
                && (!offered.read_only || entry.spec.hints.read_only)
        });
        Self { entries, others, context: Context { runs, writes: !offered.read_only, redactor } }
    }

    /// What clients are told, by name. The same for the whole life of the process.
    pub fn specs(&self) -> impl Iterator<Item = &ToolSpec> {
        self.entries.iter().map(|entry| &entry.spec)
    }

    /// Carries out a call. What a model can mend is an [`Answer::Error`].
    ///
    /// # Errors
    /// [`UnknownTool`].
    pub async fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        caller: Caller<'_>,
    ) -> Result<Answer, UnknownTool> {
        let entry = self.entries.iter().find(|entry| entry.spec.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.specs().map(|spec| spec.name).collect();
            let asked = clean_line(&self.context.redactor.redact(name), 80);
            UnknownTool { asked, known: known.join(", ") }
        })?;
        Ok(self.answer(entry, arguments, caller).await)
    }

    /// The answer of a tool that neither spends nor changes anything, whether it is offered or
    /// not: resources have the same data. `None` when there is no such tool.
    pub async fn read(&self, name: &str, arguments: Map<String, Value>) -> Option<Answer> {
        let mut all = self.entries.iter().chain(&self.others);
        let entry = all.find(|entry| entry.spec.name == name && entry.spec.hints.read_only)?;
        let caller = Caller {
            progress: &|_| {},
            user: &NobodyToAsk,
            waiting: Waiting::AtMost(Duration::ZERO),
            picture: None,
        };
        Some(self.answer(entry, arguments, caller).await)
    }

    async fn answer(
        &self,
        entry: &Entry,
        arguments: Map<String, Value>,
        caller: Caller<'_>,
    ) -> Answer {
        let Context { runs, redactor, .. } = &self.context;
        let Caller { progress, user, waiting, picture } = caller;
        let call = Call { runs, waiting, progress, user, picture };
        // It would go to Layer and into the journal.
        let answer = match redactor.holds_secret(&Value::Object(arguments.clone()).to_string()) {
            true => Err(argument_error(
                "an argument holds a token or password; leave it out, and tell the user that it \
                 was in the conversation",
            )),
            false => (entry.handle)(call, arguments).await,
        };
        if let Err(report) = &answer {
            runs.note_error(entry.spec.name, report);
        }
        answer.unwrap_or_else(|report| Answer::Error(Box::new(self.redacted(report))))
    }

    /// Small copies of the pictures that a job's answer tells of, as many as one answer may have.
    pub async fn pictures(
        &self,
        answer: &Map<String, Value>,
        limits: PreviewLimits,
    ) -> Vec<Preview> {
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let (Some("complete"), Some(job)) = (text("status"), text("job_id")) else {
            return Vec::new();
        };
        let files = answer.get("files").and_then(Value::as_array);
        let is_picture = |file: &Value| {
            let media_type = file.get("media_type").and_then(Value::as_str);
            media_type.is_some_and(|media_type| media_type.starts_with("image/"))
        };
        let mut pictures = Vec::new();
        let mut room = MOST_PICTURES_BYTES;
        for (file, number) in files.into_iter().flatten().zip(1..) {
            if pictures.len() == MOST_PICTURES || !is_picture(file) {
                continue;
            }
            // A picture that can't be shown is no failure of the job.
            let seen = self.runs().view(&format!("{job}#{number}"), Some(limits)).await;
            let Ok((_, Some(preview))) = seen else { continue };
            match room.checked_sub(preview.bytes.len()) {
                Some(rest) => room = rest,
                None => break,
            }
            pictures.push(preview);
        }
        pictures
    }

    /// Looks after what earlier processes paid for, where files may be written. Only the first
    /// call of a process does something.
    pub fn collect_in_background(&self) {
        if self.context.writes {
            self.context.runs.collect_in_background();
        }
    }

    /// Whether any tool that is offered may spend.
    pub fn can_spend(&self) -> bool {
        self.context.writes
    }

    /// Whether a call of this tool may come to a job that is worth following as a task.
    pub fn starts_jobs(&self, name: &str) -> bool {
        let entry = self.entries.iter().find(|entry| entry.spec.name == name);
        entry.is_some_and(|entry| entry.spec.hints == Hints::SPENDS)
    }

    /// The use cases, for whoever ends them.
    pub fn runs(&self) -> &Runs {
        &self.context.runs
    }

    /// Words of the client's own, safe to be repeated on one line.
    pub(super) fn safe_line(&self, text: &str, most: usize) -> String {
        clean_line(&self.context.redactor.redact(text), most)
    }

    /// Whether a text holds a token or password.
    pub(super) fn holds_secret(&self, text: &str) -> bool {
        self.context.redactor.holds_secret(text)
    }

    /// An error without secrets.
    pub(super) fn redacted(&self, report: ErrorReport) -> ErrorReport {
        let redactor = &self.context.redactor;
        ErrorReport {
            message: redactor.redact(&report.message).into_owned(),
            next_step: redactor.redact(&report.next_step).into_owned(),
            request_id: report.request_id.map(|id| redactor.redact(&id).into_owned()),
            ..report
        }
    }
}

fn every_entry() -> Vec<Entry> {
    vec![
        assets::create_asset(),
        consent::confirm_spend(),
        quote::quote(),
        edits::remove_background(),
        edits::refine_image(),
        history::list_history(),
        jobs::get_job(),
        jobs::list_jobs(),
        jobs::cancel_job(),
        models::list_models(),
        styles::create_style(),
        styles::list_styles(),
        view::view_asset(),
        upload::upload_file(),
        words::describe_image(),
        words::generate_prompt(),
        workflows::list_workflows(),
        workflows::run_workflow(),
        workspace::get_workspace_info(),
    ]
}

impl Call<'_> {
    /// How long this call waits for a job.
    fn patience(&self, asked: Option<WaitSeconds>) -> Patience {
        let asked = asked.map(|seconds| Duration::from_secs(u64::from(seconds.get())));
        match (self.waiting, asked) {
            (Waiting::AtMost(longest), asked) => {
                Patience::UpTo(asked.unwrap_or(longest).min(longest))
            }
            (Waiting::Started, _) => Patience::UpTo(Duration::ZERO),
            (_, Some(asked)) => Patience::AndStarted(asked),
            (Waiting::ToTheEnd, None) => Patience::ToTheEnd,
            (Waiting::Never, None) => Patience::AndStarted(Duration::ZERO),
        }
    }
}

/// An object as an answer.
fn data(value: &impl Serialize) -> Result<Answer, ErrorReport> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Ok(Answer::Data(object)),
        _ => Err(ErrorReport {
            code: "internal",
            message: "The answer could not be put into JSON.".to_owned(),
            money: Money::Unknown,
            retryable: true,
            next_step: "Call `list_jobs` to see what was done.".to_owned(),
            request_id: None,
            job_id: None,
            quote_id: None,
            files: Vec::new(),
        }),
    }
}

/// A tool that answers with an object of type `O`.
fn spec<A: JsonSchema, O: JsonSchema>(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    hints: Hints,
) -> ToolSpec {
    ToolSpec {
        name,
        title,
        description,
        input: Arc::new(schema::input::<A>()),
        output: Some(Arc::new(schema::output::<O>())),
        hints,
    }
}

/// Reads the arguments of a call.
fn parse<A: DeserializeOwned>(arguments: Map<String, Value>) -> Result<A, ErrorReport> {
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| {
        let path = error.path().to_string();
        let said = in_plain_words(&error.into_inner().to_string());
        let message = if path == "." || said.contains(&format!("`{path}`")) {
            said
        } else {
            format!("`{path}`: {said}")
        };
        argument_error(&message)
    })
}

/// Where a page of a list that is counted here begins.
fn offset<N: std::str::FromStr + Default>(cursor: Option<&str>) -> Result<N, ErrorReport> {
    let wrong = "`cursor` is the next_cursor of an earlier answer; leave it out to begin";
    let Some(cursor) = cursor else { return Ok(N::default()) };
    cursor.parse().map_err(|_| argument_error(wrong))
}

fn argument_error(message: &str) -> ErrorReport {
    RunError::Argument { field: "", message: clean_line(message, 600) }.report()
}

/// Serde names Rust's types; a reader knows numbers.
fn in_plain_words(said: &str) -> String {
    ["u8", "u32", "u64", "i64", "f64"].iter().fold(said.to_owned(), |said, rust| {
        said.replace(&format!("expected {rust}"), "expected a number")
    })
}
