//! Identifiers that Layer hands out. Each is opaque: its form may change without notice, so only
//! what could break a URL, a log line or a table is refused.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text can't be an identifier of Layer's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotAnId {
    /// It has characters that could break a URL or a line, or too many or too few.
    #[error(
        "an id has 1 to {LONGEST} visible ASCII characters without spaces, quotes, backslashes or \
         angle brackets"
    )]
    Form,
    /// It is a token or key.
    #[error("this is a token or a key, and no id")]
    Secret,
}

const LONGEST: usize = 200;

fn check(text: &str) -> Result<(), NotAnId> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'`<>\\".contains(&byte);
    // As one segment of a URL, "." and ".." would name another resource.
    let dots = text.split('/').any(|part| part == "." || part == "..");
    if text.is_empty() || text.len() > LONGEST || !text.bytes().all(plain) || dots {
        return Err(NotAnId::Form);
    }
    // It would go into addresses and journals.
    if crate::redact::is_secret(text) {
        return Err(NotAnId::Secret);
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The id as Layer wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                check(&text).map(|()| Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Self::try_from(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// One workspace: the account that pays and owns what is made.
    WorkspaceId
}
id! {
    /// One base model or trained style. A UUID for some, a slug such as `flux` for others.
    ModelId
}
id! {
    /// One paid run: an inference, or a run of a workflow.
    InferenceId
}
id! {
    /// One workflow.
    WorkflowId
}
id! {
    /// One trained style. It stands for a model wherever Layer takes a model's id.
    StyleId
}
id! {
    /// One file that Layer stores, an upload or an output.
    FileId
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn opaque_ids_of_any_form_pass() {
        for id in ["00000000-0000-4000-8000-000000000000", "gemini-3.1-flash-image", "a/b:c_d@1"] {
            assert_eq!(id.parse::<ModelId>().unwrap().as_str(), id);
        }
    }

    #[test]
    fn what_could_break_a_url_or_a_line_is_refused() {
        let long = "x".repeat(LONGEST + 1);
        for id in ["", " ", "a b", "a\nb", "..", "a/../b", ".", "é", "a\"b", "a<b", "a\\b", &long]
        {
            assert_eq!(id.parse::<WorkspaceId>(), Err(NotAnId::Form), "{id:?}");
        }
        for id in [format!("pat_{}", "a1B2".repeat(8)), format!("lp_live_{}", "a1B2".repeat(8))] {
            assert_eq!(id.parse::<WorkspaceId>(), Err(NotAnId::Secret), "{id:?}");
        }
    }
}
