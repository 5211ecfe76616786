//! The API token: checked once, at the door, and never shown again.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::redact::FOREIGN_KEYS;

/// A personal access token of Layer.ai.
///
/// The value is wiped when it is dropped. There is no `Display`, no `Clone` and no `Serialize`,
/// and `Debug` prints a placeholder: whoever wants to send the token has to be
/// `layer::http`, the one place that may read it.
pub struct ApiToken(SecretString);

impl ApiToken {
    /// Every personal access token begins with this.
    pub const PREFIX: &str = "pat_";
    /// Shortest token that is accepted, in characters, the prefix included.
    pub const MIN_LENGTH: usize = 32;
    /// Longest token that is accepted, in characters.
    pub const MAX_LENGTH: usize = 1024;

    /// Accepts a token as Layer.ai describes it: `pat_`, at least 32 characters in all, ASCII
    /// letters, digits and underscores.
    ///
    /// White space around the token is refused, not cut: whoever reads it from a prompt, a file
    /// or the environment trims it there.
    ///
    /// # Errors
    ///
    /// [`TokenError`] says which rule is broken; it never repeats any part of the input.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        Self::check(text, false).map(|()| Self(SecretString::from(text)))
    }

    /// Like [`ApiToken::parse`], and hyphens are accepted too.
    ///
    /// Tokens with a hyphen are outside the documented alphabet, so that this is a choice a
    /// person makes (`--allow-hyphen`). A token out of the store passes here, because the choice
    /// was made when it was stored.
    ///
    /// # Errors
    ///
    /// As [`ApiToken::parse`].
    pub fn parse_allowing_hyphen(text: &str) -> Result<Self, TokenError> {
        Self::check(text, true).map(|()| Self(SecretString::from(text)))
    }

    /// The first eight characters (`pat_` and four more), which may appear in logs and on the
    /// terminal so that people can tell two tokens apart.
    pub fn hint(&self) -> String {
        self.expose().chars().take(crate::redact::TOKEN_HINT_LENGTH).collect()
    }

    /// The token itself, for the `Authorization` header and for nothing else.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    fn check(text: &str, hyphen_allowed: bool) -> Result<(), TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if is_placeholder(text.trim()) || is_variable(text.trim()) {
            return Err(TokenError::Placeholder);
        }
        if text.starts_with('\u{feff}') {
            return Err(TokenError::ByteOrderMark);
        }
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Err(TokenError::SurroundingSpace);
        }
        if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
            return Err(TokenError::Quoted);
        }
        if begins_with(text, "bearer ") || begins_with(text, "authorization:") {
            return Err(TokenError::BearerPrefix);
        }
        if is_assignment(text) {
            return Err(TokenError::Assignment);
        }
        if let Some(error) = foreign_key(text) {
            return Err(error);
        }
        let Some(rest) = text.strip_prefix(Self::PREFIX) else {
            return Err(TokenError::Prefix);
        };
        if rest.contains(Self::PREFIX) {
            return Err(TokenError::Twice);
        }
        let mut hyphen = false;
        for character in rest.chars() {
            match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => {}
                '-' => hyphen = true,
                _ => return Err(TokenError::Alphabet),
            }
        }
        // All ASCII from here on, so that bytes are characters.
        if text.len() < Self::MIN_LENGTH {
            return Err(TokenError::TooShort { found: text.len() });
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(TokenError::TooLong { found: text.len() });
        }
        if hyphen && !hyphen_allowed {
            return Err(TokenError::Hyphen);
        }
        Ok(())
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("pat_...")
    }
}

