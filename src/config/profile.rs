//! Several sets of credentials side by side, by name.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The name of a set of credentials beside the usual one, such as `staging`: 1 to 32 lower-case
/// letters, digits, hyphens and underscores, beginning with a letter or digit, and no name that
/// Windows keeps for devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile(String);

impl Profile {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Profile {
    type Err = NotAProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let letter = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
        let bytes = name.as_bytes();
        let good = (1..=32).contains(&bytes.len())
            && bytes.first().copied().is_some_and(letter)
            && bytes.iter().all(|it| letter(*it) || matches!(it, b'-' | b'_'));
        // Windows has no folders of these names.
        let device = matches!(name, "con" | "prn" | "aux" | "nul")
            || name
                .strip_prefix("com")
                .or(name.strip_prefix("lpt"))
                .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|it| it.is_ascii_digit()));
        if good && !device { Ok(Self(name.to_owned())) } else { Err(NotAProfile) }
    }
}

/// The text is no name of a profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a profile's name has 1 to 32 lower-case letters, digits, hyphens and underscores, such as \
     `staging`, and is no device of Windows such as `con`"
)]
pub struct NotAProfile;

/// Where a profile's own settings and store lie.
pub(super) fn profile_dir(home: &Path, profile: &Profile) -> PathBuf {
    home.join("profiles").join(profile.as_str())
}
