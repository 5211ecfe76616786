//! From a row of the table to a job.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::JournalError;
use super::job::{Fingerprint, Job, JobId, JobState, NewJob};
use crate::layer::{CreativeUnits, InferenceId};

pub(super) fn read_job(row: &SqliteRow) -> Result<Job, JournalError> {
    let text = |name: &str| row.try_get::<Option<String>, _>(name);
    let number = |name: &str| row.try_get::<Option<i64>, _>(name);
    let state: String = row.try_get("state")?;
    let modality: String = row.try_get("modality")?;
    let inference = text("inference")?;
    Ok(Job {
        new: NewJob {
            id: JobId::try_from(row.try_get::<String, _>("id")?)
                .map_err(|_| JournalError::Entry("id"))?,
            origin: row.try_get("origin")?,
            workspace: row
                .try_get::<String, _>("workspace")?
                .try_into()
                .map_err(|_| JournalError::Entry("workspace"))?,
            fingerprint: Fingerprint::kept(row.try_get("fingerprint")?),
            order: parse(&row.try_get::<String, _>("request")?, "request")?,
            model_name: row.try_get("model_name")?,
            modality: crate::layer::Modality::from_word(&modality)
                .ok_or(JournalError::Entry("modality"))?,
            estimated: CreativeUnits::from_micros(row.try_get("estimated")?),
            margin: CreativeUnits::from_micros(row.try_get("margin")?),
            quote: text("quote")?,
            save_to: text("save_to")?,
            output_dir: row.try_get::<String, _>("output_dir")?.into(),
            project: row.try_get::<String, _>("project")?.into(),
            session: row.try_get("session")?,
        },
        seq: row.try_get("seq")?,
        created_at: timestamp(row.try_get("created_at")?)?,
        state: JobState::from_word(&state).ok_or(JournalError::Entry("state"))?,
        sent_at: number("sent_at")?.map(timestamp).transpose()?,
        took: number("took")?
            .and_then(|millis| u64::try_from(millis).ok())
            .map(Duration::from_millis),
        inference: inference
            .map(InferenceId::try_from)
            .transpose()
            .map_err(|_| JournalError::Entry("inference"))?,
        charged: number("charged")?.map(CreativeUnits::from_micros),
        outputs: list(text("outputs")?, "outputs")?,
        files: list(text("files")?, "files")?,
        adjusted: list(text("adjusted")?, "adjusted")?,
        failure: text("failure")?.map(|text| parse(&text, "failure")).transpose()?,
    })
}

fn list<T: serde::de::DeserializeOwned>(
    text: Option<String>,
    name: &'static str,
) -> Result<Vec<T>, JournalError> {
    text.map_or_else(|| Ok(Vec::new()), |text| parse(&text, name))
}

fn parse<T: serde::de::DeserializeOwned>(
    text: &str,
    name: &'static str,
) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|_| JournalError::Entry(name))
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, JournalError> {
    serde_json::to_string(value).map_err(|_| JournalError::Entry("a value that JSON can't carry"))
}

pub(super) fn path_text(path: &Path) -> Result<&str, JournalError> {
    path.to_str().ok_or(JournalError::Entry("the path of a folder is not Unicode"))
}

pub(super) fn timestamp(millis: i64) -> Result<Timestamp, JournalError> {
    Timestamp::from_millisecond(millis).map_err(|_| JournalError::Entry("a time"))
}