/// Why a text is not a token. No message holds any part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing was given.
    #[error("the API token is empty")]
    Empty,
    /// A client or shell passed on `${NAME}`, `$NAME` or `%NAME%` without filling it in.
    #[error(
        "the API token is a placeholder (such as `${{...}}`) that was not filled in; check the \
         client's configuration"
    )]
    Placeholder,
    /// An invisible mark that some editors put at the beginning of a file.
    #[error("the API token begins with a byte order mark; save the file as UTF-8 without one")]
    ByteOrderMark,
    /// A line of a settings file was copied.
    #[error("this is a line `NAME=token`; give the part after the `=` alone")]
    Assignment,
    /// It was pasted twice.
    #[error("there are two tokens in this text, one behind the other; give one")]
    Twice,
    /// Spaces, tabs or line ends before or after the token.
    #[error("the API token has white space around it; remove it")]
    SurroundingSpace,
    /// Quotation marks around the token.
    #[error("the API token has quotation marks around it; remove them")]
    Quoted,
    /// The whole header or its value was copied.
    #[error("this is a header with the API token; give its last part, which begins with `pat_`")]
    BearerPrefix,
    /// A key that some other service gave out.
    #[error("this looks like a key of {vendor}; Layer.ai personal access tokens begin with `pat_`")]
    OtherVendor {
        /// Whose keys look like this.
        vendor: &'static str,
    },
    /// Anything else that does not begin with `pat_`.
    #[error("a Layer.ai personal access token begins with `pat_`, and this text does not")]
    Prefix,
    /// A character outside letters, digits and underscores.
    #[error(
        "the API token has a character that no token has; after `pat_` there are only letters, \
         digits and underscores"
    )]
    Alphabet,
    /// Fewer characters than any token has.
    #[error(
        "the API token has {found} characters and needs at least {}; part of it is missing",
        ApiToken::MIN_LENGTH
    )]
    TooShort {
        /// Its length in characters.
        found: usize,
    },
    /// More characters than any token has.
    #[error("the API token has {found} characters and may have at most {}", ApiToken::MAX_LENGTH)]
    TooLong {
        /// Its length in characters.
        found: usize,
    },
    /// A hyphen, which the documented alphabet does not have.
    #[error(
        "the API token has a hyphen, which documented tokens do not have; if yours is really \
         spelled like this, use `--allow-hyphen`"
    )]
    Hyphen,
}

/// Whether `text` is a placeholder such as `${LAYER_API_TOKEN}` that a client failed to expand.
pub fn is_placeholder(text: &str) -> bool {
    text.starts_with("${") && text.ends_with('}')
}

/// `NAME=token`, with or without `export`.
fn is_assignment(text: &str) -> bool {
    let named = text.strip_prefix("export ").unwrap_or(text).split_once('=');
    named.is_some_and(|(name, _)| {
        name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_')
    })
}

/// As shells of several kinds write it, and as clients fill it in.
fn is_variable(text: &str) -> bool {
    let name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let inner = |start: &str, end: &str| text.strip_prefix(start)?.strip_suffix(end);
    [inner("$env:", ""), inner("$", ""), inner("%", "%"), inner("{{", "}}"), inner("<", ">")]
        .into_iter()
        .flatten()
        .any(|text| name(text.trim()) || text.contains("TOKEN") || text.contains("token"))
}

/// In any case, and without a copy of the text, which would not be wiped.
fn begins_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn foreign_key(text: &str) -> Option<TokenError> {
    FOREIGN_KEYS
        .iter()
        .find(|(prefix, _)| begins_with(text, prefix))
        .map(|&(_, vendor)| TokenError::OtherVendor { vendor })
}

