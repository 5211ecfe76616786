//! The local library: the files that jobs made, and whether they are still as they were saved.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Process;
use super::call::failed;
use super::failure::Form;
use super::table::{Fit, Row, Table, wrap};
use super::terminal::Terminal;
use super::theme::{Line, Tone};
use crate::files::SavedFile;
use crate::journal::Job;
use crate::redact::clean_line;
use crate::runs::{RunError, Runs};

#[derive(Debug, clap::Args)]
pub(super) struct AssetsArguments {
    /// Only files of jobs with all of these words, or words that begin so, in the prompt
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Only files of so many jobs, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Files of other output folders too
    #[arg(long)]
    all: bool,
    /// Read each file and compare its SHA-256; without this its size alone is looked at
    #[arg(long)]
    verify: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// How a file stands beside what was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Of the same size.
    There,
    /// The same to the byte.
    Same,
    /// Something else lies there.
    Changed,
    /// Nothing lies there.
    Gone,
    /// It can't be looked at.
    Unreadable,
}

impl Stand {
    const fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Gone => "gone",
            Self::Unreadable => "unreadable",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::There | Self::Same => Tone::Good,
            Self::Changed => Tone::Warning,
            Self::Gone | Self::Unreadable => Tone::Bad,
        }
    }
}

/// A file that a job made.
struct Asset {
    job: Job,
    file: SavedFile,
    stand: Stand,
}