const QUOTES: [char; 7] = ['"', '\'', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}'];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    const GOOD: &str = "pat_KAT0000000000000000000000000000000000";

    #[test]
    fn a_documented_token_passes() {
        let token = ApiToken::parse(GOOD).unwrap();
        assert_eq!(token.expose(), GOOD);
        assert_eq!(token.hint(), "pat_KAT0");
        ApiToken::parse(&format!("pat_{}", "a_B9".repeat(7))).unwrap();
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        let long = format!("pat_{}", "a".repeat(1100));
        let cases = [
            ("", TokenError::Empty),
            ("${LAYER_API_TOKEN}", TokenError::Placeholder),
            (" ${user_config.token} ", TokenError::Placeholder),
            ("$LAYER_API_TOKEN", TokenError::Placeholder),
            ("$env:LAYER_API_TOKEN", TokenError::Placeholder),
            ("%LAYER_API_TOKEN%", TokenError::Placeholder),
            ("{{ secrets.LAYER_API_TOKEN }}", TokenError::Placeholder),
            ("<your-token-here>", TokenError::Placeholder),
            ("\u{feff}pat_KAT0000000000000000000000000000000000", TokenError::ByteOrderMark),
            ("LAYER_API_TOKEN=pat_KAT0000000000000000000000000000000000", TokenError::Assignment),
            ("export T=\"pat_KAT0000000000000000000000000000000000", TokenError::Assignment),
            ("pat_pat_KAT0000000000000000000000000000000000", TokenError::Twice),
            (
                "pat_KAT0000000000000000000000000000000000pat_KAT0000000000000000000000000000000000",
                TokenError::Twice,
            ),
            ("Authorization: Bearer pat_KAT000000000000000000000000000", TokenError::BearerPrefix),
            ("pat_KAT0000000000000000000000000000000000\n", TokenError::SurroundingSpace),
            ("\"pat_KAT0000000000000000000000000000000000\"", TokenError::Quoted),
            ("\u{201c}pat_KAT0000000000000000000000000000000\u{201d}", TokenError::Quoted),
            ("Bearer pat_KAT00000000000000000000000000000000", TokenError::BearerPrefix),
            (
                "lp_live_0123456789.0123456789abcdef",
                TokenError::OtherVendor { vendor: "Layers, another service with a similar name" },
            ),
            (
                "sk-ant-0123456789012345678901234567",
                TokenError::OtherVendor { vendor: "Anthropic" },
            ),
            (
                "sk-012345678901234567890123456789",
                TokenError::OtherVendor { vendor: "OpenAI or a service like it" },
            ),
            ("PAT_KAT0000000000000000000000000000000000", TokenError::Prefix),
            ("pat-KAT0000000000000000000000000000000000", TokenError::Prefix),
            ("pat_KAT00000000000000000 00000000000000000", TokenError::Alphabet),
            ("pat_KAT00000000000000000\u{e9}0000000000000000", TokenError::Alphabet),
            ("pat_KAT0000000000000000\u{200b}0000000000000000", TokenError::Alphabet),
            ("pat_012345678901234567890123456", TokenError::TooShort { found: 31 }),
            ("pat_", TokenError::TooShort { found: 4 }),
            (long.as_str(), TokenError::TooLong { found: 1104 }),
            ("pat_KAT0-00000000000000000000000000000000", TokenError::Hyphen),
        ];
        for (text, expected) in cases {
            assert_eq!(ApiToken::parse(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_hyphen_passes_only_where_it_is_allowed() {
        let text = "pat_KAT0-00000000000000000000000000000000";
        assert_eq!(ApiToken::parse_allowing_hyphen(text).unwrap().expose(), text);
        assert!(ApiToken::parse_allowing_hyphen("pat_a-b").is_err());
    }

    #[test]
    fn nothing_that_prints_shows_the_token() {
        let token = ApiToken::parse(GOOD).unwrap();
        assert_eq!(format!("{token:?} {token:#?}"), "pat_... pat_...");
        let secret = "Zq7Zq7Zq7Zq7Zq7Zq7";
        for bad in [
            format!("pat_{secret}"),
            format!("sk-{secret}"),
            format!("lp_{secret}"),
            format!("'{secret}'"),
            format!("pat_{secret}{secret}-"),
            format!("pat_{secret}{secret}!"),
        ] {
            let error = ApiToken::parse(&bad).unwrap_err();
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains("Zq7"), "{printed}");
        }
    }
}