/// Lists the files.
pub(super) async fn run(
    process: &Process,
    arguments: &AssetsArguments,
    terminal: &mut Terminal,
) -> ExitCode {
    let runs = super::runs(process);
    let found = find(&runs, process.config.output_dir.as_deref(), arguments).await;
    runs.shut_down(Duration::from_secs(2)).await;
    let (assets, more) = match found {
        Ok(found) => found,
        Err(error) => return failed(&error, Form::of(arguments.json), terminal),
    };
    let shown = if arguments.json {
        terminal.print_json(&Value::Array(assets.iter().map(in_json).collect()))
    } else {
        let room = terminal.columns();
        let folder = process.config.output_dir.as_deref().filter(|_| !arguments.all);
        let mut lines = table(&assets, folder).lines(room);
        let sum = in_sum(&assets, more, folder);
        let sum = room.map_or_else(|| vec![sum.clone()], |room| wrap(&sum, room));
        lines.extend(sum.into_iter().map(Line::from));
        terminal.print_lines(&lines)
    };
    let well = |asset: &Asset| matches!(asset.stand, Stand::There | Stand::Same);
    if shown.is_err() || arguments.verify && !assets.iter().all(well) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The files, and whether older jobs were left out.
async fn find(
    runs: &Runs,
    folder: Option<&Path>,
    arguments: &AssetsArguments,
) -> Result<(Vec<Asset>, bool), RunError> {
    let search = arguments.search.as_deref().filter(|words| !words.trim().is_empty());
    let mut entries = runs.entries(None, search, arguments.limit.saturating_add(1)).await?;
    let asked = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let more = entries.len() > asked;
    entries.truncate(asked);
    // Where the folder is named by a link, files are saved under its own name.
    let real = folder.and_then(|folder| fs::canonicalize(folder).ok());
    let folder = real.or_else(|| folder.map(Path::to_owned));
    let verify = arguments.verify;
    let here = |path: &Path| {
        arguments.all || folder.as_ref().is_some_and(|folder| path.starts_with(folder))
    };
    let files: Vec<(Job, SavedFile)> = entries
        .into_iter()
        .flat_map(|entry| {
            let job = entry.job;
            let files = job.files.clone().into_iter();
            files.map(move |file| (job.clone(), file)).collect::<Vec<_>>()
        })
        .filter(|(_, file)| here(&file.path))
        .collect();
    // Whole files are read: not where everything else runs.
    let looked = tokio::task::spawn_blocking(move || {
        let look = |(job, file): (Job, SavedFile)| {
            let stand = stand(&file.path, file.bytes, verify.then_some(file.sha256.as_str()));
            Asset { job, file, stand }
        };
        files.into_iter().map(look).collect::<Vec<_>>()
    });
    Ok((looked.await.unwrap_or_default(), more))
}

/// Looks at a file: at its size, and at its bytes where their hash is given.
fn stand(path: &Path, bytes: u64, sha256: Option<&str>) -> Stand {
    match fs::symlink_metadata(path) {
        Ok(facts) if !facts.is_file() || facts.len() != bytes => Stand::Changed,
        Ok(_) => match sha256.map(|expected| (hash(path), expected)) {
            None => Stand::There,
            Some((Ok(found), expected)) if found == expected => Stand::Same,
            Some((Ok(_), _)) => Stand::Changed,
            Some((Err(_), _)) => Stand::Unreadable,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Stand::Gone,
        Err(_) => Stand::Unreadable,
    }
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => hasher.update(piece.get(..count).unwrap_or_default()),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// More of a path or prompt is no help to anybody.
const LONGEST: usize = 1_000;

fn table(assets: &[Asset], folder: Option<&Path>) -> Table {
    let real = folder.and_then(|folder| fs::canonicalize(folder).ok());
    let below = |path: &PathBuf| {
        let short = [real.as_deref(), folder].into_iter().flatten();
        let mut short = short.filter_map(|folder| path.strip_prefix(folder).ok());
        clean_line(&short.next().unwrap_or(path).to_string_lossy(), LONGEST)
    };
    let fits = [Fit::CutFront(16), Fit::Whole, Fit::Number, Fit::Whole, Fit::Cut(16)];
    let mut table = Table::new(fits);
    for Asset { job, file, stand } in assets {
        let cost = job.charged.unwrap_or_else(|| job.expected());
        let about = if job.charged.is_some() { "" } else { "~" };
        table.push(Row::new([
            (Tone::Strong, below(&file.path)),
            (stand.tone(), stand.name().to_owned()),
            (Tone::Plain, format!("{about}{}", cost.decimal())),
            (Tone::Dim, job.id().to_string()),
            (Tone::Plain, clean_line(job.new.order.title(), LONGEST)),
        ]));
    }
    table
}

fn in_sum(assets: &[Asset], more: bool, folder: Option<&Path>) -> String {
    let place = folder.map(|folder| format!(" in {}", folder.display())).unwrap_or_default();
    let of = |wanted| assets.iter().filter(|asset| asset.stand == wanted).count();
    let mut said = match assets.len() {
        0 => format!("No job made a file{place}; `--all` looks at other folders too."),
        1 => format!("One file{place}."),
        many => format!("{many} files{place}."),
    };
    if assets.is_empty() && folder.is_none() {
        said = "No job made a file yet.".to_owned();
    }
    for (stand, words) in [
        (Stand::Changed, "changed since it was saved"),
        (Stand::Gone, "gone: `get_job` with its job fetches it again while Layer has it"),
        (Stand::Unreadable, "unreadable"),
    ] {
        match of(stand) {
            0 => {}
            count => said.push_str(&format!(" {count} {words}.")),
        }
    }
    if more {
        said.push_str(" There are older ones; a higher `--limit` shows more.");
    }
    said
}

fn in_json(asset: &Asset) -> Value {
    let Asset { job, file, stand } = asset;
    json!({
        "path": file.path,
        "state": stand.name(),
        "media_type": file.media_type.to_string(),
        "bytes": file.bytes,
        "sha256": file.sha256,
        "job_id": job.id(),
        "created_at": job.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "prompt": clean_line(job.new.order.title(), 100_000),
        "model": clean_line(job.new.order.subject(), 200),
        // Of the whole job, which may have more files.
        "job_cost_cu": job.charged,
        "job_files": job.files.len(),
    })
}
